"""Freezing the lower layers: names, order, what really stays."""

import copy

import pytest
import torch

from tilth.errors import UsageError
from tilth.models.heads import with_head
from tilth.training.fine_tuning import block_of, freeze_lower
from tilth.training.policy import applied
from tilth.zoo import tiny


@pytest.mark.parametrize("base", ["masked", "electra", "causal"])
def test_what_lies_below_is_not_in_the_optimiser(base):
    model = with_head(tiny(base)[0], "classify", ("a", "b"), pad=1)
    names = [name for name, _ in model.named_parameters()]
    for layers in range(3):
        with applied(freeze_lower(model, layers), model) as trained:
            moving = {one.name for one in trained}
        for name in names:
            block = block_of(name)
            embedding = "embed" in name
            below = layers > 0 and (embedding if block is None else block < layers)
            assert (name not in moving) == below, name
    assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(UsageError, match="3 of 2 layers"):
        freeze_lower(model, 3)


def test_no_layers_changes_nothing():
    model = copy.deepcopy(tiny("masked")[0])
    assert list(freeze_lower(model, 0).rules) == []
    with pytest.raises(UsageError, match="1 of 0 layers"):
        freeze_lower(torch.nn.Linear(2, 2), 1)
