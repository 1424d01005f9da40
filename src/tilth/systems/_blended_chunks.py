"""Chunks of facts that were read apart, questions about them, and how near a blend comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Measured
from tilth.models.decoder import build
from tilth.serving.cache import Rows
from tilth.serving.edits.cacheblend import blend, read_chunk
from tilth.serving.edits.reading import Reading, read
from tilth.serving.model_runner import ModelRunner
from tilth.systems import _two_hop as task
from tilth.systems._edited_files import KL, NATS, RIGHT, SECONDS, asked, divergence

# Lines of a chunk: what one question needs lies in several chunks.
LINES = 2
HEAD = [task.END]

Chunks = list[tuple[list[int], Rows]]


@dataclass(frozen=True)
class Case:
    """Chunks in their order, a question about what they say, and its answer."""

    chunks: list[list[int]]
    question: task.Line
    answer: task.Line


@dataclass(frozen=True)
class Timed:
    """Chunks that were read apart, and a question, against the clock."""

    runner: ModelRunner
    cache: Any
    chunks: Chunks
    suffix: list[int]


@dataclass(frozen=True)
class Inputs:
    """What all arms share. `full`: log-probabilities of the answer after a full reading."""

    runner: ModelRunner
    cases: list[Case]
    full: list[Any]
    timed: Timed


Join = Callable[[ModelRunner, Any, Chunks, list[int], random.Random], Reading]


def cases(seed: int, count: int) -> list[Case]:
    """The firms of people in the first chunks, the towns of firms in the others."""
    chance, made = random.Random(f"chunks {seed}"), []
    for _ in range(count):
        facts = task.facts(chance)
        parts = [facts.lines[at : at + LINES] for at in range(0, len(facts.lines), LINES)]
        question, answer = facts.asked(chance.choice(list(facts.firm)))
        made.append(Case([task.flat(part)[1:] for part in parts], question, answer))
    return made


def timed(smoke: bool) -> Timed:
    """Four chunks, 1,024 tokens in all, and 30 M random weights; smaller at scale smoke."""
    size, each, vocabulary = ("30k", 8, 64) if smoke else ("30m", 256, 4096)
    chance = random.Random("timed chunks")
    runner = ModelRunner(build(size, vocabulary=vocabulary, context=4 * each + 32, seed=0))
    cache = runner.cache(2 * (each // 4 + 8), share=False)
    texts = [[chance.randrange(1, 64) for _ in range(each)] for _ in range(4)]
    chunks = [(one, read_chunk(runner, cache, one, HEAD)) for one in texts]
    return Timed(runner, cache, chunks, [chance.randrange(1, 64) for _ in range(16)])


def anew(runner: Any, cache: Any, chunks: Chunks, suffix: list[int], chance: Any) -> Reading:
    """All of it, read whole."""
    return read(runner, cache, [*HEAD, *(one for ids, _ in chunks for one in ids), *suffix])


def prefix(runner: Any, cache: Any, chunks: Chunks, suffix: list[int], chance: Any) -> Reading:
    """What prefix sharing keeps: the first chunk; all behind it is read."""
    rest = [one for ids, _ in chunks[1:] for one in ids]
    return blend(runner, cache, chunks[:1], [*rest, *suffix], head=HEAD)


def blended(share: float, at_random: bool = False) -> Join:
    """A blend that runs this share again: what changed most, or as many tokens at random."""

    def join(runner: Any, cache: Any, chunks: Chunks, suffix: list[int], chance: Any) -> Reading:
        chosen = None
        if at_random:
            sizes = [len(ids) for ids, _ in chunks]
            stale = range(len(HEAD) + sizes[0], len(HEAD) + sum(sizes))
            count = min(len(stale), round(share * sum(sizes)))
            chosen = sorted(chance.sample(stale, count))
        return blend(runner, cache, chunks, suffix, head=HEAD, share=share, chosen=chosen)

    return join


def answered(runner: Any, cache: Any, case: Case, join: Join, chance: Any) -> Any:
    """The answer's log-probabilities behind the chunks, joined in this way."""
    chunks = [(one, read_chunk(runner, cache, one, HEAD)) for one in case.chunks]
    # All of the question but its last token goes along as the blend's own end.
    made = join(runner, cache, chunks, list(case.question[:-1]), chance)
    return asked(runner, cache, made, case.question[-1:], case.answer)


def full_readings(runner: ModelRunner, some: list[Case]) -> list[Any]:
    cache = runner.cache(40, share=False)
    return [answered(runner, cache, case, anew, None) for case in some]


def scores(inputs: Inputs, seed: int, join: Join) -> Measured:
    """One value a case of each measure, and how long the first token of the timed text takes."""
    cache, chance = inputs.runner.cache(40, share=False), random.Random(f"drawn {seed}")
    judged, far = [], []
    for case, full in zip(inputs.cases, inputs.full):
        found = answered(inputs.runner, cache, case, join, chance)
        judged.append(task.judged(found, case.answer))
        far.append(divergence(full, found))
    nats, right = zip(*judged)
    clock = inputs.timed

    def seconds() -> float:
        began = time.process_time()
        made = join(clock.runner, clock.cache, clock.chunks, clock.suffix, random.Random(0))
        spent = time.process_time() - began
        clock.cache.free(made.chain)
        return spent

    return Measured({NATS: nats, RIGHT: right, KL: far}, timed={SECONDS: seconds})
