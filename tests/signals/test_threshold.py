"""Calibration against scikit-learn; cuts that keep what they promise; one hill is not cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, UsageError
from tilth.signals import calibration, hills
from tilth.signals.calibration import area_under_curve, expected_calibration_error, reliability
from tilth.signals.threshold import for_budget, for_precision, two_hills, wilson


def two_groups(rng, distance=4.0, size=2000, share=0.5):
    upper = int(size * share)
    return np.concatenate([rng.normal(size=size - upper), rng.normal(distance, size=upper)])


@given(
    st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
        lambda pairs: len({label for _, label in pairs}) == 2
    )
)
@settings(max_examples=60, deadline=None)
def test_area_is_that_of_all_pairs(pairs):
    above = [s for s, label in pairs if label]
    below = [s for s, label in pairs if not label]
    wins = sum((a > b) + (a == b) / 2 for a in above for b in below) / len(above) / len(below)
    assert area_under_curve(*zip(*pairs)) == pytest.approx(wins)


def test_platt_is_logistic_regression_on_smoothed_targets():
    rng = np.random.default_rng(0)
    labels = rng.random(3000) < 0.3
    scores = rng.normal(loc=2.0 * labels, scale=1.5) * 7 - 40
    platt = calibration.calibrate("platt", scores, labels)
    from sklearn.linear_model import LogisticRegression

    other = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        ((scores - scores.mean()) / scores.std())[:, None], labels
    )
    probabilities = other.predict_proba(((scores - scores.mean()) / scores.std())[:, None])[:, 1]
    np.testing.assert_allclose(platt(scores), probabilities, atol=2e-3)
    assert expected_calibration_error(platt(scores), labels) < 0.03
    assert expected_calibration_error(platt(scores) ** 3, labels) > 0.1
    falling = calibration.calibrate("platt", -scores, labels)
    assert falling.slope < 0
    np.testing.assert_allclose(falling(-scores), platt(scores))


def test_platt_stays_sober_where_scores_separate():
    platt = calibration.calibrate("platt", [0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1])
    assert platt(0.0) > 0.1 and platt(3.0) < 0.9
    assert np.isfinite(platt(np.array([-1e300, 1e300]))).all()
    same = calibration.calibrate("platt", [5.0] * 6, [1, 0, 0, 0, 0, 0])
    assert same(5.0) == pytest.approx((2 / 3 + 5 / 7) / 6, abs=1e-6)


def test_isotonic_is_scikit_learns():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=500).round(1)
    labels = rng.random(500) < 1 / (1 + np.exp(-2 * scores))
    from sklearn.isotonic import IsotonicRegression

    made = calibration.calibrate("isotonic", scores, labels)
    other = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    points = np.linspace(-4, 4, 200)
    np.testing.assert_allclose(made(points), other.predict(points), atol=1e-9)
    falling = calibration.calibrate("isotonic", -scores, labels, -1)
    np.testing.assert_allclose(falling(-points), made(points), atol=1e-9)


@pytest.mark.parametrize("method", sorted(calibration.CALIBRATIONS))
def test_calibration_through_json(method):
    made = calibration.calibrate(method, [0.0, 1.0, 2.0, 3.0], [0, 1, 0, 1])
    again = calibration.from_json(calibration.to_json(made))
    np.testing.assert_array_equal(again([0.5, 9.0]), made([0.5, 9.0]))


def test_reliability_by_hand():
    rows = reliability([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 0], bins=2)
    assert [row["positive"] for row in rows] == [0.0, 0.5]
    error = expected_calibration_error([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 0], bins=2)
    assert error == pytest.approx(0.5 * 0.15 + 0.5 * 0.35)


def test_calibration_refuses():
    with pytest.raises(UsageError, match="did you mean 'platt'"):
        calibration.calibrate("plat", [0.0, 1.0], [0, 1])
    with pytest.raises(DataError, match="both classes"):
        calibration.calibrate("platt", [0.0, 1.0], [1, 1])
    with pytest.raises(DataError, match="finite"):
        area_under_curve([0.0, np.nan], [0, 1])
    with pytest.raises(DataError, match="pair"):
        area_under_curve([0.0], [0, 1])


@pytest.mark.parametrize("method", ["gaussians", "otsu"])
def test_two_hills_are_cut_in_the_valley(method):
    values = two_groups(np.random.default_rng(0), distance=5.0)
    found = two_hills(values, method=method)
    assert found.threshold == pytest.approx(2.5, abs=0.3) and "two hills" in found.why
    assert found.kept == np.count_nonzero(values >= found.threshold)
    other = two_hills(values, direction=-1, method=method)
    assert other.threshold == found.threshold
    assert other.kept + found.kept == len(values)
    assert other.condition("perplexity") == f"perplexity <= {found.threshold!r}"


def test_a_small_hill_is_seen():
    values = two_groups(np.random.default_rng(1), distance=7.0, size=4000, share=0.05)
    assert two_hills(values).threshold == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(size=n),
        lambda rng, n: rng.random(n),
        lambda rng, n: rng.exponential(size=n),
        lambda rng, n: rng.lognormal(size=n),
        lambda rng, n: rng.standard_t(3, n),
    ],
)
@pytest.mark.parametrize("size", [200, 5000])
def test_one_hill_is_not_cut(draw, size):
    rng = np.random.default_rng(2)
    found = [two_hills(draw(rng, size)) for _ in range(20)]
    assert sum(one.threshold is not None for one in found) <= 1
    assert all("not two hills" in one.why for one in found if one.threshold is None)
    assert all(one.condition("x") == "" and one.kept == 0 for one in found if not one.threshold)


def test_too_little_to_see_hills():
    assert "too few" in two_hills([0.0] * 10 + [5.0] * 10).why
    assert "equal" in two_hills([0.0] * 90 + [5.0] * 10).why
    assert "too few" in two_hills([None] * 100).why
    with pytest.raises(UsageError, match="otsu"):
        two_hills([0.0], method="eye")


def test_otsu_by_trying_every_cut():
    values = np.random.default_rng(3).normal(size=60).round(2)
    best = min(
        np.unique(values)[:-1],
        key=lambda cut: sum(
            len(part) * part.var() for part in (values[values <= cut], values[values > cut])
        ),
    )
    found = hills.otsu_cut(values)
    assert np.array_equal(values > found, values > best)


def test_wilson_by_statsmodels_formula():
    # 1.6449 is the one-sided quantile of 95 %; the ends solve |p - share| = z sqrt(p(1-p)/n).
    low, high = wilson(8, 10)
    for end in (low, high):
        assert abs(0.8 - end) == pytest.approx(1.6448536 * np.sqrt(end * (1 - end) / 10), rel=1e-5)
    assert wilson(0, 0) == (0.0, 1.0) and wilson(5, 5)[1] == pytest.approx(1.0)


def test_precision_is_kept_on_fresh_texts():
    rng = np.random.default_rng(4)
    broken = tried = 0
    for _ in range(150):
        good = rng.random(400) < 0.4
        found = for_precision(rng.normal(loc=1.5 * good), good, target=0.7)
        if found.threshold is not None:
            fresh = rng.random(20000) < 0.4
            kept = rng.normal(loc=1.5 * fresh) >= found.threshold
            tried += 1
            broken += fresh[kept].mean() < 0.7
    assert tried > 100 and broken / tried <= 0.05


def test_precision_by_direction_and_without_an_answer():
    scores, good = np.arange(200.0), np.arange(200) < 120
    found = for_precision(scores, good, target=0.9, direction=-1)
    assert found.threshold is not None and found.threshold < 140 and found.precision[0] >= 0.9
    nothing = for_precision(scores, np.arange(200) % 2 == 0, target=0.9)
    assert nothing.threshold is None and "label more texts" in nothing.why
    assert for_precision([None, None], [1, 0], target=0.9).threshold is None
    with pytest.raises(UsageError, match="between 0 and 1"):
        for_precision(scores, good, target=1.0)
    with pytest.raises(DataError, match="pair"):
        for_precision(scores, good[:3], target=0.9)


@given(
    st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 6)), st.integers(0, 9)), max_size=30),
    st.integers(1, 80),
    st.sampled_from([1, -1]),
)
@settings(max_examples=100, deadline=None)
def test_a_budget_is_used_and_not_passed(rows, budget, direction):
    scores, sizes = [s for s, _ in rows], [size for _, size in rows]
    found = for_budget(scores, budget, sizes=sizes, unit="characters", direction=direction)
    assert found.size <= budget and found.unscored == scores.count(None)
    assert found.total_size == sum(sizes) and found.documents == len(rows)
    known = sorted({s for s in scores if s is not None}, reverse=direction > 0)
    kept = [
        s
        for s in known
        if found.threshold is not None and s * direction >= found.threshold * direction
    ]
    assert kept == known[: len(kept)]
    if len(kept) < len(known):
        following = sum(size for s, size in rows if s == known[len(kept)])
        assert found.size + following > budget


def test_budget_refuses():
    with pytest.raises(UsageError, match="above 0"):
        for_budget([1.0], 0)
    with pytest.raises(DataError, match="sizes"):
        for_budget([1.0], 5, sizes=[-1.0])
    with pytest.raises(UsageError, match="which side"):
        for_budget([1.0], 5, direction=0)
    assert "nothing fits" in for_budget([1.0, 1.0], 1).why
