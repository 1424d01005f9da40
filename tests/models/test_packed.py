"""Packed rows give each segment the logits and the gradients that it gets alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tilth.errors import UsageError
from tilth.models.packed import forward, packs, row_segments

VOCABULARY, WIDTH = 120, 32
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 66,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
ENCODER = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
CAUSAL, MASKED = "AutoModelForCausalLM", "AutoModelForMaskedLM"
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": (MASKED, ENCODER),
    "roberta": (MASKED, ENCODER),
    "electra": (MASKED, {**ENCODER, "embedding_size": 16}),
    "modernbert": (MASKED, {"global_attn_every_n_layers": 1}),
    # Layers 1 and 2 see two neighbours on each side, layers 0 and 3 the whole segment.
    "modernbert, local": (MASKED, {"num_hidden_layers": 4, "local_attention": 4}),
    "gpt2": (CAUSAL, {"n_inner": 48, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}),
    "llama": (CAUSAL, {"num_key_value_heads": 2}),
    "mistral": (CAUSAL, {"num_key_value_heads": 2, "sliding_window": 5}),
    "qwen2": (CAUSAL, {"num_key_value_heads": 2}),
    "qwen3": (CAUSAL, {"num_key_value_heads": 2, "head_dim": 8}),
    "olmo2": (CAUSAL, {"num_key_value_heads": 2}),
    "longformer": (MASKED, {**ENCODER, "attention_window": 4}),
}


def made(name: str, seed: int = 0, **more: Any) -> Any:
    import transformers

    head, options = MODELS[name]
    config = transformers.AutoConfig.for_model(name.split(",")[0], **{**SMALL, **options, **more})
    torch.manual_seed(seed)
    model = getattr(transformers, head).from_config(config)
    # Larger weights: a leak between segments must not drown in rounding.
    for parameter in model.parameters():
        parameter.data.mul_(3.0)
    return model.eval()


def rows(lengths: list[list[int]], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of random ids (none the padding id) and their segments, padded with -1."""
    longest = max(sum(row) for row in lengths)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (len(lengths), longest), generator=generator)
    segments = torch.full((len(lengths), longest), -1)
    for number, row in enumerate(lengths):
        numbers = np.repeat(np.arange(len(row)), row)
        segments[number, : len(numbers)] = torch.from_numpy(numbers)
    return ids, segments


def alone(model: Any, ids: torch.Tensor, segments: torch.Tensor) -> list[tuple[Any, torch.Tensor]]:
    """(place of the segment, its logits from the plain model, which pads nothing)."""
    found = []
    for row in range(len(ids)):
        for number in range(int(segments[row].max()) + 1):
            place = segments[row] == number
            found.append(((row, place), model(input_ids=ids[row, place][None]).logits[0]))
    return found


def gradients(model: Any, total: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    total.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", MODELS)
def test_each_segment_has_the_logits_and_gradients_that_it_gets_alone(name):
    model = made(name)
    assert packs(model) == (name != "longformer")
    ids, segments = rows([[7, 1, 12, 4], [24], [12, 3], [9, 7, 8]])
    packed = forward(model, ids, segments)
    assert packed.shape == (4, 24, VOCABULARY)
    weights = torch.randn(packed.shape, generator=torch.Generator().manual_seed(5))
    expected, total = alone(model, ids, segments), 0.0
    for (row, place), logits in expected:
        torch.testing.assert_close(packed[row, place], logits, atol=1e-5, rtol=1e-5)
        total = total + (logits * weights[row, place]).sum()
    theirs = gradients(model, total)
    ours = gradients(model, (packed * weights * (segments >= 0)[..., None]).sum())
    assert set(ours) >= {key for key, value in theirs.items() if value.abs().max() > 0}
    largest = max(float(value.abs().max()) for value in theirs.values())
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key] / largest, value / largest, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["bert", "modernbert, local", "mistral", "longformer"])
def test_hidden_states_and_chosen_positions(name):
    model = made(name)
    ids, segments = rows([[7, 4], [3, 5, 2]])
    logits = forward(model, ids, segments)
    hidden = forward(model, ids, segments, hidden=True)
    assert hidden.shape == (2, 11, WIDTH)
    at = (segments >= 0) & (ids % 3 == 0)
    torch.testing.assert_close(forward(model, ids, segments, at=at), logits[at], atol=1e-5, rtol=0)
    chosen = forward(model, ids, segments, hidden=True, at=at)
    torch.testing.assert_close(chosen, hidden[at], atol=1e-5, rtol=0)
    states = []
    both = forward(model, ids, segments, at=at, states=states)
    torch.testing.assert_close(both, logits[at], atol=1e-5, rtol=0)
    torch.testing.assert_close(states[0], hidden, atol=1e-5, rtol=0)
    base = forward(model.base_model, ids, segments, hidden=True)
    torch.testing.assert_close(base, hidden, atol=1e-5, rtol=0)


