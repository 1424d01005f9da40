"""A domain model that follows instructions, without instructions of the domain: a sum of vectors.

Hirano and Imajo (2024). A base goes on training on domain text; apart from that there is its
sibling that was tuned on instructions. What the two trainings added to the base is added up, each
with weight 1. Here the base is trained on novels, the domain is financial reports (paragraphs and
tables of TAT-QA), and the instructions are made by code: three things of a kind in a form that is
asked for. An instruction is followed where three words have that form; pairs of kind and form are
held out.

Beside the sum stand what one would do otherwise with the same tokens: the plain average of the two
models, and both trainings one after the other, in either order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.checkpoint import Checkpoint
from tilth.systems import _merge_instructions as instructions
from tilth.systems import _merge_texts
from tilth.systems._merge_arms import (
    BOTH,
    DOMAIN,
    FORMAT,
    Inputs,
    alone,
    arm,
    checked,
    merged,
    one_after_the_other,
)
from tilth.systems._rates import parse_rates

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
        "tilth.models.surgery.combine", "tilth.systems._continued_texts", "tilth.systems._greedy",
        "tilth.systems._merge_arms", "tilth.systems._merge_instructions",
        "tilth.systems._merge_texts", "tilth.systems._rates",
    ),
    data_kind="corpus",
    model_kind="causal",
    arxiv="2409.19854",
    simulated="the instructions and their answers",
    when="There are a base and its sibling that follows instructions, text of your domain, and no "
    "instructions of the domain.",
    when_not="The two were not made from the same base, or have other vocabularies. Where the "
    "trainings moved the weights far, a sum overshoots: try smaller weights or TIES.",
    not_covered="Japanese; harnesses of finance; chat templates; the chance of another base. Each "
    "arm takes the best of three learning rates, for all its trainings, by what it is judged by, "
    "on texts and instructions that are neither learned nor tested. With --model your base is the "
    "base; --set instructed=FOLDER names its sibling, else it is tuned here.",
)  # fmt: skip

# Designed anew after a first run at scale small, in which no arm had learned an instruction and the
# primary claim compared with a baseline that was 0 by construction. These margins (bits per byte,
# or a share) and the primary claim were set before the first run of this design.
SEQUENTIAL = "domain text on instructed"
CLAIMS = (
    Claim(metric=BOTH, method="merged", baseline=SEQUENTIAL, direction=-1, margin=0.05,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=BOTH, method="merged", baseline="average", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=BOTH, method="merged", baseline="instructions on domain", direction=-1,
          margin=-0.05, kind="learned", equal="tokens"),
    Claim(metric=FORMAT, method="merged", baseline="instructed", margin=-0.1, kind="learned"),
    Claim(metric=DOMAIN, method="merged", baseline="domain", direction=-1, margin=-0.05,
          kind="learned"),
    Claim(metric=FORMAT, method="instructed", baseline="base", margin=0.3, kind="learned"),
    Claim(metric=DOMAIN, method="domain", baseline="base", direction=-1, margin=0.05,
          kind="learned"),
    Claim(metric=BOTH, method="TIES", baseline="merged", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 196_608,
    base_tokens: int = 1_228_800, size: str = "80k", vocabulary: int = 768, length: int = 128,
    base_rate: float = 5e-3, rates: str = "0.0005,0.001,0.002", instructed: str = "",
    batch_tokens: int = 512,
) -> Prepared:  # fmt: skip
    """`tokens` of each training from the base; `rates` from which each arm takes the best one.

    Instructions are learned in batches of half of `batch_tokens`: they are short.
    """
    tried, most, prompts = parse_rates(rates), instructions.LONGEST, 1000
    batches = (batch_tokens, max(length, batch_tokens // 2))
    if scale == "smoke":
        tokens, length, batches, tried = 10 * 256, 32, (256, 256), tried[:1]
        most, prompts = 2, 3
    texts = _merge_texts.prepared(
        scale, data, model, base_tokens=base_tokens, size=size, vocabulary=vocabulary,
        length=length, rate=base_rate,
    )  # fmt: skip
    sibling = Checkpoint.load(instructed) if instructed else None
    inputs = Inputs(texts, tokens, length, batches, tried, most, prompts, sibling)
    return Prepared(inputs, data=texts.sources, models=texts.models)


MAKERS = {
    "base": None,
    "domain": alone("domain"),
    "instructed": alone("instructed"),
    "merged": merged(),
    "average": merged(method="linear"),
    "TIES": merged(method="ties", density=0.5),
    "DARE": merged(method="dare", density=0.5),
    SEQUENTIAL: one_after_the_other(domain_first=False),
    "instructions on domain": one_after_the_other(domain_first=True),
}
ARMS = {name: arm(name, make) for name, make in MAKERS.items()}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the merge."""
    yield from checked(inputs, measured)
