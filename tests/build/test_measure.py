"""What a build measures, on data whose answers are known."""

import numpy as np

from tilth.build.measure import curve_points, spread, token_budget
from tilth.build.plan import Plan


def test_budgets_and_points_of_the_curve():
    plan = Plan()
    step = plan.train.batch_tokens
    assert token_budget(plan, 500_000, 10**8) >= 2 * 500_000
    assert token_budget(plan, 500_000, 10**8) % step == 0
    assert token_budget(plan, 500_000, 10_000) == 4 * 10_000 // step * step + step
    assert token_budget(plan.with_settings(["train.tokens=7"]), 1, 1) == 7
    assert curve_points(1000) == {1000, 500, 250, 125, 62, 31}
    assert curve_points(1) == {1}


def test_spread_is_bounded_order_free_and_never_empty():
    class Documents:
        def __init__(self, numbers):
            self.ids = [f"id{n}" for n in numbers]
            self.text_bytes = np.array([10 + n for n in numbers])

    forward, backward = Documents(range(50)), Documents(range(49, -1, -1))
    chosen = spread(forward, 300)
    assert 200 < forward.text_bytes[chosen].sum() <= 300
    assert {forward.ids[n] for n in chosen} == {backward.ids[n] for n in spread(backward, 300)}
    assert len(spread(forward, 1)) == 1
