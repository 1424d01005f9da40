"""What `spdf` learns from and is asked: novels, and pairs of its tasks that fit in a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tilth.data.sets import open_set
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.models.checkpoint import Checkpoint
from tilth.systems import _continued_texts as given
from tilth.systems import _sparse_tasks as tasks
from tilth.systems._greedy import conversations
from tilth.systems._rates import Chosen, set_aside
from tilth.tokens import bpe

NOVELS, CHARACTERS = "books_en", 60_000

Pairs = list[tuple[str, str]]


class Texts(NamedTuple):
    """What all seeds share. `novels` are pre-trained on, `tuning` is the same to choose rates with.
    Pairs of the real task to learn, to choose rates with and to test, none longer than a row;
    `left_out` were. `start`: a model that is trained already (`--model`), None: models are trained
    from new weights."""

    tokenizer: Any
    novels: given.Side
    tuning: given.Side
    learned: Pairs
    tried: Pairs
    tests: Pairs
    left_out: int
    start: Checkpoint | None
    chosen: Chosen
    sources: tuple[Any, ...] = ()
    models: tuple[ModelSource, ...] = ()


_last: dict[Any, Texts] = {}


def prepared(
    scale: str, data: Any, model: str | None, vocabulary: int, text: str, length: int
) -> Texts:
    """Made once for all seeds; the last one asked for is kept."""
    key = (scale, data and tuple(data.sources), model, vocabulary, text, length)
    if key not in _last:
        _last.clear()
        _last[key] = _smoke(length) if scale == "smoke" else _texts(
            data, model, vocabulary, text, length
        )  # fmt: skip
    return _last[key]


def _smoke(length: int) -> Texts:
    from tilth.zoo import tiny

    _, novels, _ = given.smoke()
    parts = tasks.restaurants(30, 1), tasks.restaurants(4, 3), tasks.restaurants(6, 2)
    return _fitting(tiny("causal")[1], novels, parts, length, None)


def _texts(data: Any, model: str | None, vocabulary: int, text: str, length: int) -> Texts:
    start, models = None, ()
    task = data if data is not None else open_set("kg_webnlg")
    place = given.open_text(text, NOVELS)
    parts = tasks.triples(task)
    texts = given.texts_of(place, CHARACTERS)
    if model is not None:
        found, tokenizer, source = given.given_model(model)
        start, models = Checkpoint.of(found), (source,)
    else:
        # No text that is held out teaches the tokenizer.
        held_out = max(1, round(given.HELD_OUT * len(texts)))
        pairs = [*parts[0], *tasks.restaurants(len(parts[0]), 0)]
        told = [text for pair in pairs * 5 for text in pair]
        tokenizer = bpe.train([*texts[held_out:], *told], vocabulary)
    novels = given.side(texts, tokenizer, "novels")
    made = _fitting(tokenizer, novels, parts, length, start)
    if len(made.tests) < 8:
        raise DataError(
            f"{len(made.tests)} held-out items of at most {length:,} tokens are too few to judge by"
        )
    return made._replace(sources=(*place.sources, *task.sources), models=models)


def _fitting(
    tokenizer: Any, novels: given.Side, parts: Iterable[Pairs], length: int, start: Any
) -> Texts:
    """Nothing is cut: pairs that do not fit in a row are left out and counted."""
    kept, left_out = [], 0
    for pairs in parts:
        lengths = conversations(pairs, tokenizer).lengths.tolist() if pairs else []
        kept.append([pair for pair, size in zip(pairs, lengths) if size <= length + 1])
        left_out += len(pairs) - len(kept[-1])
    learned, tried, tests = kept
    rest, tuning = set_aside(novels)
    return Texts(
        tokenizer, rest, tuning, learned, tried, tests, left_out, start, Chosen()
    )  # fmt: skip
