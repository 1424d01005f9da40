"""Superposed decoding: several short drafts for the time of one.

Shen, Wallingford, Lee, Park et al. (2024). The model reads a weighted sum of the drafts' last
tokens; n-grams of a text tell the drafts apart. Beside it: as many nucleus samples one after the
other, the paper's baseline, and the same in one batch, which shares products too and stays exact.

Time is that of the processor on 30 M parameters with random weights, with one thread. Quality is
judged by the model itself, on novels, where the zoo's model has passed its gate.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, ModelSource, Prepared
from tilth.systems import _superposed_arms
from tilth.systems._superposed_arms import (
    NATS,
    SECONDS,
    STEP,
    Inputs,
    arm,
    greedy,
    nucleus,
    superposed,
)

CARD = Card(
    slug="superposed",
    title="Superposed Decoding: Multiple Generations from a Single Autoregressive Inference Pass",
    year=2024,
    family="serving",
    claim="Several drafts of an answer come from one stream of the model, at least 2.4 times as "
    "fast for three as from three runs, and are about as good.",
    part='tilth generate MODEL "text" --drafts 3',
    modules=(
        "tilth.serving.compiled", "tilth.serving.kernels", "tilth.serving.model_runner",
        "tilth.serving.products", "tilth.serving.strategies.ngrams",
        "tilth.serving.strategies.stream", "tilth.serving.strategies.superposed",
        "tilth.systems._superposed_arms", "tilth.systems._threads",
    ),
    arxiv="2405.18400",
    simulated="models with random weights, for time",
    when="A few short suggestions for one prompt, where the time of a single stream counts.",
    when_not="Long or exact answers; samples; several prompts at once: a batch is exact and costs "
    "little more.",
    not_covered="Users' preferences, facts, beam search; resetting the mixture during an answer.",
)  # fmt: skip

SUPERPOSED, RUNS, BATCH, GREEDY = "superposed", "one run after the other", "one batch", "greedy"
ONE, EIGHT = "superposed, one draft", "superposed, eight drafts"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=SECONDS, method=SUPERPOSED, baseline=RUNS, direction=-1, margin=1.4,
          relative=True, kind="timed", primary=True, paper=1.44),
    Claim(metric=SECONDS, method=SUPERPOSED, baseline=BATCH, direction=-1, margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=SECONDS, method=BATCH, baseline=RUNS, direction=-1, margin=0.0, relative=True,
          kind="timed"),
    Claim(metric=STEP, method=EIGHT, baseline=ONE, direction=-1, margin=-0.1, relative=True,
          kind="timed"),
    Claim(metric=NATS, method=SUPERPOSED, baseline=BATCH, direction=-1, margin=0.0,
          kind="counted"),
    Claim(metric=NATS, method=SUPERPOSED, baseline=GREEDY, direction=-1, margin=-0.1,
          kind="counted"),
)  # fmt: skip

# What is judged where no model of novels has passed its gate.
NONE: tuple[Any, ...] = (None, None, [], (), ())


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "30m", drafts: int = 3,
    tokens: int = 10, prompt: int = 15, prompts: int = 100,
) -> Prepared:  # fmt: skip
    """`prompts` of `prompt` tokens are judged; three are timed."""
    import numpy as np

    from tilth.serving.strategies.ngrams import Grams
    from tilth.zoo.micro import tiny

    smoke = scale == "smoke"
    built = _engine("200k" if smoke else size)
    texts = tiny()[2]
    grams = Grams([texts.document(number) for number in range(len(texts))])
    drawn = np.random.default_rng(seed).integers(3, 400, (3, prompt))
    timed = [[int(id) for id in row] for row in drawn]
    novels = NONE if smoke else _novels(seed, prompt, prompts)
    judged, known, asked, models, sources = novels
    inputs = Inputs(built, grams, timed, judged, known, asked, tokens, drafts)
    return Prepared(inputs, data=sources, models=models)


@functools.lru_cache(maxsize=1)
def _engine(size: str) -> Any:
    from tilth.models.decoder import build
    from tilth.serving.engine import Engine
    from tilth.zoo.micro import tiny

    built = build(size, vocabulary=400, context=256)
    return Engine(built, tiny()[1], share=False)


def _novels(seed: int, length: int, count: int) -> tuple[Any, ...]:
    """The zoo's model of novels and prompts from held-out ones; nothing where it missed its gate,
    or was not built."""
    import numpy as np

    from tilth import zoo
    from tilth.serving.engine import Engine
    from tilth.serving.strategies.ngrams import Grams

    found = zoo.find("gpt-books")
    if found is None or not found.gate:
        return NONE
    read, unread = zoo.tokens("gpt-books"), zoo.tokens("gpt-books", "test")
    grams = Grams([read.document(number) for number in range(len(read))])
    held_out = [unread.document(number) for number in range(len(unread))]
    held_out = [one for one in held_out if len(one) > length]
    chosen = np.random.default_rng(seed).permutation(len(held_out))[:count]
    asked = [[int(id) for id in held_out[at][:length]] for at in chosen]
    source = ModelSource(found.name, found.digest, found.gate)
    return Engine(found.folder), grams, asked, (source,), found.sources


ARMS = {
    SUPERPOSED: arm(superposed),
    ONE: arm(superposed, 1),
    EIGHT: arm(superposed, 8),
    RUNS: arm(nucleus(False)),
    BATCH: arm(nucleus(True)),
    GREEDY: arm(greedy),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Greedy as the limit, and what the cache is like afterwards."""
    yield from _superposed_arms.checked(inputs)
