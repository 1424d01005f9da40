"""PEARL: parallel speculative decoding with adaptive draft length.

Liu, Li, Lv et al. (2024). A small model drafts while the large one reads, so that neither waits for
the other; drafts follow each other as long as they are kept. Beside it: plain decoding, decoding by
turns with the best of three lengths, the paper's two ablations, and the first two with both cores.

Rounds are counted with micro models and a draft of stated acceptance, and reckoned with measured
costs of 30 M parameters; the same is timed by the clock, with the draft in a process of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _pearl_arms
from tilth.systems._pearl_arms import RECKONED, RUN, WALL, Inputs, arm, plain_arm

CARD = Card(
    slug="pearl",
    title="PEARL: Parallel Speculative Decoding with Adaptive Draft Length",
    year=2024,
    family="serving",
    claim="A draft model that works while the target reads gives exactly the target's texts, and "
    "faster than a draft and a target that take turns.",
    part='tilth generate MODEL "text" --draft SMALL_MODEL --strategy pearl',
    modules=(
        "tilth.serving.strategies.acceptance", "tilth.serving.strategies.drafting",
        "tilth.serving.strategies.length", "tilth.serving.strategies.remote",
        "tilth.serving.strategies.speculative", "tilth.serving.strategies.stream",
        "tilth.systems._pearl_arms", "tilth.systems._threads",
    ),
    simulated="models with random weights; which drafted tokens are right, with a stated chance",
    when="One request at a time, a second core that idles, and a draft of the same tokenizer that "
    "is much faster than the model and often right.",
    when_not="Many requests at once, a busy machine, or a draft that is wrong every other time: "
    "a row of several tokens is not free on a processor.",
    not_covered="How often a distilled draft is right: acceptance is set, not measured. Several "
    "requests with drafts in one row; trees of drafts; drafts on another device.",
)  # fmt: skip

PEARL, TURNS, PLAIN = "pearl", "by turns", "plain"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=RECKONED, method=PEARL, baseline=TURNS, direction=-1, margin=0.0, relative=True,
          kind="timed", primary=True),
    Claim(metric=RECKONED, method=PEARL, baseline=PLAIN, direction=-1, margin=0.5, relative=True,
          kind="timed"),
    Claim(metric=RECKONED, method=PEARL, baseline="no pre-verify", direction=-1, margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=RECKONED, method=PEARL, baseline="no post-verify", direction=-1, margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=RECKONED, method="pearl, expected best length", baseline=TURNS, direction=-1,
          margin=0.0, relative=True, kind="timed"),
    Claim(metric=RUN, method=PEARL, baseline="by turns, pearl's length", margin=0.0,
          kind="counted"),
    Claim(metric=WALL, method=PEARL, baseline=TURNS, direction=-1, margin=0.0, relative=True,
          kind="timed"),
    Claim(metric=WALL, method=PEARL, baseline="plain, two threads", direction=-1, margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=WALL, method=PEARL, baseline="by turns, two threads", direction=-1, margin=0.0,
          relative=True, kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "30m",
    draft_size: str = "2m", acceptance: float = 0.8, prompts: int = 30, tokens: int = 96,
    timed_tokens: int = 32,
) -> Prepared:  # fmt: skip
    """`acceptance`: how often the draft is right; `prompts` of `tokens` each are counted."""
    from tilth.serving.model_runner import ModelRunner

    smoke = scale == "smoke"
    if smoke:
        size, draft_size, prompts, tokens, timed_tokens = "200k", "60k", 2, 24, 8
    micro = ModelRunner(_built("100k", 0)), ModelRunner(_built("60k", 1))
    large = ModelRunner(_built(size, 2)), ModelRunner(_built(draft_size, 3))
    folder = None if smoke else _folder(draft_size)
    inputs = Inputs(micro, large, folder, acceptance, prompts, tokens, timed_tokens,
                    2 if smoke else 9, seed, 300 if smoke else 4000)  # fmt: skip
    return Prepared(inputs)


@functools.lru_cache(maxsize=4)
def _built(size: str, seed: int) -> Any:
    from tilth.models.decoder import build

    return build(size, vocabulary=400, context=256, seed=seed)


@functools.lru_cache(maxsize=1)
def _kept(size: str) -> Any:
    return _pearl_arms.saved(_built(size, 3))


def _folder(size: str) -> Any:
    return _kept(size)[1]


ARMS = {
    PLAIN: plain_arm,
    "plain, two threads": functools.partial(plain_arm, count=2),
    TURNS: arm(False, False, "turns"),
    "by turns, two threads": arm(False, False, "turns", 2),
    "by turns, pearl's length": arm(False, False, "balanced"),
    PEARL: arm(True, True, "balanced"),
    "pearl, expected best length": arm(True, True, "best"),
    "no pre-verify": arm(False, True, "balanced"),
    "no post-verify": arm(True, False, "balanced"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Equal tokens, and the target's distribution."""
    yield from _pearl_arms.checked(inputs, measured)