def test_rows_without_segments_and_the_plain_model_afterwards():
    model = made("llama")
    ids, _ = rows([[9], [9]])
    before = model(input_ids=ids).logits
    torch.testing.assert_close(forward(model, ids), before, atol=1e-5, rtol=1e-5)
    assert torch.equal(model(input_ids=ids).logits, before)
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["llama", "modernbert, local"])
def test_activations_that_are_recomputed_do_not_leak_between_segments(name):
    model = made(name).train()
    ids, segments = rows([[7, 4], [3, 8]])
    real = (segments >= 0)[..., None]
    plain = gradients(model, (forward(model, ids, segments) * real).square().sum())
    model.activation_checkpointing_enable()
    assert not packs(model)
    again = gradients(model, (forward(model, ids, segments) * real).square().sum())
    largest = max(float(value.abs().max()) for value in plain.values())
    for key, value in plain.items():
        torch.testing.assert_close(again[key] / largest, value / largest, atol=1e-5, rtol=1e-5)


def test_token_types_go_along():
    model = made("bert")
    ids, segments = rows([[6, 5]])
    types = torch.arange(11)[None] % 2
    packed = forward(model, ids, segments, token_types=types)[0, 6:]
    expected = model(input_ids=ids[:, 6:], token_type_ids=types[:, 6:]).logits[0]
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["electra", "modernbert", "llama"])
@pytest.mark.parametrize("window", [0, 2, 40])
def test_a_window_sees_what_a_band_in_the_mask_lets_it_see(name, window):
    model = made(name)
    ids, segments = rows([[60], [37, 20, 3]])
    packed = forward(model, ids, segments, window=window)
    far = torch.arange(60)[:, None] - torch.arange(60)
    near = (far >= 0) & (far <= window) if name == "llama" else far.abs() <= window
    expected = model(input_ids=ids[:1], attention_mask=near[None, None]).logits[0]
    torch.testing.assert_close(packed[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [1, 3])
def test_the_narrower_of_two_windows_counts(window):
    model = made("modernbert, local")
    ids, segments = rows([[40]])
    far = (torch.arange(40)[:, None] - torch.arange(40)).abs()
    masks = {
        "full_attention": (far <= window)[None, None],
        "sliding_attention": (far <= min(window, 2))[None, None],
    }
    expected = model(input_ids=ids, attention_mask=masks).logits
    packed = forward(model, ids, segments, window=window)
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=1e-5)


def test_rows_of_joined_documents():
    ids = np.array([[0, 5, 6, 0, 7], [8, 0, 0, 9, 1]])
    expected = [[0, 0, 0, 1, 1], [0, 1, 2, 2, 2]]
    assert row_segments(ids, 0).tolist() == expected
    assert row_segments(torch.from_numpy(ids), 0).tolist() == expected


@pytest.mark.parametrize("segments", [[[0, 1, 0]], [[1, 0, 0]], [[-1, -1, -1]]])
def test_segments_that_are_none_are_refused(segments):
    with pytest.raises(UsageError):
        forward(made("llama"), torch.ones(1, 3, dtype=torch.int64), torch.tensor(segments))


def test_segments_longer_than_the_context_are_refused():
    # RoBERTa's positions begin at the padding id + 1, so it has two fewer.
    ids, segments = rows([[65]])
    with pytest.raises(UsageError, match="context is 64"):
        forward(made("roberta"), ids, segments)
    forward(made("bert"), ids, segments)
