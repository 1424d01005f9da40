"""A trend of loss over compute, L(C) = a + b C^-c, with its uncertainty (Hoffmann et al., 2022).

`fit_trend` takes the least squares over all points: given c the best a >= 0 and b >= 0 are those
of a line, and c is taken from a fine grid. Four classes of compute fix three numbers loosely:
`resampled` fits the trend again on seeds drawn anew (Efron, 1979), and what is said of a number
that the trend gives, an exponent, a prediction, is the range over those draws. A trend is no
promise: beyond the largest class that was measured it is an extrapolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tilth.errors import UsageError

DRAWS = 500
LEVEL = 0.95
# Neighbours differ by 0.6 %.
EXPONENTS = np.geomspace(0.01, 4.0, 1000)
# How far, as a factor, a crossing is looked for beyond the largest class.
FARTHEST = 1e6


class Trend(NamedTuple):
    """a + b C^-c: `a` is what no compute takes away, `c` how fast the rest falls."""

    a: float
    b: float
    c: float

    def at(self, compute: float) -> float:
        return self.a + self.b * compute**-self.c


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def fit_trend(compute: Sequence[float], losses: Sequence[float]) -> Trend:
    """The trend of points (compute above 0, loss). Raises UsageError for fewer than 3 classes."""
    return _fit(compute, np.asarray(losses, float)[None])[0]


def _fit(compute: Sequence[float], losses: np.ndarray) -> list[Trend]:
    """The trend of each row of losses (rows, classes): for each exponent the best line, then it."""
    x = np.asarray(compute, float)
    if len(np.unique(x)) < 3 or (x <= 0).any():
        raise UsageError("a trend needs at least 3 amounts of compute, all above 0")
    unit = float(np.exp(np.log(x).mean()))
    powers = (x / unit) ** -EXPONENTS[:, None]
    spread = powers - powers.mean(1, keepdims=True)
    b = losses @ spread.T / (spread**2).sum(1)
    a = losses.mean(1, keepdims=True) - b * powers.mean(1)
    # Where the best line has an end below 0 the best one allowed lies on the border.
    through = np.maximum(0.0, losses @ powers.T / (powers**2).sum(1))
    b, a = np.where(a < 0, through, b), np.maximum(a, 0.0)
    a, b = np.where(b < 0, losses.mean(1, keepdims=True), a), np.maximum(b, 0.0)
    errors = sum(
        (losses[:, [n]] - a - b * powers[:, n]) ** 2 for n in range(len(x))
    )  # (rows, exponents)
    best = np.argmin(errors, axis=1)
    rows = np.arange(len(losses))
    return [
        Trend(float(one), float(two * unit**c), float(c))
        for one, two, c in zip(a[rows, best], b[rows, best], EXPONENTS[best])
    ]


def resampled(
    compute: Sequence[float], runs: Sequence[Sequence[float]], draws: int = DRAWS
) -> list[Trend]:
    """The trends of `draws` samples of seeds; runs[seed][class] are losses.

    The same draws for the same number of seeds, so that two contenders are drawn together.
    """
    table = np.asarray(runs, float)
    chosen = np.random.default_rng([len(table), 41]).integers(len(table), size=(draws, len(table)))
    # A trend depends on the mean of a class alone: squares around it do not move.
    return _fit(compute, table[chosen].mean(1))


def interval(trends: Sequence[Trend], value: float, of: Callable[[Trend], float]) -> Interval:
    """`value`, with the range in which the middle 95 % of the draws lie."""
    found = [of(trend) for trend in trends]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def crossing(one: Trend, other: Trend, start: float) -> float:
    """The least compute from `start` on at which the trends are equal; inf where none is found.

    Looked for up to `FARTHEST` times `start`.
    """
    places = start * np.geomspace(1, FARTHEST, 4000)
    gap = np.array([one.at(place) - other.at(place) for place in places])
    turned = np.flatnonzero(np.sign(gap[1:]) != np.sign(gap[0]))
    if not len(turned) or gap[0] == 0:
        return float(start) if gap[0] == 0 else math.inf
    left, right = places[turned[0]], places[turned[0] + 1]
    for _ in range(60):
        middle = math.sqrt(left * right)
        same = np.sign(one.at(middle) - other.at(middle)) == np.sign(gap[0])
        left, right = (middle, right) if same else (left, middle)
    return float(right)


def gain_per_doubling(compute: Sequence[float], losses: Sequence[float]) -> float:
    """How much the loss falls where the compute doubles, on average from first to last class."""
    doublings = math.log2(compute[-1] / compute[0])
    return (losses[0] - losses[-1]) / doublings


def describe(
    compute: Sequence[float], runs: Mapping[str, Sequence[Sequence[float]]]
) -> dict[str, dict[str, Interval]]:
    """Of each contender: a, b, c of its trend and the loss at twice the largest class."""
    found: dict[str, dict[str, Interval]] = {}
    for name, table in runs.items():
        trend = fit_trend(compute, np.asarray(table, float).mean(0))
        draws = resampled(compute, table)
        beyond = 2 * max(compute)
        found[name] = {
            "a": interval(draws, trend.a, lambda t: t.a),
            "b": interval(draws, trend.b, lambda t: t.b),
            "c": interval(draws, trend.c, lambda t: t.c),
            "at twice the largest class": interval(
                draws, trend.at(beyond), lambda t, beyond=beyond: t.at(beyond)
            ),
        }
    return found
