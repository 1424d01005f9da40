"""Sparse pre-training, dense fine-tuning: most weights are zero while general text is learned.

Thangarasa, Gupta, Marshall, Li, Leong, DeCoste, Lie and Saxena (2023). A random mask of each
layer's matrices is fixed before the training; three in four weights stay zero through all of
pre-training and learn only when the model is tuned on its task. Embeddings, norms and the head stay
dense.

Here a Llama reads English novels; the tasks are WebNLG (facts to text, real) and restaurants made
by code in the manner of E2E, whose data are not here: every slot that a sentence misses is counted.
Zeros make nothing faster on this machine: operations are counted from shapes and masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _sparse_tasks as tasks
from tilth.systems._rates import parse_rates
from tilth.systems._sparse_arms import BITS, FLOPS, SLOTS, Inputs, arm, checked
from tilth.systems._sparse_texts import prepared

CARD = Card(
    slug="spdf",
    title="SPDF: Sparse Pre-training and Dense Fine-tuning for Large Language Models",
    year=2023,
    family="pretrain",
    claim="A model that was pre-trained with three in four weights at zero, and fine-tuned with "
    "all of them, does its task nearly as well as one pre-trained dense, for a fraction of the "
    "operations.",
    part="models.surgery.sparse and training.policy (mask=): docs/surgery.md",
    modules=(
        "tilth.models.checkpoint", "tilth.models.surgery.sparse", "tilth.systems._greedy",
        "tilth.systems._continued_texts", "tilth.systems._rates", "tilth.systems._sparse_arms",
        "tilth.systems._sparse_tasks", "tilth.systems._sparse_texts", "tilth.training.policy",
    ),
    data_kind="generate",
    model_kind="causal",
    arxiv="2303.10464",
    simulated="the restaurants",
    when="Your hardware skips zeros, pre-training is most of your cost, and the task is tuned on "
    "its own data.",
    when_not="On hardware that multiplies zeros like other numbers, which is most: a smaller dense "
    "model costs what it says.",
    not_covered="E2E, DART and summaries; speed, which zeros do not give here; GPT-3 XL; other "
    "shares of zeros. Each pre-training and each fine-tuning takes the better of two learning "
    "rates, on text and items that no arm learns and no test holds. With --data (generate: prompt "
    "and answer) the real task is yours; with --model your model is pre-trained further from its "
    "weights, masked without rescaling.",
)  # fmt: skip

HELD_OUT = tasks.meanings()[1][:40]

# Margins and the primary claim were set before the first run at scale small.
SPARSE = "75 % sparse, then dense"
CLAIMS = (
    Claim(metric=BITS, method=SPARSE, baseline="dense", direction=-1, margin=-0.02, relative=True,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=BITS, method=SPARSE, baseline="75 % sparse, stays sparse", direction=-1,
          margin=0.0, kind="learned", equal="tokens"),
    Claim(metric=SLOTS, method=SPARSE, baseline="dense", direction=-1, margin=-0.02,
          kind="learned", equal="tokens"),
    Claim(metric=BITS, method=SPARSE, baseline="not pre-trained", direction=-1, margin=0.02,
          kind="learned"),
    Claim(metric=BITS, method=SPARSE, baseline="small dense", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=FLOPS, method=SPARSE, baseline="dense", direction=-1, margin=1.0, relative=True,
          kind="exact", paper=1.5),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 143_360,
    tuning: int = 240_000, size: str = "70k", small: str = "30k", vocabulary: int = 512,
    length: int = 160, rates: str = "0.005,0.01", tuning_rates: str = "0.003,0.006",
    text: str = "", batch_tokens: int = 320,
) -> Prepared:  # fmt: skip
    """`tokens` of each pre-training, `tuning` of each fine-tuning; `small` is the dense model that
    costs about what three in four zeros leave; `text` is pre-trained on, default English novels.
    Each arm takes the best of `rates` and of `tuning_rates`.
    """
    tried, batch, meanings = (parse_rates(rates), parse_rates(tuning_rates)), batch_tokens, HELD_OUT
    told = 1500
    if scale == "smoke":
        tokens, tuning, length, batch, told = 10 * 256, 10 * 256, 128, 256, 30
        size, small, meanings, tried = "40k", "27k", meanings[:2], (tried[0][:1], tried[1][:1])
    texts = prepared(scale, data, model, vocabulary, text, length)
    inputs = Inputs(
        texts, meanings, told, (size, small), tokens, tuning, length, batch, tried, {}
    )  # fmt: skip
    return Prepared(inputs, data=texts.sources, models=texts.models)


ARMS = {
    "dense": arm(),
    SPARSE: arm(0.75),
    "75 % sparse, stays sparse": arm(0.75, sparse=True),
    "small dense": arm(small=True),
    "not pre-trained": arm(scratch=True),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of masks and counts."""
    yield from checked(inputs, measured)
