"""Are there two hills in a column of numbers, and where is the valley between them?

Counts are smoothed by a normal kernel with Silverman's bandwidth (1986), which rather hides a
small valley than makes one. Two hills are there where the highest valley between two of the
smoothed peaks is lower than the lower peak by `DEPTH` and by more than chance leaves in the
counts around both places.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

LEAST = 50  # numbers; fewer show no form
BINS = 1024
# A valley must be lower than this share of the lower peak, by this many standard errors.
DEPTH = 0.8
ERRORS = 3.0
# A hill of less than this share of all numbers is a few strange texts.
SMALLEST = 0.01
ROUNDS = 200


class Valley(NamedTuple):
    """`two`: whether there are two hills, at `left` and `right`; the valley lies `at` a number.

    `depth`: its height as a share of the lower hill's. `why`: what is missing where there are not.
    """

    two: bool
    left: float = np.nan
    right: float = np.nan
    at: float = np.nan
    depth: float = 1.0
    why: str = ""


def valley(values: np.ndarray) -> Valley:
    """The deepest valley between two hills of the finite numbers."""
    if len(values) < LEAST:
        return Valley(
            False, why=f"{len(values)} scores are too few to see a form (at least {LEAST})"
        )
    spread = _spread(values)
    if spread == 0:
        return Valley(False, why="more than half of the scores are equal")
    bandwidth = 0.9 * spread * len(values) ** -0.2
    # Far outliers would stretch the grid until both hills fall into one bin.
    low, high = np.quantile(values, [0.001, 0.999])
    low, high = low - 3 * bandwidth, high + 3 * bandwidth
    counts, edges = np.histogram(values, BINS, (low, high))
    places = (edges[:-1] + edges[1:]) / 2
    step = places[1] - places[0]
    kernel = np.exp(-0.5 * (np.arange(-BINS, BINS + 1) * step / bandwidth) ** 2)
    smooth = np.convolve(counts, kernel)[BINS : 2 * BINS]
    inner = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:])
    peaks = np.flatnonzero(inner) + 1
    # The kernel holds about 2.5 bandwidths of counts: the effective number behind a height.
    weight = float((kernel**2).sum() / kernel.sum())
    best = Valley(False, why="the smoothed counts rise and fall once")
    for first, second in pairwise(peaks):
        lowest = first + int(smooth[first:second].argmin())
        left, right = smooth[: lowest + 1].max(), smooth[lowest:].max()
        lower = float(min(left, right))
        height = float(smooth[lowest])
        error = np.sqrt(weight * (lower + height))
        share = np.count_nonzero(values < places[lowest]) / len(values)
        small = min(share, 1 - share)
        depth = height / lower
        shown = depth <= DEPTH and lower - height > ERRORS * error and small >= SMALLEST
        if shown and depth < best.depth:
            best = Valley(
                True,
                float(places[int(smooth[: lowest + 1].argmax())]),
                float(places[lowest + int(smooth[lowest:].argmax())]),
                float(places[lowest]),
                depth,
            )
        elif not best.two:
            best = best._replace(
                why=f"the deepest valley is {depth:.0%} as high as the lower hill, with "
                f"{small:.1%} of the scores on its smaller side: no more than chance leaves"
            )
    return best


def otsu_cut(values: np.ndarray) -> float:
    """The cut that leaves the least variance within both parts (Otsu 1979), between two numbers."""
    ordered = np.sort(values)
    count = np.arange(1, len(ordered))
    sums = np.cumsum(ordered - ordered.mean())[:-1]
    # Between-part variance, up to a factor; sums of centred numbers of both parts are opposite.
    between = sums**2 / (count * (len(ordered) - count))
    place = int(between.argmax())
    return float((ordered[place] + ordered[place + 1]) / 2)


def gaussian_cut(values: np.ndarray) -> float:
    """Where two normal curves, fitted by expectation maximisation, are equally likely.

    The number between the two means; NaN where there is none.
    """
    upper = (values > otsu_cut(values)).astype(np.float64)
    floor = (1e-3 * _spread(values)) ** 2
    shares, means, variances = np.empty(2), np.empty(2), np.empty(2)
    for _ in range(ROUNDS):
        for side, belongs in enumerate((1 - upper, upper)):
            total = max(float(belongs.sum()), 1e-9)
            shares[side] = total / len(values)
            means[side] = float(belongs @ values) / total
            variances[side] = max(float(belongs @ (values - means[side]) ** 2) / total, floor)
        before = upper
        odds = _log_odds(values, shares, means, variances)
        upper = 0.5 * (1 + np.tanh(0.5 * odds))
        if np.abs(upper - before).max() < 1e-6:
            break
    between = np.linspace(means[0], means[1], 2001)
    odds = _log_odds(between, shares, means, variances)
    crossing = np.flatnonzero((odds[:-1] < 0) & (odds[1:] >= 0))
    return float(between[crossing[0] + 1]) if len(crossing) else float("nan")


def _log_odds(
    values: np.ndarray, shares: np.ndarray, means: np.ndarray, variances: np.ndarray
) -> np.ndarray:
    lower, upper = (
        np.log(shares[side])
        - 0.5 * np.log(variances[side])
        - 0.5 * (values - means[side]) ** 2 / variances[side]
        for side in (0, 1)
    )
    return upper - lower


def _spread(values: np.ndarray) -> float:
    """The smaller of standard deviation and interquartile range / 1.34, if that is above 0."""
    quarter, three = np.quantile(values, [0.25, 0.75])
    spreads = [float(values.std()), float(three - quarter) / 1.34]
    return min(spread for spread in spreads) if spreads[1] > 0 else 0.0
