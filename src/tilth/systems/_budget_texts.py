"""Texts and tasks of the system `budgetlongformer`: stretches of legal documents."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import Source
from tilth.store.digest import digest
from tilth.systems._encoder_study import ASIDE, LEAST, SPECIAL, seen, task_of, tokens_of
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

TYPES, PLANTED = "document types", "planted"
LABELS = 4  # the most frequent kinds of documents
CHARACTERS = 40_000
# What decides, planted behind the first half of a stretch; the rest of a stretch says nothing.
DECISIONS = (" The claim is allowed. ", " The claim is dismissed. ")
SIDES = ("train", "test", "aside")


@dataclass(frozen=True)
class Inputs:
    """`tasks`: name -> side -> documents of `length` tokens with `extra["label"]`; `texts`: of the
    corpus; `tested`: the stretches of the tests, nothing planted; `held`: their documents.
    `filling`, `rate`: of hidden tokens, `tokens`, `detecting`: budget and rate of the detection.
    `least`, `least_area`: what encoders must reach, see `left_the_floor`, and `area`."""

    texts: Sequence[str]
    corpus: TokenDocuments
    held: TokenDocuments
    tested: Sequence[str]
    tokenizer: Any
    tasks: dict[str, dict[str, TokenDocuments]]
    width: int
    layers: int
    length: int
    window: int
    filling: int
    tokens: int
    batch_tokens: int
    rate: float
    detecting: float
    epochs: float
    rates: tuple[float, ...]
    timed: tuple[int, int]
    least: float = LEAST
    least_area: float = 0.55


@functools.lru_cache(maxsize=1)
def _legal() -> tuple[list[tuple[str, str, str]], tuple[Source, ...]]:
    """(text, kind, service) of the documents, and the sources: once a process."""
    terms = task_of("legal_terms")
    columns = (terms.table[name].to_pylist() for name in ("text", "label", "group"))
    return [(text[:CHARACTERS], kind, group) for text, kind, group in zip(*columns)], terms.sources


def real(
    seed: int, vocabulary: int, train: int, test: int, shape: dict[str, Any]
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed. About a third of the services, drawn by the seed, is in tests alone:
    neither the encoder nor its tokenizer learned from them."""
    rows, sources = _legal()
    return _inputs(rows, vocabulary, seed, train, test, shape), sources


def smoke(seed: int, shape: dict[str, Any]) -> Inputs:
    """Docstrings, by the first letter of their name."""
    from tilth.zoo.micro import docstrings

    rows = [(text, name[:1], name) for name, text in docstrings()[:80]]
    return _inputs(rows, 400, seed, 24, 24, {**shape, "least": 0.0, "least_area": 0.0})


def _inputs(
    rows: Sequence[tuple[str, str, str]], vocabulary: int, seed: int, train: int, test: int,
    shape: dict[str, Any],
) -> Inputs:  # fmt: skip
    sides = _sides(rows, seed)
    # What is set aside to choose rates with is never tested, but may be read.
    texts = [rows[n][0] for side in ("train", "aside") for n in sides[side]]
    tokenizer = bpe.train(texts, vocabulary, special=SPECIAL)
    names = [name for name, _ in Counter(kind for _, kind, _ in rows).most_common(LABELS)]
    rng = np.random.default_rng([seed, 11])
    tasks: dict[str, dict[str, TokenDocuments]] = {TYPES: {}, PLANTED: {}}
    tested: list[str] = []
    for side in SIDES:
        found = [
            (n, piece)
            for n in sides[side]
            for piece in _stretches(tokenizer, rows[n][0], shape["length"])
        ]  # fmt: skip
        if side == "test":
            told = seen([bpe.decode(tokenizer, piece) for _, piece in found], texts)
            found = [one for one, known in zip(found, told) if not known]
        found = [found[place] for place in rng.permutation(len(found))]
        most = test if side == "test" else train
        typed = [(piece, names.index(rows[n][1])) for n, piece in found if rows[n][1] in names]
        tasks[TYPES][side] = _documents(side, typed[:most], tokenizer)
        planted = _planted(tokenizer, [piece for _, piece in found[:most]], rng)
        tasks[PLANTED][side] = _documents(side, planted, tokenizer)
        if side == "test":
            tested = [bpe.decode(tokenizer, piece) for piece, _ in typed[:most]]
            tested += [bpe.decode(tokenizer, piece) for _, piece in found[:most]]
    held = tokens_of([rows[n][0] for n in sides["test"]], tokenizer, "held ")
    return Inputs(texts, tokens_of(texts, tokenizer), held, tested, tokenizer, tasks, **shape)


def _sides(rows: Sequence[tuple[str, str, str]], seed: int) -> dict[str, list[int]]:
    """Numbers of the documents of each side; no service is on two."""
    services = sorted({group for _, _, group in rows}, key=lambda g: digest("aside", g))
    aside = services[::ASIDE]
    left = sorted(set(services) - set(aside), key=lambda g: digest("long", seed, g))
    tested = left[: len(services) // 3]
    side_of = {**dict.fromkeys(left, "train"), **dict.fromkeys(tested, "test"),
               **dict.fromkeys(aside, "aside")}  # fmt: skip
    return {
        side: [n for n, (_, _, group) in enumerate(rows) if side_of[group] == side]
        for side in SIDES
    }


def _planted(
    tokenizer: Any, pieces: Sequence[np.ndarray], rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
    """Stretches with a decision behind their first half, and which it is, in turn."""
    made = []
    for place, piece in enumerate(pieces):
        label = place % 2
        words = np.array(bpe.encode(tokenizer, [DECISIONS[label]])[0])
        start = int(rng.integers(len(piece) // 2, len(piece) - len(words)))
        piece = piece.copy()
        piece[start : start + len(words)] = words
        made.append((piece, label))
    return made


def _stretches(tokenizer: Any, text: str, length: int) -> list[np.ndarray]:
    """Whole stretches of a document; a short document that is one is filled up by itself."""
    ids = np.array(bpe.encode(tokenizer, [text])[0])
    if len(ids) < length:
        ids = np.resize(ids, length)
    return [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]


def _documents(side: str, rows: Sequence[tuple], tokenizer: Any) -> TokenDocuments:
    return TokenDocuments(
        [f"{side} {n}" for n in range(len(rows))], [piece for piece, _ in rows],
        tokenizer.get_vocab_size(), 0, [], {"label": [label for _, label in rows]},
    )  # fmt: skip
