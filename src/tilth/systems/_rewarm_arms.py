"""How the arms of the system `rewarm` train, what is measured of them, and what must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.card import Invariant, Measured, Ratio
from tilth.objectives.causal import Causal
from tilth.systems._continued_texts import Continued
from tilth.tokens.documents import TokenDocuments
from tilth.training.history import History
from tilth.training.loop import fit
from tilth.training.replay import replayed
from tilth.training.schedules import Schedule, cosine, with_minimum

NEW = "bits per byte on the new text"
OLD = "bits per byte on the old text"
PEAK = "highest bits per byte on the old text on the way"
MINIMUM, WARMUP = 0.1, 0.01
GLANCES = 8


@dataclass(frozen=True)
class Inputs:
    """What all arms share. Budgets in tokens; `rate` is the highest rate of the base's training."""

    texts: Continued
    tokens: int
    batch_tokens: int
    length: int
    rate: float
    replay: float


def scored(model: Any, data: TokenDocuments, length: int) -> Ratio:
    """Bits per byte, document by document."""
    found = bits_per_byte(model, data, length)["per_document"]
    return Ratio(np.array(found["bits"]), np.array(found["bytes"], dtype=float))


def trained(
    inputs: Inputs, model: Any, data: TokenDocuments, seed: int, **options: Any
) -> tuple[History, list[float]]:
    """The history, and the old text's bits per byte before and on the way."""
    steps = max(1, inputs.tokens // (inputs.batch_tokens * GLANCES))

    def glance() -> float:
        old = inputs.texts.old.glance
        return float(
            bits_per_byte(model, old, inputs.length, stride=inputs.length)["bits_per_byte"]
        )

    course = [glance()]

    def on_step(point: Any) -> None:
        if point.step % steps == 0:
            course.append(glance())

    history = fit(
        model, Causal(length=inputs.length), data, tokens=inputs.tokens,
        batch_tokens=inputs.batch_tokens, seed=seed, on_step=on_step,
        **{"minimum": MINIMUM, "warmup": WARMUP, "learning_rate": inputs.rate, **options},
    )  # fmt: skip
    return history, course


def arm(
    *, scratch: bool = False, kept: bool = False, replay: bool = False, rate: float = 1.0,
    **options: Any,
) -> Callable[[Inputs, int], Measured]:  # fmt: skip
    """An arm: from the base or from `scratch`, moments `kept` or new, at `rate` times the rate."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        model, moments = inputs.texts.copies()
        if scratch:
            model = fresh(model, seed)
        data = inputs.texts.new.train
        if replay:
            data = replayed(data, inputs.texts.old.train, inputs.replay, seed)
        history, course = trained(
            inputs, model, data, seed, moments=moments if kept else {},
            **{**options, "learning_rate": rate * inputs.rate},
        )  # fmt: skip
        return Measured(
            {
                NEW: scored(model, inputs.texts.new.test, inputs.length),
                OLD: scored(model, inputs.texts.old.test, inputs.length),
                PEAK: max(course),
            },
            tokens=history.plan["tokens"], flops=history.plan["flops"],
            products={"history": history, "rate": rate * inputs.rate, "course": course},
        )  # fmt: skip

    return measure


def fresh(model: Any, seed: int) -> Any:
    """A model of the same kind with new weights."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return type(model)(copy.deepcopy(model.config)).eval()


def follows(history: History, schedule: Schedule, rate: float, warmup: float) -> bool:
    """Whether each rate is that of the schedule at the middle of the step's tokens."""
    budget, before = history.plan["tokens"], 0
    for point in history.points:
        middle = (before + point.tokens) / 2
        expected = rate * schedule(middle, budget, warmup * budget)
        if abs(point.learning_rate - expected) > 1e-12 * rate:
            return False
        before = point.tokens
    return True


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Rates are functions of tokens whatever the batch; no replay is no change."""
    schedule = with_minimum(cosine, MINIMUM)
    rewarmed = measured["re-warmed"].products
    yield Invariant(
        "rates are those of the schedule at the tokens consumed",
        follows(rewarmed["history"], schedule, rewarmed["rate"], WARMUP),
    )
    short = Inputs(
        inputs.texts, 10 * inputs.batch_tokens, inputs.batch_tokens, inputs.length, inputs.rate, 0.0
    )
    new, old = inputs.texts.new.train, inputs.texts.old.train
    weights = []
    for data in (new, replayed(new, old, 0.0)):
        model, _ = inputs.texts.copies()
        trained(short, model, data, 0)
        weights.append([p.detach() for p in model.parameters()])
    same = all(bool((a == b).all()) for a, b in zip(*weights))
    yield Invariant("a replay of 0 is no replay, bit for bit", same)
    half = Inputs(
        inputs.texts, 20 * inputs.length, 2 * inputs.length, inputs.length, inputs.rate, 0.0
    )
    model, _ = inputs.texts.copies()
    history, _ = trained(half, model, new, 0)
    yield Invariant(
        "another batch size leaves the schedule as it is",
        follows(history, schedule, inputs.rate, WARMUP),
    )
    starts = [measured[name].products["course"][0] for name in ("constant", "re-warmed", "replay")]
    yield Invariant("all arms but one start from the same model", len(set(starts)) == 1)
