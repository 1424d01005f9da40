"""Freezing, rates, decay and masks, by name; tied weights are met by both of their names."""

import math

import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule, applied, groups, layerwise, names_of

OPTIONS = {"tokens": 10 * 64, "batch_tokens": 64, "threads": 1, "learning_rate": 1e-2}


def trained(counting, *rules, **options):
    model, moments = tiny_model(), {}
    fit(
        model, Causal(length=16), counting, policy=Policy(rules), moments=moments,
        **{**OPTIONS, **options},
    )  # fmt: skip
    return model, moments


def test_frozen_tensors_keep_their_bits_and_are_not_in_the_optimiser(counting):
    before = tiny_model().state_dict()
    model, moments = trained(
        counting,
        PolicyRule("*", trainable=False),
        PolicyRule("*.mlp.*"),
        PolicyRule("*up_proj*", rate=0.0),
    )
    moved = {name for name, p in model.state_dict().items() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "mlp" in name and "up_proj" not in name}
    assert set(moments) == moved
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["lm_head.weight", "model.embed_tokens.weight"])
def test_a_tied_weight_is_met_by_both_names(counting, name):
    model = tiny_model()
    assert ("model.embed_tokens.weight", "lm_head.weight") in names_of(model).values()
    before = model.lm_head.weight.clone()
    frozen, moments = trained(counting, PolicyRule(name, trainable=False))
    assert torch.equal(frozen.lm_head.weight, before)
    assert not {"lm_head.weight", "model.embed_tokens.weight"} & set(moments)
    with applied(Policy([PolicyRule(name, decay=0.0)]), model) as found:
        assert [one.decay for one in found if one.parameter is model.lm_head.weight] == [0.0]


def test_rates_and_decay_make_groups():
    model = tiny_model()
    policy = Policy([PolicyRule("*.mlp.*", rate=0.5, decay=0.3), PolicyRule("*norm*", decay=0.2)])
    with applied(policy, model, weight_decay=0.1) as found:
        made = {(g["rate"], g["weight_decay"]): len(g["params"]) for g in groups(found)}
    layers = len(model.model.layers)
    assert made == {(1.0, 0.1): 1 + 4 * layers, (0.5, 0.3): 3 * layers, (1.0, 0.2): 1 + 2 * layers}


def test_a_rate_factor_is_a_factor(counting):
    """Without decay the first step of AdamW moves each entry by the rate, whatever the gradient."""
    options = {"weight_decay": 0.0, "warmup": 0.0, "schedule": "constant", "tokens": 64}
    before = tiny_model().state_dict()
    model, _ = trained(counting, PolicyRule("*.mlp.*", rate=0.25), minimum_steps=1, **options)
    for name, weight in model.named_parameters():
        moved = (weight - before[name]).abs().max().item()
        assert math.isclose(moved, 1e-2 * (0.25 if ".mlp." in name else 1.0), rel_tol=1e-3), name


def test_masked_entries_stay_exactly_zero(counting, tmp_path):
    model = tiny_model()
    name = "model.layers.0.mlp.up_proj.weight"
    mask = torch.rand(model.get_parameter(name).shape) > 0.7
    policy = Policy([PolicyRule(name, mask={name: mask})])
    moments = {}

    def look(point):
        assert (model.get_parameter(name)[~mask] == 0.0).all()

    history = fit(
        model, Causal(length=16), counting, policy=policy, moments=moments, on_step=look,
        checkpoint=tmp_path, **OPTIONS,
    )  # fmt: skip
    weight = model.get_parameter(name)
    assert (weight[~mask] == 0.0).all() and not torch.signbit(weight[~mask]).any()
    assert (weight[mask] != 0.0).all()
    assert (moments[name]["exp_avg"][~mask] == 0.0).all()
    dense = fit(tiny_model(), Causal(length=16), counting, **OPTIONS)
    spared = 6 * int((~mask).sum()) * history.plan["tokens"]
    assert math.isclose(dense.plan["flops"] - history.plan["flops"], spared, rel_tol=0.02)


def test_zeros_stay_and_the_gradient_of_masked_entries_is_not_clipped_for(counting):
    model = tiny_model()
    weight = model.model.layers[0].mlp.down_proj.weight
    with torch.no_grad():
        weight[:, ::2] = 0.0
    policy = Policy([PolicyRule("*.mlp.down_proj.weight", mask="zeros")])
    fit(model, Causal(length=16), counting, policy=policy, **OPTIONS)
    assert (weight[:, ::2] == 0.0).all() and (weight[:, 1::2] != 0.0).all()


def test_layerwise_rates_fall_from_the_head_down():
    model = tiny_model()
    layers = len(model.model.layers)
    policy = layerwise(model, 0.5)
    with applied(policy, model) as found:
        rates = {one.name: one.rate for one in found}
    assert rates["model.embed_tokens.weight"] == 0.5 ** (layers + 1)
    assert rates["model.norm.weight"] == 1.0
    for layer in range(layers):
        assert rates[f"model.layers.{layer}.mlp.up_proj.weight"] == 0.5 ** (layers - layer)


def test_what_cannot_be_is_refused(counting):
    with pytest.raises(UsageError, match=r"no parameter is called 'model\.norm\.wight'"):
        trained(counting, PolicyRule("model.norm.wight"))
    with pytest.raises(UsageError, match="trainable"):
        trained(counting, PolicyRule("*", trainable=False))
    with pytest.raises(DataError, match="mask is"):
        trained(counting, PolicyRule("model.norm*", mask={"model.norm.weight": torch.ones(3) > 0}))
    for rule in ({"rate": -1.0}, {"decay": -0.1}, {"mask": "holes"}):
        with pytest.raises(UsageError):
            Policy([PolicyRule("*", **rule)])
