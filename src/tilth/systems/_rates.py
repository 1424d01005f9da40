"""Learning rates of systems that compare trainings: each arm takes the best of a few of its own.

Chosen once for all seeds, by a training with a seed of its own, on texts that no arm trains on nor
is tested on. Every arm has the same rates to choose from, so that the baseline is tuned as well as
the method is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tilth.errors import UsageError
from tilth.systems._continued_texts import GLANCE, Side

# No arm is measured with it.
TUNING_SEED = 999


def parse_rates(text: str) -> tuple[float, ...]:
    """`0.002,0.004` as numbers, the lowest first. Raises UsageError for what is no rate."""
    try:
        rates = tuple(sorted({float(one) for one in text.split(",")}))
    except ValueError:
        rates = ()
    if not rates or rates[0] <= 0:
        raise UsageError(f"{text!r} are no learning rates", where="rates", hint="0.002,0.004")
    return rates


@dataclass
class Chosen:
    """The rate of each arm of a system, and what each rate gave. Kept from seed to seed."""

    found: dict[Any, list[tuple[float, float]]] = field(default_factory=dict)

    def rate(self, key: Any, rates: Sequence[float], measure: Callable[[float], float]) -> float:
        """The rate with the lowest `measure(rate)`; of one rate nothing is measured.

        `key` names the arm with all that its training depends on but the seed.
        """
        if len(rates) == 1:
            return rates[0]
        if (key, *rates) not in self.found:
            self.found[key, *rates] = [(measure(rate), rate) for rate in rates]
        return min(self.found[key, *rates])[1]


def set_aside(side: Side, size: int = GLANCE) -> tuple[Side, Side]:
    """(the side without about `size` bytes of its training text, the same to choose rates with).

    In the second, what was set aside stands in place of the text to score and to glance at.
    """
    count = len(side.train)
    step = max(2, int(side.train.text_bytes.sum()) // size)
    chosen = list(range(0, count, step))
    kept = side.train.select([n for n in range(count) if n % step])
    apart = side.train.select(chosen)
    return replace(side, train=kept), Side(kept, apart, apart)
