"""Widen, deepen, truncate: exact where they say so, for every architecture; refusals."""

import numpy as np
import pytest
import torch

from tilth.errors import UsageError
from tilth.models.axes import layer_of, shape_of
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.layers import deepen, truncate
from tilth.models.surgery.maps import duplicate, duplicate_heads
from tilth.models.surgery.promise import equal_bits, logit_difference
from tilth.models.surgery.run import operate
from tilth.models.surgery.widen import widen
from tilth.testing.architectures import MODELS, NAMES, checkpoint

GROUPED = ("llama", "llama-untied", "mistral", "qwen2", "qwen3", "olmo2")
# Their stream passes a norm after each layer; their key heads are as many as their heads.
NORMED = ("bert", "roberta", "electra", "longformer")
ALL = (*NAMES, "llama-untied")


@pytest.mark.parametrize("name", MODELS)
def test_doubling_keeps_the_function(name):
    small = checkpoint(name)
    done = operate("widen", small, width=64, seed=3)
    assert done.promise.function and done.kept.logit_difference < 1e-6
    shape = shape_of(done.checkpoint.config)
    assert (shape.residual, shape.heads, shape.ffn, shape.head_dim) == (64, 8, 96, 8)
    assert done.checkpoint.model().num_parameters() > 2 * small.model().num_parameters()


@pytest.mark.parametrize(
    "name",
    [n for n in (*ALL, "electra-wide") if n not in ("mistral", "qwen3", "olmo2", "llama-untied")],
)
def test_a_tied_head_can_become_one_of_its_own(name):
    small = checkpoint(name)
    done = operate("widen", small, width=64, head="untie")
    assert done.promise.function and not done.checkpoint.config.tie_word_embeddings
    tied = operate("widen", small, width=64).checkpoint
    assert tied.config.tie_word_embeddings and set(tied.tensors) == set(small.tensors)


@pytest.mark.parametrize("name", NAMES)
def test_inner_width_grows_by_a_random_map(name):
    done = operate("widen", checkpoint(name), ffn=71, balanced=False, seed=1)
    assert done.promise.function and done.kept.logit_difference < 1e-6


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 4), (6, 2), (6, 3)])
def test_heads_grow_with_their_keys(name, heads, kv_heads):
    # Olmo 2 norms all queries at once: only what copies each head equally often is exact.
    done = operate("widen", checkpoint(name), heads=heads, kv_heads=kv_heads, seed=2)
    assert done.promise.function == (name != "olmo2" or heads == 8)
    assert done.promise.function or done.promise.because
    assert done.checkpoint.config.head_dim == 8


def test_a_random_map_of_the_stream_is_no_promise():
    done = operate("widen", checkpoint("llama"), width=64, balanced=False, seed=0)
    assert not done.promise.function and done.kept.logit_difference > 1e-3
    assert "norms" in done.promise.because


@pytest.mark.parametrize("name", ALL)
def test_aki_takes_new_units_from_the_layer_above(name):
    small = checkpoint(name)
    done = operate("widen", small, width=64, method="AKI", seed=4)
    plain = operate("widen", small, width=64, method="FPI", seed=4).checkpoint
    assert not done.promise.function and done.kept.logit_difference > 1e-3
    last = {n for n in small.tensors if layer_of(n, small.config) != 0}
    for n, tensor in done.checkpoint.tensors.items():
        same = equal_bits(tensor, plain.tensors[n])
        matrix = tensor.dim() == 2
        assert same == (n in last or not matrix) or not matrix, n
    # The first copies are the layer's own.
    ends = ("up_proj.weight", "intermediate.dense.weight", "c_fc.weight", "mlp.Wi.weight")
    up = next(n for n in small.tensors if n.endswith(ends))
    mine, theirs = done.checkpoint.tensors[up], plain.tensors[up]
    if name == "gpt2":
        mine, theirs = mine.T, theirs.T
    assert equal_bits(mine[:48], theirs[:48])


@pytest.mark.parametrize("name", ALL)
def test_neutral_parameters_change_nothing(name):
    small = checkpoint(name)
    for made in (widen(small), deepen(small, layers=2), truncate(small, layers=2)):
        assert made.digest == small.digest
    assert operate("widen", small).promise.identical


@pytest.mark.parametrize("name", ALL)
def test_grown_models_are_saved_and_loaded(name, tmp_path):
    sizes = {"heads": 8, "kv_heads": 4} if name in GROUPED else {"width": 64}
    made = deepen(widen(checkpoint(name), **sizes), layers=3)
    made.save(tmp_path)
    again = Checkpoint.load(tmp_path)
    assert again.digest == made.digest and logit_difference(made, again) == 0


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="are fewer than the 32"):
        widen(checkpoint("llama"), width=16)
    with pytest.raises(UsageError, match="5 heads of 8 numbers are not the width 32"):
        widen(checkpoint("bert"), heads=5)
    with pytest.raises(UsageError, match="do not divide into 3"):
        widen(checkpoint("llama"), heads=8, kv_heads=3)
    with pytest.raises(UsageError, match="fewer than the 2 there are"):
        widen(checkpoint("llama"), heads=4, kv_heads=4)
    with pytest.raises(UsageError, match="method is one of"):
        widen(checkpoint("llama"), method="best")


