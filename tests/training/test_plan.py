"""What is said before a training: operations, minutes, precision. And steps without targets."""

import copy
import math

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from tilth.errors import UsageError
from tilth.models.decoder import count_parameters
from tilth.models.encoders import build_shape
from tilth.models.retro import build as build_retro
from tilth.objectives.batch import Loss
from tilth.objectives.causal import Causal
from tilth.objectives.retrieved import Retrieved
from tilth.testing.objectives import tiny_model
from tilth.training import precision
from tilth.training.flops import flops_by_module, flops_per_token
from tilth.training.loop import fit
from tilth.training.order import RowOrder
from tilth.training.plan import context_of, estimate, sentence
from tilth.training.policy import Policy, PolicyRule

BUDGET = {"tokens": 20 * 64, "batch_tokens": 64}


def test_operations_are_those_of_the_matrices():
    model = tiny_model()
    width, layers, length = 32, len(model.model.layers), 24
    matrices = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    # The head is tied to the embedding: the matrix counts once, for the head.
    assert flops_per_token(model, length, training=False) == 2 * matrices + layers * (
        2 * width * length
    )
    assert flops_per_token(model, length) == 3 * flops_per_token(model, length, training=False)
    found = flops_by_module(model, length)
    assert found["lm_head"] == 6 * 300 * width and "model.embed_tokens" not in found
    model.model.layers[0].requires_grad_(False)
    spared = found["model.layers.0.mlp.up_proj"] / 3
    assert flops_by_module(model, length)["model.layers.0.mlp.up_proj"] == 2 * spared
    live = {"model.layers.0.mlp.up_proj.weight": 0.25}
    assert flops_by_module(model, length, live=live)["model.layers.0.mlp.up_proj"] == spared / 2


def test_operations_of_other_architectures():
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=64))
    block = 12 * 32 * 32
    assert flops_per_token(gpt, 10, training=False) == 2 * (2 * block + 50 * 32) + 2 * 2 * 32 * 10
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64,
        )
    )  # fmt: skip
    block = 4 * 32 * 32 + 2 * 32 * 64
    head = 32 * 32 + 50 * 32
    assert flops_per_token(bert, 10, training=False) == 2 * (2 * block + head) + 2 * 4 * 32 * 10


def test_operations_of_retrieval_are_those_of_each_token_of_a_neighbour():
    model = build_retro("60k", vocabulary=300, context=64, chunk=8, encoder_layers=2)
    width, chunk, text, near = model.config.hidden_size, 8, 16, 2 * 16
    objective = Retrieved(length=text, chunk=chunk, most=2, tokens=2 * chunk)
    square, layers = width * width, len(model.config.retrieval_layers)
    # A chunk's neighbours: four matrices of attention to themselves, queries and output of that to
    # the chunk, the inner layers of 4 times the width; keys and values of the chunk once.
    encoder = near * (6 + 8) * square + chunk * 2 * square
    # Each of two neighbours' tokens sees 16 of its own and the 8 of the chunk.
    encoder += near * 2 * width * (16 + chunk)
    cross = near * 2 * square + chunk * 2 * square + chunk * 2 * width * near
    by_hand = 2 * (2 * encoder + layers * cross) / chunk
    decoder = flops_per_token(model.decoder, text, training=False)
    found = flops_per_token(model, text, objective=objective, training=False)
    assert found == decoder + by_hand
    # Without neighbours the decoder works alone.
    assert flops_per_token(model, text, objective=Causal(length=text), training=False) == decoder


def test_operations_of_local_layers_are_those_of_the_keys_they_see():
    every = build_shape(32, 3, vocabulary=50, context=64, kind="modernbert")
    config = copy.deepcopy(every.config)
    config.local_attention = 8
    config.layer_types = ["full_attention", "sliding_attention", "sliding_attention"]
    local = type(every)(config)
    found = [flops_by_module(model, 40, training=False)["attention"] for model in (every, local)]
    assert found == [3 * 4 * 32 * 40, 4 * 32 * 40 + 2 * 4 * 32 * 9]
    assert flops_by_module(local, 5, training=False)["attention"] == 3 * 4 * 32 * 5
    seen = flops_by_module(local, 40, training=False, window=6)["attention"]
    assert seen == 4 * 32 * 13 + 2 * 4 * 32 * 9


def test_the_estimate_runs_a_little_and_changes_nothing(counting):
    model = tiny_model()
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    policy = Policy([PolicyRule("*norm*", trainable=False)])
    made = estimate(model, Causal(length=16), counting, precision="auto", policy=policy, **BUDGET)
    assert made["precision"] in ("float32", "bfloat16") and made["minutes"] >= 0
    assert made["tokens_per_second"] > 0 and made["steps"] == 20
    norms = sum(p.numel() for name, p in model.named_parameters() if "norm" in name)
    assert made["trainable_parameters"] == count_parameters(model) - norms
    assert "tokens/s" in sentence(made) and "20 steps" in sentence(made)
    assert torch.equal(state, torch.get_rng_state()) and not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_precision_is_measured_and_bfloat16_is_near(counting):
    losses = {}
    for name in ("float32", "bfloat16", "auto"):
        history = fit(
            tiny_model(), Causal(length=16), counting, precision=name, threads=1, **BUDGET
        )
        losses[name] = history.loss
    assert history.plan["precision"] in ("float32", "bfloat16")
    assert losses["auto"] == losses[history.plan["precision"]]
    assert losses["bfloat16"] != losses["float32"]
    assert math.isclose(losses["bfloat16"], losses["float32"], rel_tol=2e-2)
    with pytest.raises(UsageError, match="did you mean"):
        precision.check("float23")
    batch = RowOrder(Causal(length=16), counting, 0).take(4)
    assert precision.seconds(tiny_model(), Causal(length=16), batch, "bfloat16", 1) > 0


def test_contexts_of_tables_that_count_from_padding():
    model = tiny_model()
    assert context_of(model) == 64
    model.config.model_type, model.config.pad_token_id = "roberta", 1
    assert context_of(model) == 62
    assert context_of(torch.nn.Linear(2, 2)) is None


class Sparse(Causal):
    """Causal, but every other micro-batch has no target (2020)."""

    calls = 0

    def loss(self, model, batch):
        self.calls += 1
        if self.calls % 2:
            return Loss(torch.zeros(()), {}, 0)
        return super().loss(model, batch)


def test_a_micro_batch_may_have_no_target(counting):
    history = fit(
        tiny_model(), Sparse(length=16), counting, micro_batch_tokens=32, threads=1, **BUDGET
    )
    assert abs(history.points[0].loss - math.log(300)) < 0.3
