"""Leave out a step whose loss or gradient norm is an outlier (OLMo team, 2024: skip-step).

A step whose loss, or whose gradient norm before clipping, lies more than `sigmas` standard
deviations above the mean of the last `window` steps moves nothing: neither weights nor moments.
The values of such a step count for those after it, so that a lasting change is let in. A step
whose loss is no number is left out too, and counts for nothing; `patience` of them in a row end
the training, since they mean that the weights are lost, not the data. Use it with high rates and
unclean text. It hides a rate that is too high: look at how many steps were left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class StepGuard:
    """`least`: steps that must have been seen before one can be called an outlier."""

    window: int = 128
    sigmas: float = 6.0
    least: int = 64
    patience: int = 8

    def outlier(self, values: Sequence[float], value: float) -> bool:
        """Whether `value` lies beyond the mean of the last values by more than the limit."""
        last = values[-self.window :]
        if len(last) < max(1, self.least):
            return False
        mean = math.fsum(last) / len(last)
        spread = math.sqrt(math.fsum((one - mean) ** 2 for one in last) / max(1, len(last) - 1))
        return value - mean > self.sigmas * spread

    def reason(
        self, losses: Sequence[float], norms: Sequence[float], loss: float, norm: float
    ) -> str:
        """Why this step is left out; empty where it is not."""
        if not math.isfinite(loss) or not math.isfinite(norm):
            return "no number"
        if self.outlier(losses, loss):
            return "loss"
        return "gradient norm" if self.outlier(norms, norm) else ""

    def to_value(self) -> list[float]:
        return [self.window, self.sigmas, self.least, self.patience]


def spike_share(losses: Sequence[float], norms: Sequence[float], guard: StepGuard) -> float:
    """The share of steps that `guard` would call outliers, of those that it can judge.

    OLMo 2's spike score: how restless a training is, whatever was done about it.
    """
    judged = range(guard.least, len(losses))
    spikes = sum(
        bool(guard.reason(losses[:step], norms[:step], losses[step], norms[step]))
        for step in judged
    )
    return spikes / len(judged) if len(judged) else 0.0
