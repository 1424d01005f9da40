"""OLMo 2: a block that trains calmly, a second stage on chosen data, and a soup of its orders.

OLMo team (2024). The block normalises what attention and inner layer give, and queries and keys; a
z-loss holds the logits; embeddings do not decay; steps that are outliers are left out. The second
stage goes on at the rate at which the first stopped, down to 0, moments kept, on a mix with what
the model is to learn; several orders of the data are averaged. In small: novels with junk at ten
times the usual rate against a pre-norm block; arithmetic in a few wordings is to be learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _olmo2_texts
from tilth.systems._olmo2_arms import (
    BITS,
    ORDERS,
    RIGHT,
    SPIKES,
    Inputs,
    checked,
    rough,
    second,
    untouched,
)

CARD = Card(
    slug="olmo2",
    title="2 OLMo 2 Furious",
    year=2024,
    family="pretrain",
    claim="A short second stage on a mix with problems, at a rate that falls to 0, teaches a model "
    "to answer them at no cost in general text; norms after each part keep a training calm at a "
    "high rate; the average of several orders of the data is better than one of them.",
    part="training.stages.run_stages, training.guard.StepGuard, objectives.regularisers: "
    "docs/training.md",
    modules=(
        "tilth.models.families", "tilth.models.surgery.arithmetic",
        "tilth.models.surgery.combine", "tilth.objectives.regularisers",
        "tilth.systems._arithmetic", "tilth.systems._olmo2_arms", "tilth.systems._olmo2_texts",
        "tilth.training.guard", "tilth.training.replay",
    ),
    data_kind="corpus",
    arxiv="2501.00656",
    simulated="the problems of arithmetic, and the junk: few tokens said again and again",
    when="You train from scratch and can set aside the best data, or what is to be learned, for "
    "the last fifth of the tokens.",
    when_not="The model is there already and its optimiser's moments are not: see rewarm.",
    not_covered="Instruction tuning, preferences and rewards; long rows; the filter of repeated "
    "n-grams; the paper's sizes, at which spikes are common.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=RIGHT, method="stage 2 on the mix", baseline="stage 2 on text", margin=0.1,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=BITS, method="stage 2 on the mix", baseline="stage 2 on text", direction=-1,
          margin=-0.01, relative=True, kind="learned", equal="tokens"),
    Claim(metric=RIGHT, method="stage 2 on the mix", baseline="stage 1", margin=0.1,
          kind="learned"),
    Claim(metric=BITS, method="soup of the mix", baseline="mean of its parts", direction=-1,
          margin=0.0, kind="learned", equal="tokens"),
    Claim(metric=SPIKES, method="OLMo 2", baseline="pre-norm", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=BITS, method="OLMo 2", baseline="pre-norm", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=BITS, method="OLMo 2, skip-step", baseline="OLMo 2", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 335_872,
    second: int = 64_512, vocabulary: int = 512, width: int = 64, layers: int = 2,
    length: int = 128, batch_tokens: int = 1024, rate: float = 5e-3, high: float = 10.0,
    junk: float = 0.02, largest: int = 9,
) -> Prepared:  # fmt: skip
    """`tokens` of the first stage, `second` of the second; `high` times `rate` where it is rough.

    `junk`: its share of the rough text. Problems have numbers up to `largest`. `data` is the
    general text (default English novels).
    """
    inputs, sources = _olmo2_texts.prepare(
        scale, data, seed, vocabulary=vocabulary, width=width, layers=layers, length=length,
        junk=junk, largest=largest, tokens=tokens, second=second, batch_tokens=batch_tokens,
        rate=rate, high=high,
    )  # fmt: skip
    return Prepared(inputs, data=sources)


ARMS = {
    "pre-norm": rough("llama", olmo=False, skip=False),
    "OLMo 2": rough("olmo2", olmo=True, skip=False),
    "OLMo 2, skip-step": rough("olmo2", olmo=True, skip=True),
    "stage 1": untouched,
    "stage 2 on text": second(mix=False),
    "stage 2 on the mix": second(mix=True),
    "mean of its parts": second(mix=True, orders=ORDERS),
    "soup of the mix": second(mix=True, orders=ORDERS, soup=True),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the soup, of the guard and of the second stage's rate."""
    yield from checked(inputs, measured)
