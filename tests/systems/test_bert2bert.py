"""Measures and baselines of bert2bert by hand."""

from dataclasses import dataclass

import pytest
import torch

from tilth.models.surgery.widen import widen
from tilth.systems._growth_arms import (
    Inputs,
    _new,
    corner,
    prepared,
    reach,
    stacked,
    with_scratch,
)
from tilth.testing.architectures import checkpoint


def test_where_a_course_reaches_a_goal():
    course = [(0.0, 4.0), (0.5, 3.0), (1.0, 2.0)]
    assert reach(course, 3.5) == pytest.approx(0.25)
    assert reach(course, 2.0) == 1.0 and reach(course, 1.0) == 1.0
    assert reach(course, 5.0) == 0.0
    # A course that rises again has reached the goal where it first did.
    assert reach([(0.0, 4.0), (0.5, 2.0), (1.0, 3.0)], 3.0) == pytest.approx(0.25)


@dataclass
class Given:
    small: object
    shallow: object
    width: int


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_baselines_have_the_shape_of_the_target(name):
    small = checkpoint(name)
    from tilth.models.surgery.layers import from_layers

    wide = widen(small, width=64)
    given = Given(small, _new(from_layers(wide, [0]), 1), 64)
    sizes = {n: t.shape for n, t in wide.tensors.items()}
    for made in (corner(given, 0), stacked(given, 0)):
        assert {n: t.shape for n, t in made.tensors.items()} == sizes
        made.model()
    copied = corner(given, 0).tensors
    first = next(n for n in copied if n.endswith(("q_proj.weight", "c_attn.weight")))
    if name == "llama":
        assert torch.equal(copied[first][:32, :32], small.tensors[first])
    else:
        for block in range(3):
            part = copied[first][:32, 64 * block : 64 * block + 32]
            assert torch.equal(part, small.tensors[first][:, 32 * block : 32 * block + 32])


def test_all_arms_train_at_the_rate_that_suits_scratch():
    small, _, text, tuning, chosen, *_ = prepared(
        "smoke", None, None, width=64, layers=1, small_tokens=2560, vocabulary=300, length=32,
        batch=256, rate=5e-3,
    )  # fmt: skip
    inputs = Inputs(small, small, text, 2 * small.config.hidden_size, 2560, 32, 256)
    made = with_scratch(inputs, tuning, chosen, (1e-6, 5e-3), 0)
    # Hardly anything is learned at the lower rate.
    assert made.rate == 5e-3 and len(made.scratch) > 2
    assert with_scratch(inputs, tuning, chosen, (1e-6,), 0).rate == 1e-6
    assert not set(tuning.test.ids) & set(text.train.ids)
