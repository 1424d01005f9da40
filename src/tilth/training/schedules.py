"""Learning-rate schedules: pure functions of the share of the budget that is consumed.

`SCHEDULES` maps a name to a function share -> factor; warm-up is linear over `warmup` of the
budget for all of them. Cosine: Loshchilov and Hutter 2017; warm-up-stable-decay: Hu et al. 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tilth.errors import UsageError, nearest


def constant(share: float) -> float:
    return 1.0


def linear(share: float) -> float:
    return 1.0 - share


def cosine(share: float, floor: float = 0.1) -> float:
    """Falls along half a cosine to a tenth."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))


def warm_up_stable_decay(share: float, decay: float = 0.2) -> float:
    """Flat, then linear to zero over the last fifth."""
    return 1.0 if share < 1 - decay else (1 - share) / decay


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "wsd": warm_up_stable_decay,
}


def factor(schedule: str, tokens: int, budget: int, warmup: float) -> float:
    """What the peak learning rate is multiplied by after `tokens` of `budget` tokens."""
    if schedule not in SCHEDULES:
        raise UsageError(f"no schedule is called {schedule!r}", hint=nearest(schedule, SCHEDULES))
    share = min(1.0, tokens / budget)
    rise = min(1.0, share / warmup) if warmup > 0 else 1.0
    return rise * SCHEDULES[schedule](share)
