"""Re-initialise, positions, windows, masks: what stays is bit-equal."""

import math

import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.models.axes import layer_of
from tilth.models.surgery.promise import BrokenPromise, equal_bits
from tilth.models.surgery.run import operate
from tilth.models.surgery.sparse import (
    apply_masks,
    draw_masks,
    masked_names,
    sparse_flops,
    sparsify,
)
from tilth.testing.architectures import NAMES, checkpoint

ROTARY = ("llama", "llama-untied", "mistral", "qwen2", "qwen3", "olmo2")
WINDOWED = ("longformer", "mistral", "modernbert", "qwen2", "qwen3")


@pytest.mark.parametrize(
    "name", [*NAMES, "llama-untied", "bert-classifier", "modernbert-classifier"]
)
def test_the_top_layer_is_drawn_anew(name):
    old = checkpoint(name)
    done = operate("reinitialise", old, layers=1, seed=3).checkpoint
    again = operate("reinitialise", old, layers=1, seed=3).checkpoint
    assert done.digest == again.digest
    changed = {n for n in old.tensors if not equal_bits(old.tensors[n], done.tensors[n])}
    top = {n for n in old.tensors if layer_of(n, old.config) == 1}
    assert changed == top | {n for n in old.tensors if ".pooler." in n}
    matrix = next(n for n in top if old.tensors[n].dim() == 2)
    assert abs(float(done.tensors[matrix].std()) - 0.02) < 0.003
    assert operate("reinitialise", old, layers=0).promise.identical
    with pytest.raises(UsageError, match="3 of 2 layers"):
        operate("reinitialise", old, layers=3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["copy", "interpolate", "random"])
def test_rows_become_longer(name, method):
    old = checkpoint(name)
    extra = 2 if name in ("roberta", "longformer") else 0
    done = operate("positions", old, length=64, method=method)
    assert done.checkpoint.config.max_position_embeddings == 64 + extra
    ids = torch.full((1, 64), 7)
    with torch.inference_mode():
        assert torch.isfinite(done.checkpoint.model()(input_ids=ids).logits).all()
    learned = name != "modernbert" and name not in ROTARY
    assert done.promise.function == (method != "interpolate" or not learned)
    shorter = operate("positions", done.checkpoint, length=20)
    assert shorter.checkpoint.config.max_position_embeddings == 20 + extra


def test_positions_as_they_are_change_nothing():
    for name, length in (("gpt2", 40), ("roberta", 38), ("llama", 40)):
        assert operate("positions", checkpoint(name), length=length).promise.identical


@pytest.mark.parametrize("name", ROTARY)
def test_the_base_of_rotary_positions(name):
    old = checkpoint(name)
    done = operate("rope-base", old, base=1e6)
    assert done.kept.logit_difference > 1e-4
    assert operate("rope-base", done.checkpoint, base=1e4).checkpoint.digest == old.digest
    assert operate("rope-base", old, base=10000).promise.identical


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ROTARY])
def test_who_has_no_rotary_positions_of_one_base_is_refused_by_name(name):
    # ModernBert has one base for its global layers, another for its local ones.
    old = checkpoint(name)
    with pytest.raises(DataError, match=f"{old.architecture} has no rotary positions of one base"):
        operate("rope-base", old, base=1e6)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WINDOWED])
def test_who_has_no_windows_is_refused_by_name(name):
    old = checkpoint(name)
    with pytest.raises(DataError, match=f"a {old.architecture} has no windows"):
        operate("window", old, size=2)


def test_windows():
    for name in ("mistral", "qwen2", "qwen3", "longformer"):
        done = operate("window", checkpoint(name), size=4 if name == "longformer" else 2)
        assert done.kept.logit_difference > 1e-5, name
    for name in ("modernbert", "modernbert-plain"):
        old = checkpoint(name)
        done = operate("window", old, size=2)
        assert done.kept.logit_difference > 1e-5, name
        # As wide as the rows, a window hides nothing.
        wide = operate("window", old, size=80)
        assert wide.kept.logit_difference < (1e-9 if name == "modernbert-plain" else 1), name
    with pytest.raises(UsageError, match=r"a ModernBertForMaskedLM has even ones, at least 2"):
        operate("window", checkpoint("modernbert"), size=3)
    with pytest.raises(UsageError, match="even"):
        operate("window", checkpoint("longformer"), size=3)


@pytest.mark.parametrize("name", [*NAMES, "llama-untied"])
def test_masks_have_their_density_and_leave_the_rest(name):
    old = checkpoint(name)
    for level in (0.5, 0.75):
        masks = draw_masks(old, level=level, seed=1)
        assert set(masks) == set(masked_names(old))
        assert all(layer_of(n, old.config) is not None and m.dim() == 2 for n, m in masks.items())
        for n, mask in masks.items():
            assert abs(int(mask.sum()) - (1 - level) * mask.numel()) <= 1
            assert mask.shape == old.tensors[n].shape
    done = operate("sparsify", old, level=0.75, seed=1).checkpoint
    for n, mask in masks.items():
        zeros = done.tensors[n][~mask]
        assert equal_bits(zeros, torch.zeros_like(zeros)), "no -0.0"
        assert equal_bits(done.tensors[n][mask], old.tensors[n][mask])
    assert operate("sparsify", old, level=0.0).promise.identical


def test_masks_are_nested_repeatable_and_rescaled():
    old = checkpoint("llama")
    low, high = (draw_masks(old, level=level, seed=5) for level in (0.5, 0.75))
    assert all(bool((low[n] | ~high[n]).all()) for n in low)
    assert not torch.equal(
        *[next(iter(draw_masks(old, level=0.5, seed=s).values())) for s in (0, 1)]
    )
    plain, scaled = (sparsify(old, level=0.75, rescale=r) for r in (False, True))
    for n in masked_names(old):
        assert torch.allclose(scaled.tensors[n], 2 * plain.tensors[n])
    large = draw_masks(old, level=0.5, by="magnitude")
    for n, mask in large.items():
        size = old.tensors[n].abs()
        assert size[mask].min() >= size[~mask].max()
    with pytest.raises(UsageError, match="level 1"):
        draw_masks(old, level=1)


def test_sparse_operations_are_counted_by_hand():
    old = checkpoint("llama")
    # V d + l (0.25 * (2 d d + 2 d d/2 + 3 d f) + 2 d) + d, and 6 l d n for attention.
    d, f, v, layers, n = 32, 48, 60, 2, 16
    matrices = 2 * d * d + 2 * d * d // 2 + 3 * d * f
    weights = v * d + layers * (matrices // 4 + 2 * d) + d
    found = sparse_flops(old, draw_masks(old, level=0.75), n)
    assert found == 6 * weights + 6 * layers * d * n
    untied = checkpoint("llama-untied")
    assert sparse_flops(untied, draw_masks(untied, level=0.75), n) == found
    dense = sparse_flops(old, {}, n)
    assert math.isclose(dense - found, 6 * layers * matrices * 0.75)
    assert apply_masks(old, {}).digest == old.digest


def test_a_broken_promise_is_an_error(monkeypatch):
    from tilth.models.surgery import layers

    broken = layers.TRUNCATE._replace(
        apply=lambda c, **_: c.with_({n: t + 1 for n, t in c.tensors.items()})
    )
    monkeypatch.setattr(layers, "TRUNCATE", broken)
    with pytest.raises(BrokenPromise, match="surgery truncate: it does not hold that tensor"):
        operate("truncate", checkpoint("llama"), layers=1)
    with pytest.raises(UsageError, match="did you mean 'truncate'"):
        operate("amputate", checkpoint("llama"))
