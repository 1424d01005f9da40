"""The texts of the system `olmo2`: general text, the same with junk, and problems."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tilth.data.sets import SetPath, Source
from tilth.systems import _arithmetic as arithmetic
from tilth.systems import _continued_texts as given
from tilth.systems._continued_texts import Side
from tilth.systems._olmo2_arms import Inputs
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.guard import StepGuard

CHARACTERS = 40_000
NOVELS = "books_en"
# OLMo 2 drops documents with so many repeats of 1 to 13 tokens; here they are what disturbs.
REPEATS, LONGEST = 32, 13
SMOKE = {"tokens": 12 * 256, "second": 10 * 256, "batch_tokens": 256, "length": 32}


def prepare(
    scale: str, data: SetPath | None, seed: int, *, vocabulary: int, width: int, layers: int,
    junk: float, largest: int, **budgets: Any,
) -> tuple[Inputs, tuple[Source, ...]]:  # fmt: skip
    """What the arms of one seed share, and where the text comes from."""
    guard = StepGuard()
    if scale == "smoke":
        from tilth.zoo import tiny

        _, side, _ = given.smoke()
        tokenizer, sources = tiny("causal")[1], ()
        budgets, guard = {**budgets, **SMOKE}, StepGuard(window=8, least=4)
        width, largest = 32, 4
    else:
        place = data if data is not None else given.open_text("", NOVELS)
        sources = place.sources
        side, tokenizer = general(place, vocabulary)
    some = arithmetic.problems(largest, held_out=False)
    # Enough that a problem is seldom seen in the same place twice.
    count = max(200, budgets["second"] // 10)
    sums = arithmetic.documents(arithmetic.text(some, seed, count), tokenizer, "sums")
    shape = {
        "width": width, "layers": layers, "vocabulary": tokenizer.get_vocab_size(),
        "context": budgets["length"], "end": side.train.end,
    }  # fmt: skip
    inputs = Inputs(
        side.train, with_junk(side.train, junk, seed), sums, side.test,
        arithmetic.problems(largest, held_out=True), tokenizer, shape, guard=guard, **budgets,
    )  # fmt: skip
    return inputs, sources


class _Place:
    """A data set as the key of a cache: equal where the data are."""

    def __init__(self, place: SetPath) -> None:
        self.place = place

    def __hash__(self) -> int:
        return hash(self.place.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Place) and other.place.digest == self.place.digest


def general(place: SetPath, vocabulary: int) -> tuple[Side, Any]:
    """Its two sides, and a tokenizer that learned on the one to train on."""
    return _general(_Place(place), vocabulary)


@functools.lru_cache(maxsize=1)
def _general(key: _Place, vocabulary: int) -> tuple[Side, Any]:
    texts = given.texts_of(key.place, CHARACTERS)
    held_out = max(1, round(given.HELD_OUT * len(texts)))
    tokenizer = bpe.train(texts[held_out:], vocabulary)
    return given.side(texts, tokenizer, "text"), tokenizer


def with_junk(text: TokenDocuments, share: float, seed: int) -> TokenDocuments:
    """The documents, and among them junk that is `share` of all tokens: a few tokens, repeated."""
    chance = np.random.default_rng([seed, 3])
    rows, left = [], share / (1 - share) * text.total_tokens
    while left > 0:
        few = chance.integers(1, text.vocabulary, chance.integers(1, LONGEST + 1))
        rows.append(np.tile(few, REPEATS).astype(text.tokens[0].dtype))
        left -= len(rows[-1])
    return TokenDocuments(
        [*text.ids, *(f"junk {number}" for number in range(len(rows)))],
        [*text.tokens, *rows], text.vocabulary, text.end,
        [*text.sizes, *(len(row) for row in rows)],
    )  # fmt: skip
