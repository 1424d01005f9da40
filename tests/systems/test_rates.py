"""Rates of arms: the best of a few, measured once, on texts that are set aside."""

import pytest

from tilth.errors import UsageError
from tilth.systems._continued_texts import smoke
from tilth.systems._rates import Chosen, parse_rates, set_aside


def test_rates_are_numbers_above_0():
    assert parse_rates("0.004,1e-3,0.004") == (0.001, 0.004)
    for wrong in ("", "fast", "0", "-1,2"):
        with pytest.raises(UsageError, match="no learning rates"):
            parse_rates(wrong)


def test_the_lowest_is_taken_and_measured_once():
    asked = []

    def measure(rate):
        asked.append(rate)
        return (rate - 2) ** 2

    chosen = Chosen()
    assert [chosen.rate("arm", (1.0, 2.0, 4.0), measure) for _ in range(3)] == [2.0] * 3
    assert asked == [1.0, 2.0, 4.0]
    assert chosen.rate("arm", (7.0,), measure) == 7.0 and len(asked) == 3
    assert chosen.rate("other", (1.0, 4.0), measure) == 1.0 and len(asked) == 5


def test_what_is_set_aside_is_neither_trained_on_nor_tested():
    _, _, side = smoke()
    kept, tuning = set_aside(side, 2000)
    apart = set(tuning.test.ids)
    assert apart and apart | set(kept.train.ids) == set(side.train.ids)
    assert not apart & set(kept.train.ids) and tuning.train is kept.train
    assert kept.test is side.test and kept.glance is side.glance
    assert tuning.glance.ids == tuning.test.ids
