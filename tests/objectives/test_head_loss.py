"""The loss with its head equals the loss of the logits, and so do its gradients."""

import pytest
import torch

from tilth.models.packed import forward
from tilth.objectives import head_loss as module
from tilth.objectives.causal import cross_entropy_sum
from tilth.objectives.head_loss import has_plain_head, head_loss
from tilth.testing.objectives import tiny_model


def gradients(model, total):
    model.zero_grad(set_to_none=True)
    (0.5 * total).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("held", [1, 1 << 20])
@pytest.mark.parametrize("frozen", [False, True])
def test_loss_and_gradients_are_those_of_the_logits(monkeypatch, held, frozen):
    monkeypatch.setattr(module, "HELD_ON_PROCESSOR", held)
    model = tiny_model(seed=1).train()
    model.get_output_embeddings().weight.requires_grad_(not frozen)
    vocabulary = model.config.vocab_size
    ids = torch.randint(1, vocabulary, (3, 24), generator=torch.Generator().manual_seed(0))
    segments = torch.arange(24)[None].repeat(3, 1) // 9
    targets = ids.roll(-1, 1)
    assert has_plain_head(model)
    plain = cross_entropy_sum(forward(model, ids, segments), targets)
    expected = gradients(model, plain)
    made = head_loss(model, ids, segments, targets)
    torch.testing.assert_close(made, plain, rtol=1e-5, atol=1e-4)
    found = gradients(model, made)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)


def test_logits_are_asked_for_where_the_head_is_not_plain():
    model = tiny_model(seed=1).train()
    with torch.no_grad():
        assert not has_plain_head(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not has_plain_head(model)
    hook = model.get_output_embeddings().register_forward_hook(lambda *_: None)
    assert not has_plain_head(model)
    hook.remove()
    assert has_plain_head(model)
    model.set_output_embeddings(torch.nn.Linear(model.config.hidden_size, 50))
    assert not has_plain_head(model)
