"""A long legal encoder on a budget: replaced-token detection and windows of attention.

Niklaus and Giofré (2022), "BudgetLongformer". An encoder for long texts whose positions see only
their neighbours, trained to tell replaced tokens (`objectives.replaced`), against one trained on
masked tokens for the same floating-point operations, one that reads half the length with all of
its positions, and full attention as the length grows. Model and generator in one training from
nothing told no replaced token from another at this budget (area under the curve 0.49 to 0.53), so
the generator learns first, and the model begins as it: Electra's training in two stages. The
windows run on ModernBert, which packs; without global positions classes are read from the mean.
"""

from __future__ import annotations

from typing import Any

from tilth.evaluation.card import Card, Claim, Measured, Prepared
from tilth.systems import _budget_texts as given
from tilth.systems._budget_arms import (
    DECISION,
    FULL,
    GROWTH,
    MLM,
    NONE,
    RTD,
    SHORT,
    TYPE,
    arm,
    checked,
    growth,
)  # fmt: skip

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
        "tilth.objectives.replaced", "tilth.systems._budget_arms", "tilth.systems._budget_pooled",
        "tilth.systems._budget_texts", "tilth.systems._encoder_study",
    ),
    arxiv="2211.17135",
    simulated="the decisive sentence of one task is planted behind the first half of real texts",
    when="Texts are long, the budget is small, and the model is to be fine-tuned.",
    when_not="Texts fit in 512 tokens, or you need probabilities of tokens.",
    not_covered="Longformer and Electra themselves: with learned positions, at this size and "
    "budget, encoders learned no context, so model and generator are ModernBerts (rotary "
    "positions, every other layer local) under the window, the generator as large as the model and "
    "trained before it. Global positions, summaries (an encoder with a decoder), 4,096 tokens, "
    "models of 29 and 159 million parameters. Of the masked model's tokens 30 % are hidden, not "
    "15 %, which is in its favour. The rate of pre-training on masked tokens is one for all, that "
    "of the detection the better of two by replaced tokens told; that of fine-tuning is chosen for "
    "each arm and task from two, on services set aside, with the first seed's encoder.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=TYPE, method=RTD, baseline=MLM, margin=0.0, kind="learned", primary=True,
          equal="flops"),
    Claim(metric=DECISION, method=RTD, baseline=MLM, margin=0.0, kind="learned", equal="flops"),
    Claim(metric=DECISION, method=RTD, baseline=SHORT, margin=0.0, kind="learned"),
    Claim(metric=TYPE, method=RTD, baseline=SHORT, margin=0.0, kind="learned"),
    Claim(metric=TYPE, method=RTD, baseline=NONE, margin=0.0, kind="learned"),
    Claim(metric=GROWTH, method=RTD, baseline=FULL, margin=0.2, kind="timed", direction=-1),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, filling: int = 400_384,
    tokens: int = 349_184, vocabulary: int = 500, width: int = 64, layers: int = 2,
    length: int = 256, window: int = 32, batch_tokens: int = 1024, rate: float = 5e-3,
    detecting: float = 2e-3, train: int = 160, test: int = 300, epochs: float = 5.0,
) -> Prepared:  # fmt: skip
    """`filling` tokens for the generator, `tokens` for the detection; the masked model gets as many
    as cost the same. Then fine-tune."""
    shape = {"width": width, "layers": layers, "length": length, "window": window,
             "filling": filling, "tokens": tokens, "batch_tokens": batch_tokens, "rate": rate,
             "detecting": detecting, "epochs": epochs, "rates": (2e-3, 5e-3),
             "timed": (2048, 4096)}  # fmt: skip
    if scale == "smoke":
        shape |= {"width": 32, "length": 48, "window": 4, "filling": 15 * 96, "tokens": 15 * 96,
                  "batch_tokens": 96, "rates": (5e-3,), "timed": (64, 128)}  # fmt: skip
        return Prepared(given.smoke(seed, shape))
    inputs, sources = given.real(seed, vocabulary, train, test, shape)
    return Prepared(inputs, data=sources)


ARMS = {
    RTD: arm(RTD),
    MLM: arm(MLM),
    SHORT: arm(SHORT),
    NONE: arm(NONE),
    FULL: lambda inputs, seed: Measured(timed={GROWTH: growth(inputs, None)}),
}
invariants = checked
