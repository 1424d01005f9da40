"""PEARL: parallel speculative decoding with adaptive draft length.

Liu, Li, Lv et al. (2024). A small model drafts while the large one reads, so that neither waits for
the other; drafts follow each other as long as they are kept. Beside it: plain decoding, decoding by
turns with the best of three lengths, the paper's two ablations, and the first two with both cores.

Rounds are counted with a zoo model of Python code and the draft distilled from it, and reckoned
with measured costs of 30 and 138 M parameters; with 30 M the same is timed by the clock, with the
draft in a process of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, ModelSource, Prepared
from tilth.systems import _pearl_arms
from tilth.systems._pearl_arms import RECKONED, RUN, TRIAL, WALL, Inputs, arm, plain_arm

CARD = Card(
    slug="pearl",
    title="PEARL: Parallel Speculative Decoding with Adaptive Draft Length",
    year=2024,
    family="serving",
    claim="A draft model that works while the target reads gives exactly the target's texts, and "
    "faster than a draft and a target that take turns.",
    part='tilth generate MODEL "text" --draft SMALL_MODEL --strategy pearl',
    modules=(
        "tilth.serving.compiled", "tilth.serving.kernels", "tilth.serving.model_runner",
        "tilth.serving.products", "tilth.serving.strategies.acceptance",
        "tilth.serving.strategies.drafting", "tilth.serving.strategies.length",
        "tilth.serving.strategies.remote", "tilth.serving.strategies.speculative",
        "tilth.serving.strategies.stream", "tilth.systems._pearl_arms", "tilth.systems._threads",
    ),
    simulated="models with random weights, for time; by the clock, which drafted tokens are right, "
    "as often as the distilled draft's",
    when="One request at a time, a second core that idles, and a draft of the same tokenizer that "
    "is much faster than the model and often right.",
    when_not="Many requests at once, a busy machine, or a draft that is wrong every other time: "
    "a row of several tokens is not free on a processor.",
    not_covered="Sampled answers but for their distribution; several requests with drafts in one "
    "row; trees of drafts; drafts on another device.",
)  # fmt: skip

PEARL, TURNS, PLAIN = "pearl", "by turns", "plain"
BEST, LARGER = "pearl, expected best length", f"{RECKONED}, 138 M"
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
    Claim(metric=RECKONED, method=BEST, baseline=TURNS, direction=-1, margin=0.0, relative=True,
          kind="timed"),
    Claim(metric=LARGER, method=PEARL, baseline=TURNS, direction=-1, margin=0.0, relative=True,
          kind="timed"),
    Claim(metric=LARGER, method=PEARL, baseline=PLAIN, direction=-1, margin=0.5, relative=True,
          kind="timed"),
    Claim(metric=LARGER, method=BEST, baseline=TURNS, direction=-1, margin=0.0, relative=True,
          kind="timed"),
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
    draft_size: str = "2m", prompts: int = 20, prompt: int = 24, tokens: int = 96,
    timed_tokens: int = 32,
) -> Prepared:  # fmt: skip
    """`prompts` of `prompt` tokens, from code that no model has read, have answers of `tokens`."""
    from tilth.serving.model_runner import ModelRunner

    if scale == "smoke":
        pair = ModelRunner(_built("100k", 0)), ModelRunner(_built("60k", 1))
        large = ModelRunner(_built("200k", 2)), ModelRunner(_built("60k", 3))
        asked = [_pearl_arms.prompt(pair[0], number) for number in range(2 + TRIAL)]
        return Prepared(Inputs(pair, large, {RECKONED: large, LARGER: pair}, None, 0.8, asked, 2,
                               24, 8, 2, seed, 300))  # fmt: skip
    pair, asked, models, sources = _zoo(seed, prompt, prompts + TRIAL)
    large = ModelRunner(_built(size, 2)), ModelRunner(_built(draft_size, 3))
    larger = ModelRunner(_built("138m", 4)), ModelRunner(_built("7m", 5))
    inputs = Inputs(pair, large, {RECKONED: large, LARGER: larger}, _kept(draft_size)[1], None,
                    asked, prompts, tokens, timed_tokens, 9, seed, 2000)  # fmt: skip
    return Prepared(inputs, data=sources, models=models)


def _zoo(seed: int, length: int, count: int) -> tuple[Any, ...]:
    """The target, its draft, and how documents begin that neither has read."""
    import numpy as np

    runners, models, unread, sources = _trained()
    held_out = np.flatnonzero(unread.lengths >= length)
    chosen = np.random.default_rng(seed).permutation(held_out)[:count]
    asked = [[int(id) for id in unread.document(int(at))[:length]] for at in chosen]
    return runners, asked, models, sources


@functools.lru_cache(maxsize=1)
def _trained() -> tuple[Any, ...]:
    from tilth import zoo
    from tilth.models.folder import load_model
    from tilth.serving.model_runner import ModelRunner

    pair = [zoo.model(name) for name in ("gpt-python-target", "gpt-python-draft")]
    runners = tuple(ModelRunner(load_model(one.folder, "causal")) for one in pair)
    models = tuple(ModelSource(one.name, one.digest, one.gate) for one in pair)
    return runners, models, zoo.tokens(pair[0].name, "test"), pair[0].sources


@functools.lru_cache(maxsize=6)
def _built(size: str, seed: int) -> Any:
    from tilth.models.decoder import build

    return build(size, vocabulary=400, context=256, seed=seed)


@functools.lru_cache(maxsize=1)
def _kept(size: str) -> Any:
    return _pearl_arms.saved(_built(size, 3))


ARMS = {
    PLAIN: plain_arm,
    "plain, two threads": functools.partial(plain_arm, count=2),
    TURNS: arm(False, False, "turns"),
    "by turns, two threads": arm(False, False, "turns", 2),
    "by turns, pearl's length": arm(False, False, "balanced"),
    PEARL: arm(True, True, "balanced"),
    BEST: arm(True, True, "best"),
    "no pre-verify": arm(False, True, "balanced"),
    "no post-verify": arm(True, False, "balanced"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Equal tokens, and the target's distribution."""
    yield from _pearl_arms.checked(inputs, measured)
