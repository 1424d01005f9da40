"""The model that `redwhale` goes on from, its two vocabularies, and the texts in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tilth.data.sets import SetPath, find_set
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.models.checkpoint import Checkpoint, untie
from tilth.models.decoder import build
from tilth.objectives.causal import Causal
from tilth.systems import _continued_texts as given
from tilth.systems._rates import Chosen, set_aside
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.transfer import Transfer, extend, transfer
from tilth.training.loop import fit

NOVELS, KOREAN, CHARACTERS, REVIEWS = "books_en", "ko_nsmc", 60_000, 24_000


@dataclass(frozen=True)
class Texts:
    """`base` has a head of its own. `sides`: the new language in old and in new tokens, `tuning`
    the same to choose rates with; `english`: held-out text of the old language in both."""

    base: Checkpoint
    tokenizers: tuple[Any, Any]
    transfer: Transfer
    sides: tuple[given.Side, given.Side]
    tuning: tuple[given.Side, given.Side]
    english: tuple[TokenDocuments, TokenDocuments]
    samples: tuple[list[str], list[str]]
    chosen: Chosen
    sources: tuple[Any, ...] = ()
    models: tuple[ModelSource, ...] = ()


_last: dict[Any, Texts] = {}


def prepared(
    scale: str, data: SetPath | None, model: str | None, *, more: int, base_tokens: int, size: str,
    size_vocabulary: int, length: int, base_rate: float, korean: float, old: str,
) -> Texts:  # fmt: skip
    """Made once for all seeds; the last one asked for is kept."""
    key = (scale, data and data.digest, model, more, base_tokens, size, size_vocabulary, length,
           base_rate, korean, old)  # fmt: skip
    if key not in _last:
        _last.clear()
        if scale == "smoke":
            _last[key] = _smoke(more)
        else:
            _last[key] = _made(
                data, model, more, base_tokens, size, size_vocabulary, length, base_rate, korean,
                old,
            )  # fmt: skip
    return _last[key]


def _smoke(more: int) -> Texts:
    from tilth.zoo import tiny
    from tilth.zoo.micro import docstrings

    base, tokenizer, _ = tiny("causal")
    old = [text[:600] for _, text in docstrings()[:60]]
    return _extended(base, tokenizer, old, [f"영화가 정말 좋다 {n * n}" for n in range(300)], more)


def _made(
    data: SetPath | None, model: str | None, more: int, base_tokens: int, size: str,
    size_vocabulary: int, length: int, base_rate: float, korean: float, given_old: str,
) -> Texts:  # fmt: skip
    place = data if data is not None else find_set(KOREAN)
    new = given.texts_of(place, CHARACTERS)[:REVIEWS]
    novels = given.open_text(given_old, NOVELS)
    old = given.texts_of(novels, CHARACTERS)
    models: tuple[ModelSource, ...] = ()
    if model is not None:
        base, tokenizer, source = given.given_model(model)
        models = (source,)
    else:
        tokenizer = bpe.train(old[held_out(old) :], size_vocabulary)
        base = build(size, vocabulary=tokenizer.get_vocab_size(), context=length, seed=0)
        # The English models of the paper have seen some text of the new language too: a part
        # that the arms do not see stands for it.
        seen = len(new) // 4
        few, new = new[:seen], new[seen:]
        mixed = given.side(old, tokenizer, "old").train
        extra = given.side(few, tokenizer, "new").train
        rows = int(korean * mixed.total_tokens / max(1, extra.total_tokens) * len(extra))
        both = _both(mixed, extra.select(range(min(rows, len(extra)))))
        fit(base, Causal(length=length), both, tokens=base_tokens, batch_tokens=2048,
            learning_rate=base_rate)  # fmt: skip
    sources = (*novels.sources, *place.sources)
    return _extended(base, tokenizer, old, new, more, sources, models)


def held_out(texts: list[str]) -> int:
    """How many of the first texts `given.side` keeps for the test: no vocabulary learns on them."""
    return max(1, round(given.HELD_OUT * len(texts)))


def _both(one: TokenDocuments, other: TokenDocuments) -> TokenDocuments:
    return TokenDocuments(
        [*one.ids, *other.ids], [*one.tokens, *other.tokens], one.vocabulary, one.end,
        [*one.sizes, *other.sizes],
    )  # fmt: skip


def _extended(
    base: Any, tokenizer: Any, old: list[str], new: list[str], more: int,
    sources: tuple[Any, ...] = (), models: tuple[ModelSource, ...] = (),
) -> Texts:  # fmt: skip
    wider = extend(tokenizer, new[held_out(new) :], more)
    found = transfer(tokenizer, wider)
    if found.new_size == found.old_size:
        raise DataError("the text holds no frequent pair that the vocabulary lacks")
    both = (tokenizer, wider)
    (first, first_tuning), (second, second_tuning) = (
        set_aside(given.side(new, one, "new")) for one in both
    )
    one, other = (given.side(old, tokenizer, "old").test for tokenizer in both)
    return Texts(
        untie(Checkpoint.of(base)), both, found, (first, second), (first_tuning, second_tuning),
        (one, other), (old[:20], new[:20]), Chosen(), sources, models,
    )  # fmt: skip
