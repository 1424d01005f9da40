"""LSTM and quasi-LSTM: the block scan against the loop, carried state, folders, generation."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tilth.errors import DamagedError, UsageError
from tilth.models.decoder import count_parameters
from tilth.models.folder import load_model, save_model
from tilth.models.quasi_lstm import scan, scan_sequentially
from tilth.models.recurrent import MIXERS, build, parameters_of
from tilth.objectives.causal import Causal
from tilth.testing.objectives import check_objective


def recurrence(time, seed=0, rows=2, width=5):
    chance = torch.Generator().manual_seed(seed)
    forget = torch.sigmoid(4 * torch.randn(rows, time, width, generator=chance) + 1)
    update = torch.randn(rows, time, width, generator=chance)
    return forget, update, torch.randn(rows, width, generator=chance)


@given(st.integers(1, 70), st.integers(0, 90), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_block_scan_is_the_loop(time, block, seed):
    given_ = [tensor.requires_grad_() for tensor in recurrence(time, seed)]
    expected, found = scan_sequentially(*given_), scan(*given_, block)
    assert torch.allclose(found, expected, atol=1e-4)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
    theirs = torch.autograd.grad((expected * weights).sum(), given_)
    ours = torch.autograd.grad((found * weights).sum(), given_)
    assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(ours, theirs))


@pytest.mark.parametrize("block", [1, 8, 64, 256])
def test_a_gate_that_forgets_all_and_one_that_forgets_nothing(block):
    _, update, before = recurrence(256)
    closed = scan(torch.zeros_like(update), update, before, block)
    assert torch.equal(closed, update)
    opened = scan(torch.ones_like(update), update, before, block)
    assert torch.allclose(opened, before.unsqueeze(1) + update.cumsum(1), atol=1e-4)


def test_the_scan_is_float32_under_autocast():
    forget, update, before = recurrence(40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scan(forget, update, before, 8)
    assert found.dtype == torch.float32
    assert torch.allclose(found, scan_sequentially(forget, update, before), atol=1e-4)


def test_a_negative_block_is_refused():
    with pytest.raises(UsageError, match="block"):
        scan(*recurrence(4), -1)


@pytest.mark.parametrize("mixer", MIXERS)
def test_state_carried_over_equals_one_long_sequence(mixer):
    model = build(mixer, "40k", vocabulary=300)
    ids = torch.randint(1, 300, (2, 41), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(ids).logits
        state, parts = None, []
        for piece in ids.split([1, 7, 20, 13], 1):
            answer = model(piece, past_key_values=state, use_cache=True)
            state = answer.past_key_values
            parts.append(answer.logits)
        padded = model(torch.cat([ids, torch.zeros_like(ids)], 1)).logits
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5) and state.tokens == 41
    assert torch.allclose(padded[:, :41], whole, atol=1e-6), "what comes later must not be seen"


@pytest.mark.parametrize("mixer", MIXERS)
def test_generation_carries_the_state(mixer):
    model = build(mixer, "40k", vocabulary=300, seed=2)
    prompt = torch.tensor([[5, 6, 7]])
    mask = torch.ones_like(prompt)
    found = model.generate(prompt, attention_mask=mask, max_new_tokens=6, do_sample=False,
                           eos_token_id=299)  # fmt: skip
    grown = prompt
    for _ in range(6):
        grown = torch.cat([grown, model(grown).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(found, grown)
    with pytest.raises(ValueError, match="padded at their end only"):
        model(prompt, attention_mask=torch.tensor([[0, 1, 1]]))


@pytest.mark.parametrize("mixer", MIXERS)
def test_sizes_are_those_asked_for_and_seeds_say_the_weights(mixer):
    model = build(mixer, "500k", vocabulary=1024)
    config = model.config
    made = parameters_of(mixer, config.hidden_size, config.num_hidden_layers, 1024)
    assert count_parameters(model) == made and abs(made / 500_000 - 1) < 0.25
    same, other = (build(mixer, "500k", vocabulary=1024, seed=seed) for seed in (0, 1))
    name = "model.layers.0.project.weight"
    assert torch.equal(model.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(model.state_dict()[name], other.state_dict()[name])
    with pytest.raises(UsageError, match="nearest has"):
        build(mixer, "2k", vocabulary=1024)


def test_an_unknown_mixer_is_refused(tmp_path):
    with pytest.raises(UsageError, match="quasi_lstm"):
        build("quasi_lstn", vocabulary=300)
    save_model(build("lstm", "40k", vocabulary=300), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, "mixer": "gru"}))
    with pytest.raises(DamagedError, match="gru"):
        load_model(tmp_path)


@pytest.mark.parametrize("mixer", MIXERS)
def test_a_saved_folder_loads_with_equal_logits(mixer, tmp_path):
    model = build(mixer, "40k", vocabulary=300, seed=3)
    save_model(model, tmp_path)
    found = load_model(tmp_path)
    ids = torch.tensor([[4, 9, 2, 7]])
    assert torch.equal(found(ids).logits, model(ids).logits)
    assert found.lm_head.weight is found.model.embed_tokens.weight
    assert not any(path.suffix == ".py" for path in tmp_path.iterdir())


def test_transformers_is_told_at_first_need(tmp_path, monkeypatch):
    save_model(build("quasi_lstm", "40k", vocabulary=300), tmp_path)
    monkeypatch.delitem(CONFIG_MAPPING._extra_content, "tilth-recurrent")
    assert load_model(tmp_path).config.mixer == "quasi_lstm"


@pytest.mark.parametrize("mixer", MIXERS)
def test_it_is_trained_like_any_model(mixer):
    check_objective(Causal(length=16), model=build(mixer, "40k", vocabulary=300))
