"""Deltas: on, off bit for bit, one after the other, on disk; never on another model."""

import pytest
import torch

from tilth.errors import DamagedError, DataError
from tilth.models.delta import Delta
from tilth.models.surgery.layers import deepen, truncate
from tilth.models.surgery.positions import rope_base
from tilth.models.surgery.widen import widen
from tilth.testing.architectures import NAMES, checkpoint


def edited(base, seed=0):
    name = sorted(base.tensors)[seed]
    return base.with_({**base.tensors, name: base.tensors[name] * 1.7 + 1e-3})


@pytest.mark.parametrize("name", NAMES)
def test_on_and_off_again(name):
    base = checkpoint(name)
    for after in (
        edited(base),
        deepen(base, layers=3),
        truncate(base, layers=1),
        widen(base, width=64),
    ):
        delta = Delta.between(base, after)
        assert delta.apply(base).digest == after.digest
        assert delta.undo(delta.apply(base)).digest == base.digest
    assert len(Delta.between(base, edited(base)).new) == 1


def test_settings_alone_are_a_delta(tmp_path):
    base = checkpoint("llama")
    delta = Delta.between(base, rope_base(base, base=1e6))
    assert not delta.new and list(delta.settings) == ["rope_parameters"]
    delta.save(tmp_path)
    assert Delta.load(tmp_path).apply(base).config.rope_parameters["rope_theta"] == 1e6


def test_two_become_one():
    base = checkpoint("gpt2")
    middle = deepen(edited(base), layers=3)
    last = edited(truncate(middle, layers=2), 3)
    first, second = Delta.between(base, middle), Delta.between(middle, last)
    both = first.merge(second)
    assert both.apply(base).digest == last.digest and both.undo(last).digest == base.digest
    with pytest.raises(DataError, match="the second delta starts at"):
        second.merge(first)


def test_another_model_is_refused():
    base = checkpoint("llama")
    delta = Delta.between(base, edited(base))
    with pytest.raises(DataError, match="made for another model"):
        delta.apply(edited(base, 1))
    with pytest.raises(DataError, match="not what this model was changed by last"):
        delta.undo(base)
    with pytest.raises(DataError, match="does not become"):
        Delta.between(base, checkpoint("gpt2"))


def test_on_disk(tmp_path):
    base = checkpoint("qwen2")
    after = edited(base)
    odd = sorted(base.tensors)[1]
    after.tensors[odd] = after.tensors[odd].clone()
    after.tensors[odd].view(-1)[:2] = torch.tensor([float("nan"), -0.0])
    delta = Delta.between(base, after)
    delta.save(tmp_path)
    assert Delta.load(tmp_path).apply(base).digest == after.digest
    data = bytearray((tmp_path / "new.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "new.safetensors").write_bytes(data)
    with pytest.raises(DamagedError, match="manifest"):
        Delta.load(tmp_path)
