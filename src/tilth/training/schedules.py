"""Learning-rate schedules: consumed tokens -> a factor from 0 to 1. Nothing is remembered.

Each is called as `schedule(consumed, budget, warmup)`, all in tokens, and rises linearly from 0
during the warm-up. So it does not change with the size of a batch or where a training was
interrupted. Then:

- `constant` stays. For short probes, and where the budget is not known.
- `linear` falls in a straight line to 0 (Bergsma et al., 2025, find it best for one budget).
- `cosine` falls in half a cosine to 0 (Loshchilov and Hutter, 2017). The usual choice.
- `warmup_stable_decay` stays, and falls over the last part of the budget (Hu et al., 2024) as
  1 - sqrt (Haegele et al., 2024). For models that are to be continued: go on from before the fall.
- `inverse_sqrt` falls as 1 / sqrt(consumed) and knows no end (Vaswani et al., 2017).

Cosine and linear fit one budget: training on after their end, or stopping before it, costs. To go
on, re-warm and fall again: a new budget with its own warm-up (Gupta et al., 2023).

`with_minimum` lets a schedule end at a share of the rate; `joined` puts schedules end to end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

DECAY_SHARE = 0.2
# Where there is no warm-up, `inverse_sqrt` begins to fall after this share of the budget.
LEAST_SCALE = 0.01

Schedule = Callable[[float, float, float], float]


def warm(consumed: float, warmup: float) -> float:
    """The rise from 0 to 1 over `warmup` tokens."""
    return min(1.0, consumed / warmup) if warmup > 0 else 1.0


def _after(consumed: float, budget: float, warmup: float) -> float:
    """How far along the way from the end of the warm-up to the end of the budget, 0 to 1."""
    if budget <= warmup:
        return 0.0
    return min(1.0, max(0.0, (consumed - warmup) / (budget - warmup)))


def constant(consumed: float, budget: float, warmup: float = 0.0) -> float:
    return warm(consumed, warmup)


def linear(consumed: float, budget: float, warmup: float = 0.0) -> float:
    return warm(consumed, warmup) * (1.0 - _after(consumed, budget, warmup))


def cosine(consumed: float, budget: float, warmup: float = 0.0) -> float:
    fall = 0.5 * (1.0 + math.cos(math.pi * _after(consumed, budget, warmup)))
    return warm(consumed, warmup) * fall


def warmup_stable_decay(consumed: float, budget: float, warmup: float = 0.0) -> float:
    start = max(warmup, budget * (1.0 - DECAY_SHARE))
    return warm(consumed, warmup) * (1.0 - math.sqrt(_after(consumed, budget, start)))


def inverse_sqrt(consumed: float, budget: float, warmup: float = 0.0) -> float:
    scale = max(warmup, LEAST_SCALE * budget)
    return warm(consumed, warmup) * min(1.0, math.sqrt(scale / max(consumed, scale)))


def with_minimum(schedule: Schedule, minimum: float) -> Schedule:
    """The schedule, falling to `minimum` in place of 0; the warm-up still rises from 0."""

    def factor(consumed: float, budget: float, warmup: float = 0.0) -> float:
        rise = warm(consumed, warmup)
        return minimum * rise + (1.0 - minimum) * schedule(consumed, budget, warmup)

    return factor if minimum else schedule


class Part(NamedTuple):
    """A piece of a joined schedule: its share of the budget, its own warm-up and minimum.

    `warmup` is a share of the piece, `rate` a factor on all of it, `minimum` a share of that.
    """

    share: float
    schedule: Schedule
    warmup: float = 0.0
    rate: float = 1.0
    minimum: float = 0.0


def joined(parts: Sequence[Part]) -> Schedule:
    """One schedule after another within one budget; their shares must add up to 1.

    Each sees its own tokens only. The warm-up of the whole comes on top, over the first part.
    """
    from tilth.errors import UsageError

    whole = math.fsum(part.share for part in parts)
    if not parts or not math.isclose(whole, 1.0, abs_tol=1e-9) or min(p.share for p in parts) <= 0:
        raise UsageError(f"the shares of a joined schedule add up to {whole:g}, not to 1")

    def factor(consumed: float, budget: float, warmup: float = 0.0) -> float:
        begun = 0.0
        for number, part in enumerate(parts):
            size = part.share * budget
            if consumed < begun + size or number == len(parts) - 1:
                inner = with_minimum(part.schedule, part.minimum)
                value = inner(max(0.0, consumed - begun), size, part.warmup * size)
                return warm(consumed, warmup) * part.rate * value
            begun += size
        raise AssertionError("unreachable")

    return factor
