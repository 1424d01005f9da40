"""How much a paper is talked about: events that fade.

    score(now) = sum over events of  weight * 2 ** (-age / HALF_LIFE)       age = now - event, days

Weights: 3 a new result measured here, 2 a vote, 1 the import of the paper into the library. An
event counts half after `HALF_LIFE` days. The papers that tilth brings start without an event.

All scores fade alike, so the order of two papers changes by new events only, never by waiting. The
library therefore keeps one number a paper that needs no clock, the `heat`:

    heat = log2(sum over events of  weight * 2 ** (days since EPOCH / HALF_LIFE))
    score(now) = 2 ** (heat - days from EPOCH to now / HALF_LIFE)

When: a list of what is new and liked. When not: to say what is good; votes are votes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

HALF_LIFE = 7.0  # days
WEIGHTS = {"result": 3.0, "vote": 2.0, "import": 1.0}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
# A paper without an event.
COLD = -math.inf


def days(moment: datetime | str) -> float:
    """Days since EPOCH of a moment, or of its ISO form; one without a zone is in UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH).total_seconds() / 86_400


def heat(events: Iterable[tuple[str, datetime | str]]) -> float:
    """The heat of (kind, moment) events, kinds of `WEIGHTS`; COLD without any."""
    # In an order of their own, so that equal events give equal sums.
    terms = sorted(math.log2(WEIGHTS[kind]) + days(at) / HALF_LIFE for kind, at in events)
    if not terms:
        return COLD
    return terms[-1] + math.log2(sum(2.0 ** (term - terms[-1]) for term in terms))


def joined(first: float | None, second: float | None) -> float | None:
    """The heat of two sets of events together; None stands for COLD, as in SQL."""
    if first is None or second is None:
        return second if first is None else first
    high, low = max(first, second), min(first, second)
    return high + math.log2(1.0 + 2.0 ** (low - high))


def score(heat: float, now: datetime | str) -> float:
    """The score of the formula above at a moment; 0 for COLD."""
    if heat == COLD:
        return 0.0
    exponent = heat - days(now) / HALF_LIFE
    return 2.0 ** min(exponent, 1000.0)
