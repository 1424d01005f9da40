"""Arms of the system `superposed`: drafts of ten tokens in several ways, their time and quality."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.evaluation.card import Invariant, Measured
from tilth.serving.engine import Engine
from tilth.serving.sampler import Sampling
from tilth.serving.strategies.ngrams import Grams
from tilth.serving.strategies.superposed import superpose
from tilth.systems._threads import threads

SECONDS, STEP, NATS = "CPU ms a prompt", "CPU ms a step", "nats a token of the best draft"
GREEDY = Sampling(temperature=0, ignore_end=True)


@dataclass(eq=False)
class Inputs:
    """`engine` serves the timed model; `judged` another one that learned, and `prompts` of its
    text, with n-grams of it; None where none passed its gate: quality is then not measured."""

    engine: Engine
    grams: Grams
    timed: list[list[int]]
    judged: Engine | None
    judged_grams: Grams | None
    prompts: list[list[int]]
    tokens: int
    drafts: int


Way = Callable[[Engine, Grams | None, Sequence[int], int, int, int], list[list[int]]]


def superposed(
    engine: Engine, grams: Grams | None, prompt: Sequence[int], tokens: int, drafts: int, seed: int
) -> list[list[int]]:
    found = superpose(
        engine.runner, engine.cache, prompt, tokens=tokens, drafts=drafts, ngrams=grams
    )
    return [one.ids for one in found]


def greedy(
    engine: Engine, grams: Grams | None, prompt: Sequence[int], tokens: int, drafts: int, seed: int
) -> list[list[int]]:
    return [engine.complete([prompt], tokens, GREEDY)[0].ids]


def nucleus(together: bool) -> Way:
    """`drafts` samples at top_p 0.9, in one batch or one run after the other."""

    def way(
        engine: Engine, grams: Grams | None, prompt: Sequence[int], tokens: int, drafts: int,
        seed: int,
    ) -> list[list[int]]:  # fmt: skip
        each = [
            Sampling(top_p=0.9, seed=seed, sample=one, ignore_end=True) for one in range(drafts)
        ]
        if together:
            return [one.ids for one in engine.complete([prompt] * drafts, tokens, each)]
        return [engine.complete([prompt], tokens, one)[0].ids for one in each]

    return way


def arm(way: Way, drafts: int = 0) -> Callable[[Inputs, int], Measured]:
    """`drafts`: another number than the inputs'."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        count = drafts or inputs.drafts

        def once() -> float:
            with threads(1):
                began = time.process_time()
                for prompt in inputs.timed:
                    way(inputs.engine, inputs.grams, prompt, inputs.tokens, count, seed)
                return 1e3 * (time.process_time() - began) / len(inputs.timed)

        nats: Any = [float("nan")] * max(1, len(inputs.prompts))
        if inputs.judged is not None:
            nats = [
                min(own(inputs.judged, prompt, ids) for ids in
                    way(inputs.judged, inputs.judged_grams, prompt, inputs.tokens, count, seed))
                for prompt in inputs.prompts
            ]  # fmt: skip
        return Measured({NATS: nats}, timed={
            SECONDS: once, STEP: lambda: once() / inputs.tokens})  # fmt: skip

    return measure


def own(engine: Engine, prompt: Sequence[int], ids: Sequence[int]) -> float:
    """Mean negative log-probability of a draft, read by the model as what it is."""
    whole = [*prompt, *ids]
    told = engine.complete([whole], 0, GREEDY, scores=True)[0].prompt
    return float(-np.mean([one.logprob for one in told[-len(ids) :]]))


def checked(inputs: Inputs) -> Iterator[Invariant]:
    """One draft is greedy; drafts differ; blocks come back."""
    engine, same, apart = inputs.engine, True, True
    for prompt in inputs.timed:
        (one,) = superpose(engine.runner, engine.cache, prompt, tokens=inputs.tokens, drafts=1,
                           ngrams=inputs.grams, alpha=0.0)  # fmt: skip
        same &= one.ids == greedy(engine, None, prompt, inputs.tokens, 1, 0)[0]
        several = superposed(engine, inputs.grams, prompt, inputs.tokens, inputs.drafts, 0)
        apart &= len({tuple(ids) for ids in several}) == inputs.drafts
    yield Invariant("one draft without n-grams is the greedy answer, token by token", same)
    yield Invariant("no two drafts are equal", apart)
    table = engine.cache.table
    yield Invariant("all blocks of the cache are free afterwards", table.free == table.total)
