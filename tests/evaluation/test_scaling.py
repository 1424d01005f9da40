"""Trends of loss over compute: planted ones are found; crossings; how sure one may be."""

import math

import numpy as np
import pytest

from tilth.errors import UsageError
from tilth.evaluation.scaling import (
    Trend,
    crossing,
    describe,
    fit_trend,
    gain_per_doubling,
    resampled,
)

SECONDS = (4.0, 8.0, 16.0, 32.0, 64.0)


@pytest.mark.parametrize("planted", [(1.5, 2.0, 0.5), (0.0, 3.0, 0.1), (2.0, 40.0, 1.5)])
def test_a_planted_trend_is_found(planted):
    trend = Trend(*planted)
    found = fit_trend(SECONDS, [trend.at(c) for c in SECONDS])
    for c in (*SECONDS, 200.0):
        assert math.isclose(found.at(c), trend.at(c), rel_tol=3e-3)
    assert math.isclose(found.c, trend.c, rel_tol=0.02)


def test_the_fit_is_the_best_of_a_search():
    losses = [3.1, 2.7, 2.52, 2.4, 2.37]
    found = fit_trend(SECONDS, losses)

    def error(trend):
        return sum((loss - trend.at(c)) ** 2 for c, loss in zip(SECONDS, losses))

    least = min(
        error(Trend(a, b, c))
        for a in np.linspace(0, 2.4, 49)
        for b in np.linspace(0.1, 8, 80)
        for c in np.linspace(0.05, 2, 40)
    )
    assert error(found) <= least + 1e-9


def test_flat_and_rising_losses_have_no_fall():
    assert fit_trend(SECONDS, [2.0] * 5).at(1e9) == pytest.approx(2.0)
    rising = fit_trend(SECONDS, [2.0, 2.1, 2.2, 2.3, 2.4])
    assert rising.b == 0.0 and rising.a == pytest.approx(2.2)


def test_crossings():
    slow, fast = Trend(1.0, 2.0, 0.3), Trend(1.0, 4.0, 0.5)
    where = crossing(slow, fast, 4.0)
    assert where == pytest.approx(2.0 ** (1 / 0.2), rel=1e-3)
    assert crossing(fast, slow, 4.0) == pytest.approx(where)
    assert crossing(slow, Trend(3.0, 2.0, 0.3), 4.0) == math.inf
    assert crossing(slow, slow, 4.0) == 4.0


def test_ranges_hold_what_was_planted_and_shrink_with_less_noise():
    trend, widths = Trend(1.5, 2.0, 0.6), []
    for noise in (0.02, 0.002):
        rng = np.random.default_rng(3)
        runs = [[trend.at(c) + noise * rng.normal() for c in SECONDS] for _ in range(5)]
        found = describe(SECONDS, {"one": runs})["one"]
        assert found["at twice the largest class"].low <= trend.at(128.0) + 0.05
        widths.append(found["c"].high - found["c"].low)
        assert found["c"].low <= found["c"].value <= found["c"].high
    assert widths[1] < widths[0]
    assert resampled(SECONDS, runs, 3) == resampled(SECONDS, runs, 3)


def test_gain_per_doubling():
    assert gain_per_doubling((2, 4, 16), (3.0, 2.5, 1.5)) == pytest.approx(0.5)


@pytest.mark.parametrize("compute", [(1, 2), (2, 2, 2), (0, 1, 2)])
def test_too_few_classes_are_refused(compute):
    with pytest.raises(UsageError, match="3 amounts"):
        fit_trend(compute, [1.0] * len(compute))
