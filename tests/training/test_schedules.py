import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.lookup import load
from tilth.training import SCHEDULES

BUDGET, WARMUP = 1000.0, 100.0


@pytest.mark.parametrize("name", SCHEDULES)
@given(consumed=st.floats(0, 2000), warmup=st.floats(0, 1500))
def test_factors_lie_from_0_to_1_and_rise_in_the_warmup(name, consumed, warmup):
    schedule = load("schedule", SCHEDULES, name)
    assert 0.0 <= schedule(consumed, BUDGET, warmup) <= 1.0
    if consumed < min(warmup, 0.8 * BUDGET):
        assert math.isclose(schedule(consumed, BUDGET, warmup), consumed / warmup)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("constant", {100: 1.0, 550: 1.0, 1000: 1.0}),
        ("linear", {50: 0.5, 100: 1.0, 550: 0.5, 1000: 0.0}),
        ("cosine", {50: 0.5, 100: 1.0, 550: 0.5, 325: (1 + math.sqrt(0.5)) / 2, 1000: 0.0}),
        ("wsd", {50: 0.5, 100: 1.0, 800: 1.0, 850: 0.5, 1000: 0.0}),
    ],
)
def test_factors_are_those_of_the_formula(name, values):
    schedule = load("schedule", SCHEDULES, name)
    for consumed, expected in values.items():
        assert math.isclose(schedule(consumed, BUDGET, WARMUP), expected, abs_tol=1e-12)


def test_an_unknown_schedule_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        load("schedule", SCHEDULES, "cosin")
