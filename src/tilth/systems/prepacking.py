"""Prepacking: prompts of unlike length read in one row, each with a mask and positions of its own.

Zhao, Israel, Van den Broeck and Grover (2024). Against padding to the longest of a batch, against
the strongest simple ways (sorted by length, then padded; one by one), and against the row with a
square mask that the authors use. tilth's ways share one runner and its weights; padding and the
square mask are measured in `transformers` as well, where the authors measured them. Prompts are
real, the model's weights random: only time is claimed, and that the caches are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, ModelSource, Prepared
from tilth.systems import _prepacking_prompts as given
from tilth.systems._prepacking_arms import (
    ALONE,
    PACKED,
    PADDED,
    SORTED,
    SPEEDUP,
    THEIR_PACKED,
    THEIR_PADDED,
    WAYS,
    Inputs,
    arm,
    checked,
    seconds,
    speedup,
)
from tilth.systems._prepacking_prompts import EQUAL, SOME, WIDE

CARD = Card(
    slug="prepacking",
    title="Prepacking: A Simple Method for Fast Prefilling and Increased Throughput in Large "
    "Language Models",
    year=2024,
    family="serving",
    claim="A batch of prompts of unlike length is read faster when they are packed into full rows, "
    "each seeing only itself, than when they are padded, and the caches are the same.",
    part="tilth.serving.prepacking.prefill(runner, cache, prompts); Engine(policy='prepacked')",
    modules=(
        "tilth.serving.attention", "tilth.serving.cache", "tilth.serving.kernels",
        "tilth.serving.model_runner", "tilth.serving.prepacking", "tilth.serving.products",
        "tilth.systems._prepacking_arms", "tilth.systems._prepacking_prompts",
        "tilth.systems._threads",
    ),
    model_kind="causal",
    arxiv="2404.09529",
    when="A batch of prompts is there from the start and their lengths differ.",
    when_not="Prompts are of equal length. Where hundreds of prompts may be sorted first, or each "
    "alone fills the machine, most of the gain is gone: see the tokens run of 512 prompts sorted, "
    "and one by one.",
    not_covered="Graphics processors, where a short row costs as much as a long one and the gain "
    "over one by one is greater; memory; the integer program for bins; batches above 16 prompts. "
    "Rows are of 512 tokens, or as long as the longest prompt; padded batches of 8. The square "
    "mask and padding in front with a mask are run by transformers, with the same weights; tilth's "
    "own padding is behind the prompt and needs no mask.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=seconds(WIDE), method=PACKED, baseline=PADDED, direction=-1, margin=1.0,
          kind="timed", relative=True, primary=True, paper=4.2),
    Claim(metric=seconds(WIDE), method=PACKED, baseline=SORTED, direction=-1, margin=0.1,
          kind="timed", relative=True, paper=0.49),
    Claim(metric=seconds(WIDE), method=PACKED, baseline=ALONE, direction=-1, margin=0.0,
          kind="timed", relative=True),
    Claim(metric=seconds(WIDE), method=PACKED, baseline=THEIR_PADDED, direction=-1, margin=1.0,
          kind="timed", relative=True),
    Claim(metric=seconds(WIDE), method=PACKED, baseline=THEIR_PACKED, direction=-1, margin=0.0,
          kind="timed", relative=True),
    Claim(metric=seconds(WIDE), method=THEIR_PACKED, baseline=THEIR_PADDED, direction=-1,
          margin=1.0, kind="timed", relative=True, paper=4.2),
    Claim(metric=seconds(EQUAL), method=PACKED, baseline=PADDED, direction=-1, margin=-0.02,
          kind="timed", relative=True),
    Claim(metric=SPEEDUP, method=SOME, baseline=EQUAL, margin=0.1, kind="timed"),
    Claim(metric=SPEEDUP, method=WIDE, baseline=SOME, margin=0.1, kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "30m",
    vocabulary: int = 8192, repeats: int = 9,
) -> Prepared:  # fmt: skip
    """Random weights of `size`, or those of a folder; prompts and weights by the seed."""
    from tilth.models.decoder import build, parameters_of
    from tilth.systems._continued_texts import given_model

    if scale == "smoke":
        prompts, vocabulary = given.smoke(seed)
        made = build(parameters_of(32, 2, vocabulary), vocabulary=vocabulary, seed=seed)
        return Prepared(Inputs(made, prompts, repeats=1))
    models: tuple[ModelSource, ...] = ()
    if model is not None:
        made, tokenizer, source = given_model(model)
        prompts, _, sources = given.real(seed, vocabulary, tokenizer)
        models = (source,)
    else:
        prompts, vocabulary, sources = given.real(seed, vocabulary)
        made = build(size, vocabulary=vocabulary, context=512, seed=seed)
    return Prepared(Inputs(made, prompts, repeats), data=sources, models=models)


ARMS = {
    **{name: arm(name) for name in WAYS},
    **{name: speedup(name) for name in (EQUAL, SOME, WIDE)},
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """The same caches, logits and continuations, however prompts are read."""
    yield from checked(inputs, measured)
