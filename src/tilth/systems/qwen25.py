"""Qwen2.5 in small: longer rows with another base of positions, then SFT, DPO and GRPO.

Qwen team (2024). The block is that of `transformers`' Qwen2: fewer heads for keys and values,
biases on queries, keys and values, RMSNorm, SwiGLU. The last stage of pretraining has longer rows
and raises the base of the rotary positions (ABF). After it: supervised fine-tuning, offline
preference learning on pairs of the model's own answers, online reinforcement with groups of
answers. Problems of arithmetic stand for what can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _qwen25_texts
from tilth.systems._qwen25_arms import (
    FAR,
    PASS,
    Inputs,
    arm,
    checked,
    long_arm,
    preferred,
    rewarded,
    tuned,
    tuned_as_long,
)

CARD = Card(
    slug="qwen2.5",
    title="Qwen2.5 Technical Report",
    year=2024,
    family="pretrain",
    claim="After supervised fine-tuning, pairs of a model's own answers and then rewards for "
    "groups of them teach it more than as much fine-tuning on the same problems; a larger base of "
    "rotary positions helps it to learn longer rows.",
    part="training.rollouts, objectives.preference, objectives.policy_gradient: docs/rollouts.md",
    modules=(
        "tilth.models.families", "tilth.models.surgery.positions", "tilth.objectives.answers",
        "tilth.objectives.instruct", "tilth.objectives.policy_gradient",
        "tilth.objectives.preference", "tilth.systems._arithmetic", "tilth.systems._qwen25_arms",
        "tilth.systems._qwen25_texts", "tilth.training.rollouts",
    ),
    data_kind="corpus",
    arxiv="2412.15115",
    simulated="the problems of arithmetic",
    when="Answers can be checked by a program and the model is right sometimes.",
    when_not="The model is never right: no reward, nothing to learn. Write examples first.",
    not_covered="Scaling laws for rates and batches; mixtures of experts; filters and synthetic "
    "data; a learned reward; the online merging of DPO. Sampling is not counted in the tokens.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=PASS, method="GRPO", baseline="SFT, as long as GRPO", margin=0.02,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=PASS, method="DPO", baseline="SFT, as long as DPO", margin=0.02,
          kind="learned", equal="tokens"),
    Claim(metric=PASS, method="GRPO", baseline="DPO", margin=0.02, kind="learned"),
    Claim(metric=PASS, method="DPO", baseline="SFT", margin=0.02, kind="learned"),
    Claim(metric=FAR, method="ABF", baseline="the base kept", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, first: int = 276_480,
    second: int = 66_560, third: int = 98_304, vocabulary: int = 512, width: int = 64,
    layers: int = 2, short: int = 64, long: int = 256, batch_tokens: int = 1024,
    rate: float = 5e-3, largest: int = 12, prompts: int = 32, rounds: int = 20,
) -> Prepared:  # fmt: skip
    """`first`, `second`, `third`: tokens of short rows, of long rows, of fine-tuning.

    Problems have numbers up to `largest`; GRPO takes `rounds` of `prompts` problems.
    """
    inputs, sources = _qwen25_texts.prepare(
        scale, data, vocabulary=vocabulary, width=width, layers=layers, largest=largest,
        short=short, long=long, first=first, second=second, third=third, prompts=prompts,
        rounds=rounds, batch_tokens=batch_tokens, rate=rate,
    )  # fmt: skip
    return Prepared(inputs, data=sources)


ARMS = {
    "the base kept": long_arm(abf=False),
    "ABF": long_arm(abf=True),
    "SFT": arm(tuned),
    "SFT, as long as DPO": arm(tuned_as_long, preferred),
    "DPO": arm(preferred),
    "SFT, as long as GRPO": arm(tuned_as_long, rewarded),
    "GRPO": arm(rewarded),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the losses and of the surgery."""
    yield from checked(inputs, measured)
