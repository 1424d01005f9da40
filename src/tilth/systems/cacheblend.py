"""CacheBlend: caches of chunks that were read apart become one, and a few tokens are run again.

Yao, Li, Liu, Ray, Cheng, Zhang, Du, Lu and Jiang (2024; EuroSys 2025). The share of tokens whose
values changed most is run again with the question. Compared with a full reading, with joining the
caches as they are, with as many tokens at random, and, for time, with keeping the first chunk.

Chunks are made: who works where, which firm sits where, and a question that needs a line of two
chunks. The model learns the task here, and if it did not, nothing is decided. Time is that of 30 M
random weights, four chunks of 256 tokens and a question of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.serving.edits.cacheblend import blend, rerun
from tilth.serving.edits.reading import read
from tilth.serving.model_runner import ModelRunner
from tilth.systems import _blended_chunks as given
from tilth.systems import _two_hop as task
from tilth.systems._blended_chunks import HEAD, Inputs
from tilth.systems._edited_files import KL, RIGHT, SECONDS

CARD = Card(
    slug="cacheblend",
    title="CacheBlend: Fast Large Language Model Serving for RAG with Cached Knowledge Fusion",
    year=2024,
    family="serving",
    claim="Joined caches of chunks that were read apart answer as a full reading does, at a part "
    "of its time, when the sixth of the tokens whose values changed most is run again.",
    part="tilth.serving.edits.cacheblend.Blender(engine).blend(passages, question)",
    modules=(
        "tilth.serving.edits.cacheblend", "tilth.serving.edits.reading",
        "tilth.serving.kernels", "tilth.serving.model_runner", "tilth.serving.products",
        "tilth.systems._blended_chunks", "tilth.systems._edited_files", "tilth.systems._two_hop",
    ),
    arxiv="2405.16444",
    simulated="chunks of facts and questions; the timed chunks and their model",
    when="Passages come again in other company and order, some hundred tokens and more together.",
    when_not="Texts begin alike: prefix sharing is exact and cheaper.",
    not_covered="Stores on slow disks and loading behind the computation; shares that fall from "
    "layer to layer; real passages and models that know them.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=KL, method="share 0.16", baseline="random 0.16", direction=-1, margin=1.0,
          relative=True, kind="counted", primary=True),
    Claim(metric=KL, method="share 0.05", baseline="joined", direction=-1, margin=0.0,
          kind="counted", unit="nats"),
    Claim(metric=KL, method="share 0.16", baseline="share 0.05", direction=-1, margin=0.0,
          kind="counted", unit="nats"),
    Claim(metric=KL, method="share 0.3", baseline="share 0.16", direction=-1, margin=0.0,
          kind="counted", unit="nats"),
    Claim(metric=RIGHT, method="share 0.16", baseline="full", margin=-0.02, kind="counted"),
    Claim(metric=RIGHT, method="share 0.16", baseline="joined", margin=0.0, kind="counted"),
    Claim(metric=SECONDS, method="share 0.16", baseline="full", direction=-1, margin=1.0,
          relative=True, kind="timed"),
    Claim(metric=SECONDS, method="share 0.16", baseline="first chunk kept", direction=-1,
          margin=0.0, relative=True, kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, cases: int = 200,
    tokens: int = task.TOKENS,
) -> Prepared:  # fmt: skip
    """`cases` a seed; `tokens` for the model to learn the task from, once for all seeds."""
    smoke = scale == "smoke"
    made, source = task.base(smoke, tokens)
    cases = 4 if smoke else cases
    runner = ModelRunner(made)
    some = given.cases(seed, cases)
    inputs = Inputs(runner, some, given.full_readings(runner, some), given.timed(smoke))
    return Prepared(inputs, models=(source,))


def arm(join: given.Join) -> Callable[[Inputs, int], Measured]:
    return lambda inputs, seed: given.scores(inputs, seed, join)


ARMS = {
    "full": arm(given.anew),
    "first chunk kept": arm(given.prefix),
    "joined": arm(given.blended(0.0)),
    "random 0.16": arm(given.blended(0.16, at_random=True)),
    "share 0.05": arm(given.blended(0.05)),
    "share 0.16": arm(given.blended(0.16)),
    "share 0.3": arm(given.blended(0.3)),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """What is exact: a share of 1, the first layer, the first chunk; nothing of it is chosen."""
    import torch

    runner, chunks, suffix = inputs.timed.runner, inputs.timed.chunks, inputs.timed.suffix
    cache = runner.cache(400, share=False)
    text = [*HEAD, *(one for ids, _ in chunks for one in ids), *suffix]
    fresh = cache.slice(read(runner, cache, text).chain)

    def near(found: Any, layers: int | None = None, stop: int | None = None) -> bool:
        return all(
            torch.allclose(a[:layers, :stop], b[:layers, :stop], atol=1e-5)
            for a, b in ((found.keys, fresh.keys), (found.values, fresh.values))
        )

    whole = blend(runner, cache, chunks, suffix, head=HEAD, share=1.0)
    yield Invariant("a share of 1 is a full reading", near(cache.slice(whole.chain)))
    joined = blend(runner, cache, chunks, suffix, head=HEAD, share=0.0)
    rows = cache.slice(joined.chain)
    exact = len(HEAD) + len(chunks[0][0])
    yield Invariant("the first layer is that of a full reading", near(rows, layers=1))
    yield Invariant("the first chunk is that of a full reading", near(rows, stop=exact))
    context = range(1, len(text) - len(suffix))
    _, kept, _ = rerun(runner, cache, joined.chain, text, context, 0.16, range(len(text))[-16:])
    yield Invariant("nothing of the first chunk is chosen", min(kept) >= exact)