@pytest.mark.parametrize("name", [name for name in ALL if name not in NORMED])
@pytest.mark.parametrize("layers", [3, 5])
def test_silent_layers_keep_the_function(name, layers):
    done = operate("deepen", checkpoint(name), layers=layers, method="identity")
    assert done.promise.function and done.kept.logit_difference < 1e-6
    assert done.checkpoint.config.num_hidden_layers == layers
    model = done.checkpoint.model().train()
    model(input_ids=torch.arange(20)[None]).logits.logsumexp(-1).sum().backward()
    silent = [p for p in model.parameters() if p.abs().max() == 0]
    # A silent layer learns: what is zero has a gradient that is not.
    assert silent and all(p.grad.abs().max() > 0 for p in silent)


@pytest.mark.parametrize("name", NAMES)
def test_stacks_and_cuts(name):
    small = checkpoint(name)
    deep = operate("deepen", small, layers=5).checkpoint
    # A ModernBert begins with its own first layer.
    first = [0] if name == "modernbert" else []
    for new, old in enumerate([0, 1, 0, 1, 1]):
        one, other = truncate(deep, layers=[*first, new]), truncate(small, layers=[*first, old])
        assert logit_difference(one, other) == 0
    assert operate("truncate", deep, layers=2).checkpoint.digest == small.digest
    spread = operate("deepen", small, layers=4, method="interleave").checkpoint
    assert truncate(spread, layers=[0, 2]).digest == small.digest
    assert truncate(spread, layers=2, keep="spread").digest == small.digest


def test_the_first_layer_of_a_modernbert_has_no_norm_and_stays_the_first():
    small = checkpoint("modernbert")
    deep = operate("deepen", small, layers=4, method="interleave").checkpoint
    kinds = ["full_attention", "full_attention", "sliding_attention", "sliding_attention"]
    assert deep.config.layer_types == kinds
    given = small.tensors["model.embeddings.norm.weight"]
    assert equal_bits(deep.tensors["model.layers.1.attn_norm.weight"], given)
    assert "model.layers.0.attn_norm.weight" not in deep.tensors
    for layers in ([1], [1, 0]):
        with pytest.raises(UsageError, match="cannot be the first of a ModernBertForMaskedLM"):
            truncate(small, layers=layers)
    with pytest.raises(UsageError, match="layers that begin with 0"):
        truncate(small, layers=1, keep="top")
    base = truncate(checkpoint("modernbert-base"), layers=[0, 0])
    assert equal_bits(
        base.tensors["layers.1.attn_norm.weight"], base.tensors["embeddings.norm.weight"]
    )


@pytest.mark.parametrize("name", NORMED)
def test_a_normed_stream_has_no_silent_layers(name):
    small = checkpoint(name)
    with pytest.raises(UsageError, match=f"{small.architecture} norms its stream after each layer"):
        deepen(small, layers=3, method="identity")


@pytest.mark.parametrize("name", [name for name in ALL if name not in GROUPED])
def test_heads_of_the_width_s_own_are_refused_by_name(name):
    small = checkpoint(name)
    with pytest.raises(UsageError, match=f"that a {small.architecture} needs"):
        widen(small, heads=8)


def test_what_cannot_be_deepened_says_so():
    with pytest.raises(UsageError, match="fewer than the 2"):
        deepen(checkpoint("gpt2"), layers=1)
    with pytest.raises(UsageError, match="known: stack"):
        deepen(checkpoint("gpt2"), layers=3, method="pile")
    with pytest.raises(UsageError, match="not among the 2"):
        truncate(checkpoint("gpt2"), layers=[2])


def test_maps():
    rng = np.random.Generator(np.random.PCG64(0))
    even = duplicate(4, 12, rng)
    assert even.uniform and list(even.source[:4]) == [0, 1, 2, 3] and even.fresh.sum() == 8
    assert np.allclose(even.shares, 1 / 3)
    near = duplicate(4, 7, rng)
    assert sorted(np.bincount(near.source)) == [1, 2, 2, 2] and not near.uniform
    heads, groups = duplicate_heads(4, 2, 9, 3, rng)
    for row, group in zip(heads.source.reshape(3, 3), groups.source):
        assert set(row) <= {2 * group, 2 * group + 1}
    assert set(heads.source) == {0, 1, 2, 3}
    joint = heads.each(2)
    assert list(joint.source[:2]) == [0, 1] and len(joint.source) == 18
