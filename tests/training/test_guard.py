"""Outliers move nothing; numbers that are none are left out, or end the training in one line."""

import copy

import pytest
import torch

from tilth.errors import LimitError
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.training.guard import StepGuard, spike_share
from tilth.training.loop import fit

OPTIONS = {"tokens": 20 * 64, "batch_tokens": 64, "micro_batch_tokens": 64, "threads": 1}


class Spiky(Causal):
    """Causal, but the loss of some calls is multiplied (2020)."""

    def __init__(self, at, factor, *, length=16):
        super().__init__(length=length)
        self.at, self.factor, self.calls = at, factor, 0

    def loss(self, model, batch):
        self.calls += 1
        made = super().loss(model, batch)
        return made._replace(total=made.total * self.factor) if self.calls in self.at else made


def test_the_rule_is_that_of_the_formula():
    guard = StepGuard(window=4, sigmas=2.0, least=3)
    assert not guard.outlier([1.0, 1.0], 100.0), "too few have been seen"
    # Mean 2, standard deviation 1 of the last four.
    last = [50.0, 1.0, 2.0, 2.0, 3.0]
    spread = (2 / 3) ** 0.5
    assert not guard.outlier(last, 2 + 1.99 * spread) and guard.outlier(last, 2 + 2.01 * spread)
    assert guard.reason(last, [1.0] * 4, 2.0, 1.1) == "gradient norm"
    assert guard.reason(last, [1.0] * 4, 99.0, 1.0) == "loss"
    assert guard.reason(last, [1.0] * 4, float("nan"), 1.0) == "no number"


@pytest.mark.parametrize("factor", [100.0, float("nan")])
def test_a_step_that_is_left_out_moves_neither_weights_nor_moments(counting, factor):
    guard = StepGuard(window=16, least=4)
    model, seen = tiny_model(), {}

    def look(point):
        seen[point.step] = copy.deepcopy(model.state_dict())

    moments = {}
    history = fit(
        model, Spiky({9}, factor), counting, guard=guard, on_step=look, moments=moments, **OPTIONS
    )
    reason = "loss" if factor == 100.0 else "no number"
    assert history.skipped == [[9, reason]] and history.to_dict()["skipped"] == [[9, reason]]
    assert moments["model.norm.weight"]["step"].item() == 19, "one move less than steps"
    if factor == 100.0:
        assert all(torch.equal(seen[8][name], seen[9][name]) for name in seen[8])
    else:
        assert 9 not in seen and len(history.points) == 19
    assert any(not torch.equal(seen[8][name], seen[10][name]) for name in seen[8])


def test_without_outliers_a_guard_changes_nothing(counting):
    plain, guarded = tiny_model(), tiny_model()
    fit(plain, Causal(length=16), counting, **OPTIONS)
    history = fit(guarded, Causal(length=16), counting, guard=StepGuard(), **OPTIONS)
    assert history.skipped == []
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), guarded.parameters()))


def test_weights_that_are_lost_end_the_training_in_one_line(counting):
    spiky = Spiky(set(range(6, 99)), float("nan"))
    with pytest.raises(LimitError, match="no number at step 6, after 320 tokens"):
        fit(tiny_model(), spiky, counting, **OPTIONS)
    spiky = Spiky(set(range(6, 99)), float("inf"))
    with pytest.raises(LimitError, match="no number at step 9,"):
        fit(tiny_model(), spiky, counting, guard=StepGuard(patience=4), **OPTIONS)


def test_the_spike_score_is_the_share_of_outliers():
    guard = StepGuard(window=8, least=4)
    losses = [1.0, 1.1, 0.9, 1.0] * 5
    losses[10] = losses[17] = 50.0
    assert spike_share(losses, [1.0] * 20, guard) == 1 / 16, "the second is one of two in a window"
    assert spike_share(losses[:4], [1.0] * 4, guard) == 0.0
