"""Averages along a training: the mean of its checkpoints, the moving one, what is refused."""

import copy

import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.training.averages import MovingAverage, average_checkpoints, together
from tilth.training.loop import fit

OPTIONS = {"tokens": 10 * 64, "batch_tokens": 64, "threads": 1}


def test_averages_are_those_of_the_weights_on_the_way(counting, tmp_path):
    model, seen = tiny_model(), []
    average = MovingAverage(model, decay=0.5)

    def look(point):
        seen.append(copy.deepcopy(model.state_dict()))

    fit(
        model, Causal(length=16), counting, checkpoint=tmp_path, checkpoint_every=2,
        checkpoint_keep=3, on_step=together(look, average), **OPTIONS,
    )  # fmt: skip
    assert average_checkpoints(tmp_path, model, last=3) == 3
    for name, weight in model.state_dict().items():
        expected = sum(seen[step - 1][name].double() for step in (6, 8, 10)) / 3
        assert torch.allclose(weight.double(), expected, atol=1e-7), name
    assert model.lm_head.weight is model.model.embed_tokens.weight
    average.put()
    shares = [0.5 ** (10 - step) for step in range(10)]
    name = "model.norm.weight"
    expected = sum(s * one[name].double() for s, one in zip(shares, seen)) / sum(shares)
    assert torch.allclose(model.state_dict()[name].double(), expected, atol=1e-7)


def test_what_cannot_be_averaged_is_refused(tmp_path):
    with pytest.raises(DataError, match="no checkpoint"):
        average_checkpoints(tmp_path, tiny_model())
    with pytest.raises(UsageError):
        MovingAverage(tiny_model(), decay=1.0)
    with pytest.raises(UsageError, match="no step"):
        MovingAverage(tiny_model()).put()
