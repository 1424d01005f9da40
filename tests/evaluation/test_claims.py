"""Verdicts by their rules, intervals by simulation, and the edges where nothing may hold."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tilth.errors import UsageError
from tilth.evaluation.card import Ratio
from tilth.evaluation.claims import compare, verdict

FINITE = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    "low, high, margin, expected",
    [
        (0.2, 0.4, 0.1, "holds"),
        (0.1, 0.4, 0.1, "direction only"),
        (0.05, 0.4, 0.1, "direction only"),
        (0.01, 0.05, 0.1, "direction only"),
        (-0.1, 0.05, 0.1, "does not hold here"),
        (-0.1, 0.1, 0.1, "does not hold here"),
        (-0.3, -0.1, 0.0, "does not hold here"),
        (0.0, 0.0, 0.0, "does not hold here"),
        (0.0, 0.2, 0.1, "undecided"),
        (-0.1, 0.2, 0.0, "undecided"),
        (0.0, 0.2, 0.0, "undecided"),
        # Not worse by more than 0.1.
        (-0.05, 0.2, -0.1, "holds"),
        (-0.2, -0.15, -0.1, "does not hold here"),
        (-0.2, 0.2, -0.1, "undecided"),
        (math.nan, 1.0, 0.0, "undecided"),
        (1.0, math.inf, 0.0, "undecided"),
        (1.0, 2.0, math.nan, "undecided"),
    ],
)
def test_verdict(low, high, margin, expected):
    assert verdict(low, high, margin) == expected


@given(FINITE, FINITE, st.floats(0, 1e6))
def test_verdicts_are_what_the_words_say(one, other, margin):
    low, high = sorted((one, other))
    found = verdict(low, high, margin)
    assert (found == "holds") == (low > margin)
    assert (found == "direction only") == (0 < low <= margin)
    if found == "does not hold here":
        assert high <= margin and low <= 0


def simulate(rng, seeds, examples, *, seed_sd, shared_sd, own_sd, effect=0.0, uneven=False):
    """Two arms on one test set: the seed's effect, the examples', and what is left."""
    spread = rng.choice([0.3, 1.0, 2.5], seeds) if uneven else np.ones(seeds)
    shift = effect + rng.normal(0, seed_sd, seeds) * spread
    baseline = rng.normal(0, 1, (seeds, examples))
    change = rng.normal(0, shared_sd, examples) + rng.normal(0, own_sd, (seeds, examples))
    method = baseline + shift[:, None] + change
    return dict(enumerate(method)), dict(enumerate(baseline))


@pytest.mark.parametrize(
    "seeds, examples, noise, effect, margin",
    [
        (3, 40, {"seed_sd": 0.1, "shared_sd": 0.5, "own_sd": 1.0}, 0.0, 0.0),
        (5, 40, {"seed_sd": 0.1, "shared_sd": 1.0, "own_sd": 0.1}, 0.0, 0.0),
        # As much chance in the seeds as in the examples, which is the hardest to see.
        (5, 30, {"seed_sd": 0.4, "shared_sd": 1.0, "own_sd": 0.1}, 0.2, 0.2),
        (5, 25, {"seed_sd": 0.4, "shared_sd": 0.2, "own_sd": 0.2, "uneven": True}, 0.0, 0.0),
        (8, 12, {"seed_sd": 0.3, "shared_sd": 0.8, "own_sd": 0.3, "uneven": True}, -0.1, -0.1),
        (12, 20, {"seed_sd": 0.2, "shared_sd": 0.2, "own_sd": 0.5}, 0.0, 0.0),
    ],
)
def test_simulated_claims_without_effect_rarely_hold(seeds, examples, noise, effect, margin):
    rng, runs = np.random.default_rng(20), 600
    found = [
        compare(*arms, margin=margin, minimum_seeds=3)
        for arms in (simulate(rng, seeds, examples, effect=effect, **noise) for _ in range(runs))
    ]
    assert sum(one.verdict == "holds" for one in found) <= 0.04 * runs
    if margin >= 0:
        assert sum(one.ci_high <= margin for one in found) <= 0.04 * runs
    assert sum(one.ci_low <= effect <= one.ci_high for one in found) >= 0.93 * runs
    assert {one.interval_from for one in found} == {"seeds and examples"}


@pytest.mark.parametrize("seeds, uneven", [(3, False), (5, False), (5, True), (15, False)])
def test_simulated_single_numbers(seeds, uneven):
    rng, runs = np.random.default_rng(3), 1500
    spread = rng.choice([0.2, 1.0, 3.0], (runs, seeds)) if uneven else np.ones((runs, seeds))
    differences = rng.normal(0, 1, (runs, seeds)) * spread
    found = [
        compare(dict(enumerate(row)), dict.fromkeys(range(seeds), 0.0), minimum_seeds=3)
        for row in differences
    ]
    assert sum(one.verdict == "holds" for one in found) <= 0.04 * runs
    covered = sum(one.ci_low <= 0 <= one.ci_high for one in found) / runs
    assert 0.935 <= covered <= (0.99 if uneven else 0.965)


@pytest.mark.parametrize("examples, kind", [(8, "normal"), (20, "three values"), (80, "ratio")])
def test_simulated_deterministic_arms(examples, kind):
    rng, runs, found = np.random.default_rng(5), 600, []
    for _ in range(runs):
        if kind == "ratio":
            sizes = rng.integers(50, 500, examples).astype(float)
            bits = 2.0 * sizes + rng.normal(0, 20, (2, examples))
            method, baseline = Ratio(bits[0], sizes), Ratio(bits[1], sizes)
        elif kind == "normal":
            method, baseline = rng.normal(0, 1, (2, examples))
        else:
            method, baseline = rng.integers(0, 2, (2, examples))
        arms = [dict.fromkeys(range(3), arm) for arm in (method, baseline)]
        found.append(compare(*arms, minimum_seeds=3, relative=kind == "ratio"))
    assert sum(one.verdict == "holds" for one in found) <= 0.04 * runs
    assert sum(one.ci_low <= 0 <= one.ci_high for one in found) >= 0.93 * runs
    assert {one.interval_from for one in found} == {"examples only, the same at every seed"}


def test_a_true_effect_is_found():
    rng, held = np.random.default_rng(8), 0
    for _ in range(100):
        arms = simulate(rng, 5, 60, seed_sd=0.05, shared_sd=0.2, own_sd=0.3, effect=0.5)
        held += compare(*arms, margin=0.2).verdict == "holds"
    assert held >= 95


def test_the_t_interval_is_the_textbook_one():
    method, baseline = [0.71, 0.74, 0.69, 0.75, 0.73], [0.70, 0.70, 0.68, 0.72, 0.73]
    found = compare(dict(enumerate(method)), dict(enumerate(baseline)), margin=0.05)
    wanted = stats.ttest_rel(method, baseline).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((wanted.low, wanted.high))
    found = compare(dict(enumerate(method)), dict(enumerate(baseline)), paired=False)
    wanted = stats.ttest_ind(method, baseline, equal_var=False).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high) == pytest.approx((wanted.low, wanted.high))
    assert found.interval_from == "seeds" and found.examples == 0


def test_the_bootstrap_is_an_independent_one():
    rng = np.random.default_rng(4)
    method, baseline = rng.normal(0.3, 1, 60), rng.normal(0, 1, 60)
    found = compare(*({s: arm for s in range(5)} for arm in (method, baseline)))
    wanted = stats.bootstrap(
        (method - baseline,), np.mean, confidence_level=0.955, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert found.difference == pytest.approx((method - baseline).mean())
    assert found.ci_low == pytest.approx(wanted.low, abs=0.03)
    assert found.ci_high == pytest.approx(wanted.high, abs=0.03)


def test_more_seeds_do_not_average_the_examples_away():
    rng = np.random.default_rng(6)
    change = rng.normal(0, 1, 30)
    widths = []
    for seeds in (5, 40):
        base = rng.normal(0, 1, (seeds, 30))
        method = base + change + rng.normal(0, 0.01, (seeds, 30))
        found = compare(dict(enumerate(method)), dict(enumerate(base)))
        widths.append(found.ci_high - found.ci_low)
    assert widths[1] > 0.9 * widths[0]


@settings(max_examples=25)
@given(
    st.lists(st.lists(FINITE, min_size=7, max_size=7), min_size=5, max_size=5),
    st.lists(st.lists(FINITE, min_size=7, max_size=7), min_size=5, max_size=5),
)
def test_less_is_better_is_the_mirror(left, right):
    one = compare(dict(enumerate(left)), dict(enumerate(right)), direction=1)
    other = compare(dict(enumerate(right)), dict(enumerate(left)), direction=-1)
    for name in ("difference", "ci_low", "ci_high"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6, abs=1e-6)
    assert one.method_value == other.baseline_value


def test_relative_is_a_factor_in_both_directions():
    fast, slow = {0: 1.0, 1: 2.0, 2: 1.5}, {0: 2.0, 1: 4.4, 2: 2.9}
    seconds = compare(fast, slow, direction=-1, relative=True, minimum_seeds=3, margin=0.5)
    speed = compare(
        {s: 1 / v for s, v in fast.items()}, {s: 1 / v for s, v in slow.items()}, relative=True,
        minimum_seeds=3, margin=0.5,
    )  # fmt: skip
    assert seconds.difference == pytest.approx(speed.difference)
    assert seconds.difference == pytest.approx((2.0 * 2.2 * 2.9 / 1.5) ** (1 / 3) - 1)
    assert seconds.verdict == speed.verdict == "holds"
    zero = compare({0: 0.0, 1: 1.0, 2: 1.0}, slow, relative=True, minimum_seeds=3)
    assert zero.verdict == "undecided" and "above 0" in zero.would_decide


def test_many_examples_are_grouped_without_changing_the_interval():
    rng = np.random.default_rng(1)
    change = rng.normal(0.01, 1, 30_000)
    found = compare(
        {s: change for s in range(3)}, {s: 0 * change for s in range(3)}, minimum_seeds=3
    )
    half = 1.96 * change.std() / math.sqrt(len(change))
    assert found.ci_high - found.ci_low == pytest.approx(2 * half, rel=0.08)
    assert found.difference == pytest.approx(change.mean())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_never_holds(bad):
    arms = {s: 1.0 for s in range(5)} | {4: bad}, dict.fromkeys(range(5), 0.0)
    for found in (compare(*arms), compare(*arms, exact=True), compare(*arms, relative=True)):
        assert found.verdict == "undecided" and math.isnan(found.ci_low)
        assert "finite number" in found.would_decide
    examples = {s: [9.0] * 9 + [bad] for s in range(5)}
    assert compare(examples, {s: [0.0] * 10 for s in range(5)}).verdict == "undecided"
    assert compare({}, {}).verdict == "undecided"


def test_too_little_is_undecided_and_says_what_is_missing():
    four = compare({s: 1.0 + s / 10 for s in range(4)}, dict.fromkeys(range(4), 0.0))
    assert four.verdict == "undecided" and four.would_decide == "4 of at least 5 seeds"
    assert four.ci_low > 0
    one = compare({0: [1.0] * 30}, {0: [0.0] * 30}, minimum_seeds=3)
    assert one.verdict == "undecided" and "1 of at least 3 seeds" in one.would_decide
    same = compare(dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5), 0.0))
    assert same.verdict == "undecided" and "no values per example" in same.would_decide
    few = compare({s: [1.0] * 5 for s in range(5)}, {s: [0.0] * 5 for s in range(5)})
    assert few.verdict == "undecided" and "5 of at least 6 examples" in few.would_decide
    lockstep = compare({s: s + 1.0 for s in range(5)}, {s: s + 0.0 for s in range(5)})
    assert lockstep.verdict == "undecided"


def test_equal_differences():
    def arms(value):
        return {s: [value] * 8 for s in range(5)}, {s: [0.0] * 8 for s in range(5)}

    assert compare(*arms(0.0)).verdict == "does not hold here"
    assert compare(*arms(0.0), margin=-0.1).verdict == "holds"
    found = compare(*arms(0.5), margin=0.5)
    assert (found.ci_low, found.ci_high, found.verdict) == (0.5, 0.5, "direction only")
    assert compare(*arms(0.5), margin=0.4).verdict == "holds"


def test_exact_numbers_are_their_own_interval():
    small, large = dict.fromkeys(range(3), 25.0), dict.fromkeys(range(3), 100.0)
    found = compare(
        small, large, direction=-1, relative=True, margin=2.9, exact=True, minimum_seeds=3
    )
    assert found.verdict == "holds" and found.ci_low == found.ci_high == pytest.approx(3.0)
    varies = compare(small | {2: 26.0}, large, direction=-1, exact=True, minimum_seeds=3)
    assert varies.verdict == "undecided" and "not exact" in varies.would_decide


def test_what_would_decide_is_an_estimate_that_decides():
    rng = np.random.default_rng(2)
    differences = rng.normal(0.3, 1, 400)
    zero = dict.fromkeys(range(400), 0.0)
    few = compare(dict(enumerate(differences[:8])), dict.fromkeys(range(8), 0.0), margin=0.05)
    assert few.verdict == "undecided" and few.would_decide.startswith("about ")
    assert "seeds in place of 8" in few.would_decide
    assert compare(dict(enumerate(differences)), zero, margin=0.05).verdict == "holds"
    edge = compare({s: (-1.0) ** s for s in range(6)}, dict.fromkeys(range(6), 0.0))
    assert "100 times" in edge.would_decide


def test_pairs_that_do_not_match_are_refused():
    with pytest.raises(UsageError, match="do not pair"):
        compare({0: 1.0, 1: 1.0}, {0: 1.0})
    with pytest.raises(UsageError, match="3 examples against 2"):
        compare({0: [1.0, 2.0, 3.0]}, {0: [1.0, 2.0]})
    with pytest.raises(UsageError, match="one an example"):
        compare({0: [[1.0]]}, {0: [[1.0]]})
    free = compare(
        {s: [1.0 + s, 2.0, 3.0] for s in range(5)}, {s: [0.5, 1.0] for s in range(6)}, paired=False
    )
    assert free.seeds == 5 and free.difference == pytest.approx(8 / 3 - 0.75)
