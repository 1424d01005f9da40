import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.lookup import load
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.training import SCHEDULES
from tilth.training.loop import fit
from tilth.training.schedules import Part, constant, cosine, joined, linear, with_minimum

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
        ("inverse_sqrt", {50: 0.5, 100: 1.0, 400: 0.5, 900: 1 / 3}),
    ],
)
def test_factors_are_those_of_the_formula(name, values):
    schedule = load("schedule", SCHEDULES, name)
    for consumed, expected in values.items():
        assert math.isclose(schedule(consumed, BUDGET, WARMUP), expected, abs_tol=1e-12)


def test_an_unknown_schedule_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'cosine'"):
        load("schedule", SCHEDULES, "cosin")


def test_a_schedule_ends_at_its_minimum():
    schedule = with_minimum(cosine, 0.1)
    assert math.isclose(schedule(50, BUDGET, WARMUP), 0.5)
    assert math.isclose(schedule(550, BUDGET, WARMUP), 0.1 + 0.9 * 0.5)
    assert math.isclose(schedule(1000, BUDGET, WARMUP), 0.1)
    assert with_minimum(cosine, 0.0) is cosine


def test_schedules_are_joined_end_to_end():
    """Fall to a tenth, warm up again to half the rate, fall to 0: re-warming within a budget."""
    schedule = joined(
        [
            Part(0.5, cosine, minimum=0.1),
            Part(0.3, constant, warmup=0.1, rate=0.5),
            Part(0.2, linear),
        ]
    )
    expected = {0: 1.0, 250: 0.55, 499.999999: 0.1, 515: 0.25, 600: 0.5, 900: 0.5, 1000: 0.0}
    for consumed, value in expected.items():
        assert math.isclose(schedule(consumed, BUDGET, 0.0), value, abs_tol=1e-6)
    assert math.isclose(schedule(10, BUDGET, 20.0), 0.5 * schedule(10, BUDGET, 0.0))
    for parts in ([], [Part(0.5, cosine)], [Part(1.5, cosine), Part(-0.5, cosine)]):
        with pytest.raises(UsageError, match="add up"):
            joined(parts)


@pytest.mark.parametrize("rows", [4, 8, 16])
def test_the_rate_is_a_function_of_tokens_whatever_the_batch(counting, rows):
    history = fit(
        tiny_model(), Causal(length=16), counting, tokens=4096, batch_tokens=16 * rows,
        micro_batch_tokens=32, learning_rate=0.01, minimum=0.1, threads=1,
    )  # fmt: skip
    schedule = with_minimum(cosine, 0.1)
    for point in history.points:
        middle = point.tokens - 16 * rows / 2
        assert point.learning_rate == 0.01 * schedule(middle, 4096, 0.05 * 4096)
