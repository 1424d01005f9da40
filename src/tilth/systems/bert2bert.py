"""Grow a trained small model into a larger one, instead of training that from nothing.

Chen, Yin, Shang, Jiang, Qin, Wang, Wang, Chen, Liu and Liu (2022). The small model's units are
copied, so that the larger one begins where it is (FPI), or new units take what the layer above
computes (AKI). Beside them: new weights, the small model in the corner of new weights, and a stack
of one trained layer. Measured against operations: what share of those that new weights need for
their final loss does an arm need? The small model's own training is not counted, as in the paper.

Here the models are of Llama's form (`--model` takes any with a map of axes), the width is doubled
and depth stays, on English novels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems._growth_arms import (
    END,
    REACH,
    START,
    Inputs,
    arm,
    checked,
    corner,
    grown,
    prepared,
    stacked,
    with_scratch,
)
from tilth.systems._rates import parse_rates

CARD = Card(
    slug="bert2bert",
    title="bert2BERT: Towards Reusable Pretrained Language Models",
    year=2022,
    family="pretrain",
    claim="A model grown from a trained one of half its width reaches the loss of a new model with "
    "far fewer operations, and fewer still when new units take what the layer above computes.",
    part='models.surgery.run.operate("widen", checkpoint, width=..., method="AKI"): '
    "docs/surgery.md",
    modules=(
        "tilth.models.axes", "tilth.models.checkpoint", "tilth.models.surgery.layers",
        "tilth.models.surgery.maps", "tilth.models.surgery.widen",
        "tilth.systems._continued_texts", "tilth.systems._growth_arms", "tilth.systems._rates",
    ),
    data_kind="corpus",
    model_kind="causal",
    arxiv="2110.07143",
    when="There is a trained small model of the kind, tokenizer and text that you want, and you "
    "need a larger one.",
    when_not="Its tokenizer or text is another than yours, or the large model will be trained so "
    "long that its beginning does not matter.",
    not_covered="The paper's second part (stages that train sub-models of few layers); growth of "
    "depth, which surgery offers; masked models in this comparison; sizes beyond micro; the chance "
    "of another small model. All arms train at the rate that suits the new model best, of three, "
    "on text that no arm reads: a grown model might do better at a rate of its own.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=REACH, method="AKI", baseline="scratch", direction=-1, margin=0.25,
          kind="learned", equal="flops", primary=True, paper=0.47),
    Claim(metric=REACH, method="FPI", baseline="scratch", direction=-1, margin=0.0,
          kind="learned", equal="flops"),
    Claim(metric=REACH, method="AKI", baseline="FPI", direction=-1, margin=0.0, kind="learned",
          equal="flops"),
    Claim(metric=REACH, method="FPI", baseline="direct copy", direction=-1, margin=0.0,
          kind="learned", equal="flops"),
    Claim(metric=REACH, method="AKI", baseline="stacked", direction=-1, margin=0.0,
          kind="learned", equal="flops"),
    Claim(metric=END, method="AKI", baseline="scratch", direction=-1, margin=0.0, kind="learned",
          equal="flops"),
    Claim(metric=START, method="FPI", baseline="AKI", direction=-1, margin=0.0, kind="learned"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 393_216,
    small_tokens: int = 614_400, width: int = 64, layers: int = 3, vocabulary: int = 512,
    length: int = 128, rate: float = 5e-3, rates: str = "0.0025,0.005,0.01",
    batch_tokens: int = 2048,
) -> Prepared:  # fmt: skip
    """`tokens` of each arm, `rates` from which the new model takes the best, for all arms.

    `small_tokens` and `rate` of the small model; `width` and `layers` of the large model, which
    with --model is twice as wide as that.
    """
    batch, tried = batch_tokens, parse_rates(rates)
    if scale == "smoke":
        tokens, small_tokens, length, batch, tried = 10 * 256, 10 * 256, 32, 256, (rate,)
    small, shallow, text, tuning, chosen, sources, models = prepared(
        scale, data, model, width=width, layers=layers, small_tokens=small_tokens,
        vocabulary=vocabulary, length=length, batch=batch, rate=rate,
    )  # fmt: skip
    width = 2 * small.config.hidden_size
    inputs = Inputs(small, shallow, text, width, tokens, length, batch)
    inputs = with_scratch(inputs, tuning, chosen, tried, seed)
    return Prepared(inputs, data=sources, models=models)


ARMS = {
    "scratch": arm(None),
    "direct copy": arm(corner),
    "stacked": arm(stacked),
    "FPI": arm(grown("FPI")),
    "AKI": arm(grown("AKI")),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Where growth keeps the function exactly, and where it does not."""
    yield from checked(inputs, measured)
