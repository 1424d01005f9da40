"""Files that are edited, questions about them, and how near an edited cache comes to a new one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Measured
from tilth.models.decoder import build
from tilth.serving.edits.pie import Edit, edit_script
from tilth.serving.edits.reading import Reading, read
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.systems import _two_hop as task

NATS, RIGHT = "nats of the answer", "right answers"
KL, SECONDS = "KL from a full reading", "CPU seconds"
# Of the timed file: how many tokens give way to how many, in its first half.
OLD, NEW = 8, 12


@dataclass(frozen=True)
class File:
    """A file before and after an edit, in tokens; a question about it, and the answer."""

    before: list[int]
    after: list[int]
    question: task.Line
    answer: task.Line


@dataclass(frozen=True)
class Timed:
    """A file that was read and is edited against the clock."""

    runner: ModelRunner
    cache: Any
    reading: Reading
    edits: list[Edit]
    after: list[int]


@dataclass(frozen=True)
class Inputs:
    """What all arms share. `full`: log-probabilities of the answer after a full reading."""

    runner: ModelRunner
    files: list[File]
    full: list[Any]
    timed: Timed


def files(seed: int, count: int) -> list[File]:
    """Lines that are put in, taken out or changed, one to three a file, at any places."""
    chance, made = random.Random(f"edited files {seed}"), []
    for _ in range(count):
        facts = task.facts(chance)
        lines = list(facts.lines)
        others = [one for one in task.PEOPLE if one not in facts.firm]
        for _ in range(chance.choice((1, 1, 2, 3))):
            place, kind = chance.randrange(len(lines)), chance.choice(("in", "out", "changed"))
            if kind == "in" and len(lines) > task.FACTS:
                del lines[place]
            elif kind == "out":
                lines.insert(place, task.works(chance.choice(others), chance.choice(task.FIRMS)))
            else:
                lines[place] = task.changed(lines[place], chance)
        question, answer = facts.asked(chance.choice(list(facts.firm)))
        made.append(File(task.flat(lines), task.flat(facts.lines), question, answer))
    return made


def timed(seed: int, smoke: bool) -> Timed:
    """A file of 768 tokens and a model of 30 M random weights; smaller at scale smoke."""
    size, length = ("30k", 48) if smoke else ("30m", 768)
    chance = random.Random(f"timed {seed}")
    model = build(size, vocabulary=64 if smoke else 4096, context=length + NEW, seed=0)
    runner = ModelRunner(model)
    cache = runner.cache(3 * (length // 16 + 4), share=False)
    before = [chance.randrange(1, 64) for _ in range(length)]
    place = chance.randrange(length // 8, length // 2 - OLD)
    new = tuple(chance.randrange(1, 64) for _ in range(NEW))
    after = [*before[:place], *new, *before[place + OLD :]]
    edits = [Edit(place, place + OLD, new)]
    return Timed(runner, cache, read(runner, cache, before), edits, after)


def asked(
    runner: ModelRunner, cache: Any, reading: Reading, question: task.Line, answer: task.Line
) -> Any:
    """Log-probabilities (tokens, vocabulary), float64, of the answer and of the token behind it.

    The reading's blocks are given back.
    """
    import torch

    line = [*question, *answer]
    segment = Segment(reading.chain, line, want=len(answer) + 1)
    logits = runner.forward(cache, [segment])
    cache.free(reading.chain)
    return torch.log_softmax(logits.double(), -1)


def divergence(full: Any, found: Any) -> float:
    """KL in nats from the one's chances to the other's, mean over tokens."""
    return float((full.exp() * (full - found)).sum(-1).mean())


Follow = Callable[[ModelRunner, Any, Reading, list[Edit], list[int]], Reading]


def anew(runner: Any, cache: Any, reading: Reading, edits: Any, after: list[int]) -> Reading:
    """The edited file, read whole."""
    return read(runner, cache, after)


def scores(inputs: Inputs, follow: Follow) -> Measured:
    """One value a file of each measure, and how long it takes to follow the timed edit."""
    cache = inputs.runner.cache(40, share=False)
    judged, far = [], []
    for file, full in zip(inputs.files, inputs.full):
        found = after(inputs.runner, cache, file, follow)
        judged.append(task.judged(found, file.answer))
        far.append(divergence(full, found))
    nats, right = zip(*judged)
    clock = inputs.timed

    def seconds() -> float:
        reading = clock.reading
        copy = Reading(clock.cache.fork(reading.chain), reading.ids, reading.logits, 0)
        began = time.process_time()
        made = follow(clock.runner, clock.cache, copy, clock.edits, clock.after)
        spent = time.process_time() - began
        for chain in {id(one): one for one in (copy.chain, made.chain)}.values():
            clock.cache.free(chain)
        return spent

    return Measured({NATS: nats, RIGHT: right, KL: far}, timed={SECONDS: seconds})


def after(runner: ModelRunner, cache: Any, file: File, follow: Follow) -> Any:
    """The answer's log-probabilities behind a file that was read and then edited."""
    reading = read(runner, cache, file.before)
    edits = edit_script(file.before, file.after, [task.STOP])
    made = follow(runner, cache, reading, edits, file.after)
    found = asked(runner, cache, made, file.question, file.answer)
    cache.free(reading.chain)
    return found


def full_readings(runner: ModelRunner, some: Sequence[File]) -> list[Any]:
    cache = runner.cache(40, share=False)
    return [after(runner, cache, file, anew) for file in some]
