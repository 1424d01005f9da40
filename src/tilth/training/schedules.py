"""Learning-rate schedules: consumed tokens -> a factor from 0 to 1. Nothing is remembered.

Each is called as `schedule(consumed, budget, warmup)`, all in tokens, and rises linearly from 0
during the warm-up. Then:

- `constant` stays. For short probes, and where the budget is not known.
- `linear` falls in a straight line to 0 (Bergsma et al., 2025, find it best for one budget).
- `cosine` falls in half a cosine to 0 (Loshchilov and Hutter, 2017). The usual choice.
- `warmup_stable_decay` stays, and falls over the last part of the budget (Hu et al., 2024) as
  1 - sqrt (Haegele et al., 2024). For models that are to be continued: go on from before the fall.

Cosine and linear fit one budget: training on after their end, or stopping before it, costs.
"""

from __future__ import annotations

import math

DECAY_SHARE = 0.2


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
