"""Families of decoders: the blocks that the papers say, exactly those of transformers."""

import pytest
import torch

from tilth.errors import UsageError
from tilth.models.families import FAMILIES, build_family

SHAPE = {"width": 64, "layers": 2, "vocabulary": 100, "context": 32}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_id_learns_and_seeds_count(family):
    model = build_family(family, **SHAPE)
    ids = torch.arange(100).view(5, 20)
    model(input_ids=ids).logits.logsumexp(-1).sum().backward()
    assert (model.model.embed_tokens.weight.grad.abs().sum(dim=1) > 0).all()
    again, other = build_family(family, **SHAPE), build_family(family, seed=1, **SHAPE)
    weights = [made.lm_head.weight for made in (model, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    tied = build_family(family, tied=True, **SHAPE)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight


def test_the_blocks_are_those_of_the_papers():
    names = {
        family: {name for name, _ in build_family(family, key_heads=1, **SHAPE).named_parameters()}
        for family in FAMILIES
    }
    layer = "model.layers.0."
    assert {layer + f"self_attn.{n}_proj.bias" for n in "qkv"} <= names["qwen2"]
    assert not any(
        "o_proj.bias" in name or ("mlp" in name and "bias" in name) for name in names["qwen2"]
    )
    assert {layer + "self_attn.q_norm.weight", layer + "post_feedforward_layernorm.weight"} <= (
        names["olmo2"]
    )
    assert layer + "input_layernorm.weight" in names["llama"] - names["olmo2"]
    model = build_family("olmo2", **SHAPE)
    assert model.model.layers[0].self_attn.q_norm.weight.shape == (64,), "over the whole width"
    keys = build_family("qwen2", key_heads=1, **SHAPE).model.layers[0].self_attn.k_proj
    assert keys.weight.shape == (32, 64)
    assert build_family("olmo2", rope_base=5e5, **SHAPE).config.rope_parameters["rope_theta"] == 5e5


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="did you mean 'olmo2'"):
        build_family("olmo", **SHAPE)
    with pytest.raises(UsageError, match="multiple"):
        build_family("llama", **{**SHAPE, "width": 50})
