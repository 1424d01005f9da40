"""A long legal encoder on a budget: replaced-token detection and windows of attention.

Niklaus and Giofré (2022), "BudgetLongformer". An encoder for long texts whose positions see only
their neighbours, trained to tell replaced tokens (`objectives.replaced`), against one trained on
masked tokens for the same floating-point operations, one that reads half the length with all of
its positions, and full attention as the length grows. The windows run on Electra, which packs;
there are no global positions, so classes are read from the mean over all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.encoders import build_shape
from tilth.models.packed import forward
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.objectives.replaced import Replaced
from tilth.systems import _budget_arms as given
from tilth.systems._budget_arms import (
    MASK,
    PAD,
    PLANTED,
    TYPES,
    Inputs,
    build,
    detection,
    growth,
    tuned,
)  # fmt: skip
from tilth.systems._encoder_study import pretrain
from tilth.training.flops import flops_per_token

CARD = Card(
    slug="budgetlongformer",
    title="BudgetLongformer: Can we Cheaply Pretrain a SotA Legal Language Model From Scratch?",
    year=2022,
    family="pretrain",
    claim="For the same operations, telling replaced tokens makes a better long legal encoder "
    "than masked tokens; with windows its time grows with the length, not with its square.",
    part="objective replaced, window=...",
    modules=(
        "tilth.models.encoders", "tilth.models.packed", "tilth.objectives.masked",
        "tilth.objectives.replaced", "tilth.systems._budget_arms", "tilth.systems._encoder_study",
    ),
    arxiv="2211.17135",
    simulated="the decisive sentence of one task is planted behind the first half of real texts",
    when="Texts are long, the budget is small, and the model is to be fine-tuned.",
    when_not="Texts fit in 512 tokens, or you need probabilities of tokens.",
    not_covered="Global positions, summaries (an encoder with a decoder), 4,096 tokens, models of "
    "29 and 159 million parameters; the generator has embeddings of its own.",
)  # fmt: skip

TYPE, DECISION = "accuracy of document types", "accuracy of planted decisions"
GROWTH = "factor of time for twice the length"
RTD, MLM, SHORT, FULL = "RTD", "MLM", "RTD, half the length", "full attention"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=TYPE, method=RTD, baseline=MLM, margin=0.0, kind="learned", primary=True,
          equal="flops"),
    Claim(metric=DECISION, method=RTD, baseline=MLM, margin=0.0, kind="learned", equal="flops"),
    Claim(metric=DECISION, method=RTD, baseline=SHORT, margin=0.0, kind="learned"),
    Claim(metric=TYPE, method=RTD, baseline=SHORT, margin=0.0, kind="learned"),
    Claim(metric=GROWTH, method=RTD, baseline=FULL, margin=0.2, kind="timed", direction=-1),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 330_000,
    vocabulary: int = 700, width: int = 64, layers: int = 1, length: int = 256, window: int = 32,
    batch_tokens: int = 1024, rate: float = 5e-3, train: int = 160, test: int = 300,
    epochs: float = 5.0, tuning_rate: float = 5e-3,
) -> Prepared:  # fmt: skip
    """Pre-train on `tokens` (masked tokens on as many as cost the same), then fine-tune."""
    shape = {"width": width, "layers": layers, "length": length, "window": window,
             "tokens": tokens, "batch_tokens": batch_tokens, "rate": rate, "epochs": epochs,
             "tuning_rate": tuning_rate, "timed": (2048, 4096)}  # fmt: skip
    if scale == "smoke":
        shape |= {"width": 32, "length": 32, "window": 4, "tokens": 60 * 64, "batch_tokens": 64,
                  "epochs": 4.0, "timed": (64, 128)}  # fmt: skip
        return Prepared(given.smoke(seed, shape))
    inputs, sources = given.real(seed, vocabulary, train, test, shape)
    return Prepared(inputs, data=sources)


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    """Pre-train from nothing, then fine-tune for both tasks."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        length = inputs.length // 2 if name == SHORT else inputs.length
        window = None if name == SHORT else inputs.window
        electra = build(inputs, "electra", length, seed)
        replaced = detection(inputs, length, window, seed)
        model, tokens = electra, inputs.tokens
        objective: Replaced | Masked = replaced
        if name == MLM:
            model = build(inputs, "electra-generator", length, seed)
            objective = Masked(length=length, mask=MASK, special=(PAD,), window=window)
            cost = flops_per_token(electra, length, objective=replaced)
            step = inputs.batch_tokens
            tokens = int(tokens * cost / flops_per_token(model, length, objective=objective))
            tokens = round(tokens / step) * step
        history = pretrain(
            model, objective, inputs.corpus, tokens=tokens, batch_tokens=inputs.batch_tokens,
            rate=inputs.rate, seed=seed,
        )  # fmt: skip
        metrics = {"tokens per parameter": history.plan["tokens_per_parameter"]}
        for task, metric in ((TYPES, TYPE), (PLANTED, DECISION)):
            metrics[metric] = tuned(inputs, model.base_model, task, length, window, seed)
        timed = {GROWTH: growth(inputs, inputs.window)} if name == RTD else {}
        return Measured(metrics, timed, history.plan["tokens"], history.plan["flops"])

    return measure


ARMS = {
    RTD: arm(RTD),
    MLM: arm(MLM),
    SHORT: arm(SHORT),
    FULL: lambda inputs, seed: Measured(timed={GROWTH: growth(inputs, None)}),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Windows see what they should, and the generator learns from its own loss alone."""
    import torch

    model = build_shape(32, 2, vocabulary=300, context=96, kind="electra", seed=1)
    ids = torch.randint(3, 300, (1, 96), generator=torch.Generator().manual_seed(1))
    full, wide = forward(model, ids), forward(model, ids, window=95)
    yield Invariant("a window as wide as the row is full attention within 1e-5",
                    torch.allclose(full, wide, atol=1e-5))  # fmt: skip
    other = ids.clone()
    other[0, 60] = 3 + (int(ids[0, 60]) + 1) % 290
    near, moved = (forward(model, some, window=8)[0] for some in (ids, other))
    far = (torch.arange(96) - 60).abs() > 2 * 8
    kept = torch.equal(near[far], moved[far]) and not torch.equal(near, moved)
    yield Invariant("a change farther away than layers times window changes nothing", kept)
    objective = detection(inputs, inputs.length, inputs.window, 0)
    some = inputs.corpus.select(range(min(20, len(inputs.corpus))))
    batch = objective.prepare(some, Draws(0)).take(range(2))
    electra = build(inputs, "electra", inputs.length, 0)
    made = objective.loss(electra, batch)
    grown = [p for p in objective.generator.parameters() if p.requires_grad]
    fill = torch.autograd.grad(made.total, grown, allow_unused=True)
    weight = objective.weight
    objective.weight = 2 * weight
    doubled = torch.autograd.grad(objective.loss(electra, batch).total, grown, allow_unused=True)
    same = all(a is b is None or torch.equal(a, b) for a, b in zip(fill, doubled))
    yield Invariant("the generator gets no gradient from the detection", same)
    prior = made.parts["detection"] / made.n_targets
    yield Invariant("untrained, the detection costs ln 2 a token", abs(prior - np.log(2)) < 0.1)
