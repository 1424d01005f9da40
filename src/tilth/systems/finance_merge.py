"""A domain model that follows instructions, without instructions of the domain: a sum of vectors.

Hirano and Imajo (2024). A base goes on training on domain text; apart from that there is its
sibling that was tuned on instructions. What the two trainings added to the base is added up, each
with weight 1. Here the base is trained on novels, the domain is financial reports (paragraphs and
tables of TAT-QA), and the instructions are made by code: three things of a kind in a form that is
asked for, so that an answer is right or wrong; pairs of kind and form are held out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.surgery.combine import combine
from tilth.systems import _merge_instructions as instructions
from tilth.systems._merge_arms import (
    DOMAIN,
    FORMAT,
    KEPT,
    Inputs,
    adapted,
    arm,
    base_of,
    checked,
    scores,
    tuned,
)

CARD = Card(
    slug="finance-merge",
    title="The Construction of Instruction-tuned LLMs for Finance without Instruction Data Using "
    "Continual Pretraining and Model Merging",
    year=2024,
    family="pretrain",
    claim="Added to their common base, what a model learned from domain text and what another "
    "learned from general instructions both remain.",
    part="tilth merge DOMAIN INSTRUCTED --base BASE -o FOLDER",
    modules=(
        "tilth.models.checkpoint", "tilth.models.surgery.arithmetic",
        "tilth.models.surgery.combine", "tilth.systems._greedy", "tilth.systems._merge_arms",
        "tilth.systems._merge_instructions",
    ),
    data_kind="corpus",
    model_kind="causal",
    arxiv="2409.19854",
    simulated="the instructions and their answers",
    when="There are a base and its sibling that follows instructions, text of your domain, and no "
    "instructions of the domain.",
    when_not="The two were not made from the same base, or have other vocabularies. Where the "
    "trainings moved the weights far, a sum overshoots: try smaller weights or TIES.",
    not_covered="Japanese; harnesses of finance; chat templates. With --model your base is the "
    "base; --set instructed=FOLDER names its sibling, else it is tuned here.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=KEPT, method="merged", baseline="base", margin=0.8, kind="learned", primary=True),
    Claim(metric=FORMAT, method="merged", baseline="domain", margin=0.1, kind="learned"),
    Claim(metric=DOMAIN, method="merged", baseline="instructed", direction=-1, margin=0.05,
          kind="learned"),
    Claim(metric=KEPT, method="merged", baseline="average", margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=KEPT, method="merged", baseline="domain text on instructed", margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=KEPT, method="TIES", baseline="merged", margin=0.0, kind="learned",
          equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 163_840,
    base_tokens: int = 768_000, size: str = "80k", vocabulary: int = 768, length: int = 128,
    base_rate: float = 5e-3, rate: float = 2e-3, instructed: str = "",
    batch_tokens: int = 1024,
) -> Prepared:  # fmt: skip
    """`tokens` are those of each training from the base, `rate` their learning rate."""
    batch, most, prompts = batch_tokens, instructions.LONGEST, instructions.pairs()[1]
    if scale == "smoke":
        tokens, length, batch, most, prompts = 10 * 256, 32, 256, 2, prompts[:3]
    base, tokenizer, text, sources, models = base_of(
        scale, data, model, base_tokens=base_tokens, size=size, vocabulary=vocabulary,
        length=length, rate=base_rate,
    )  # fmt: skip
    options = {"length": length, "batch": batch, "rate": rate, "most": most}
    inputs = Inputs(base, base, base, tokenizer, text, tokens, options, list(prompts), {})
    if instructed:
        from tilth.models.checkpoint import Checkpoint

        sibling = Checkpoint.load(instructed)
    else:
        sibling = tuned(inputs, base, seed)
    inputs = Inputs(
        base, adapted(inputs, base, seed), sibling, tokenizer, text, tokens, options,
        list(prompts), {},
    )  # fmt: skip
    for name in ("base", "domain", "instructed"):
        bits, followed = scores(inputs, getattr(inputs, name))
        whole = float(bits.numerators.sum() / bits.denominators.sum())
        inputs.found[name] = (whole, float(np.mean(followed)))
    return Prepared(inputs, data=sources, models=models)


def merged(inputs: Inputs, **options: Any) -> Any:
    return combine(inputs.base, others=[inputs.domain, inputs.instructed], **options)


ARMS = {
    "base": arm(lambda inputs, seed: inputs.base, 0),
    "domain": arm(lambda inputs, seed: inputs.domain, 1),
    "instructed": arm(lambda inputs, seed: inputs.instructed, 1),
    "merged": arm(lambda inputs, seed: merged(inputs), 2),
    "average": arm(lambda inputs, seed: merged(inputs, method="linear"), 2),
    "TIES": arm(lambda inputs, seed: merged(inputs, method="ties", density=0.5), 2),
    "DARE": arm(lambda inputs, seed: merged(inputs, method="dare", density=0.5, seed=seed), 2),
    "domain text on instructed": arm(
        lambda inputs, seed: adapted(inputs, inputs.instructed, seed), 2
    ),
    "instructions on domain": arm(lambda inputs, seed: tuned(inputs, inputs.domain, seed), 2),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the merge."""
    yield from checked(inputs, measured)
