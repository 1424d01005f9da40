"""Capacity of a policy in virtual time, and the same policy for real. A part of `sarathi_serve`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Measured
from tilth.serving.cost_table import CostTable
from tilth.serving.load import Served, arriving, at_rate, capacity, poisson, serve
from tilth.serving.scheduler import Policy
from tilth.serving.virtual import Real, Virtual
from tilth.systems._serving_loads import engine_of, prompt_ids

STRICT, RELAXED = "requests a second, strict", "requests a second, relaxed"
LONGEST, ERROR = "longest step over the goal", "error of virtual time"
# The goals as multiples of a step of 32 decodes.
GOALS = {STRICT: 5.0, RELAXED: 25.0}
SEQUENCES, BLOCKS = 32, 4096


@dataclass(frozen=True)
class Inputs:
    """`lengths`: of prompts and answers. `real`: how many of them are also run for real."""

    table: CostTable
    lengths: list[tuple[int, int]]
    context: int
    real: int
    size: str
    model: str | None

    def goal(self, metric: str) -> float:
        """Seconds between tokens at most."""
        return GOALS[metric] * self.table.row([(1, self.context + n) for n in range(SEQUENCES)])


def arm(policy: str | Policy) -> Callable[[Inputs, int], Measured]:
    """The arm that schedules by this policy."""

    def run(inputs: Inputs, seed: int) -> Measured:
        stream = arriving(inputs.lengths, poisson(1.0, len(inputs.lengths), seed))
        found: dict[str, Any] = {}
        steps: list = []
        for metric in GOALS:
            goal = inputs.goal(metric)
            # A tenth is left for contexts deeper than those.
            row = inputs.table.budget(0.9 * goal, SEQUENCES, 2 * inputs.context)

            @functools.cache
            def served(rate: float, row: int = row) -> Served:
                server = Virtual(inputs.table.row, policy, row=row, sequences=SEQUENCES,
                                 blocks=BLOCKS)  # fmt: skip
                return serve(server, at_rate(stream, rate))

            rate = capacity(lambda rate: served(rate).metrics(), goal, low=0.02, precision=0.04)
            found[metric] = rate
            if metric == STRICT:
                # At a rate that is the same for all: 0.7 of what the costs could bear at best.
                steps = served(0.7 / _seconds_each(inputs)).steps
                found[LONGEST] = max(step.seconds for step in steps) / goal
                found["tokens of a row"] = row
        products: dict[str, Any] = {"steps": steps, "row": found["tokens of a row"]}
        if isinstance(policy, str):
            products["same"], found[ERROR] = _beside_real(inputs, policy, products["row"])
        return Measured(found, products=products)

    return run


def _seconds_each(inputs: Inputs) -> float:
    """Seconds that a request costs where its prompt is read alone and its decodes share rows."""
    decode = inputs.table.row([(1, inputs.context + n) for n in range(SEQUENCES)]) / SEQUENCES
    each = [inputs.table.cost(prompt) + tokens * decode for prompt, tokens in inputs.lengths]
    return sum(each) / len(each)


def _beside_real(inputs: Inputs, policy: str, row: int) -> tuple[bool, float]:
    """Whether virtual time, given the engine's own seconds, makes its batches; and the mean error
    of a step's seconds by the table."""
    asks = arriving(inputs.lengths[: inputs.real], [0.0] * inputs.real)
    engine = engine_of(inputs.size, inputs.model, policy=policy, row=row, blocks=1024)
    real = serve(Real(engine, lambda n: prompt_ids(n, inputs.lengths[n][0])), asks)
    seconds = iter([step.seconds for step in real.steps])
    again = Virtual(lambda work: next(seconds), policy, row=row, blocks=1024)
    same = serve(again, asks).batches() == real.batches()
    errors = [
        abs(
            inputs.table.row([(count, cached) for _, count, cached in step.work]) / step.seconds - 1
        )
        for step in real.steps
        if step.seconds
    ]
    return same, sum(errors) / max(1, len(errors))


def no_stall(steps: Iterable[Any]) -> bool:
    """Whether everybody who has had a token is in every later row, until the last one."""
    answering: set[int] = set()
    for step in steps:
        answering -= set(step.preempted)
        if not answering <= {number for number, _, _ in step.work}:
            return False
        answering |= set(step.gave)
        answering -= set(step.over)
    return True
