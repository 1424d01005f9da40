"""Sarathi: prompts in chunks, with decodes that ride along.

Agrawal, Panwar, Mohan, Kwatra, Gulavani and Ramjee (2023). A row that reads prompts is bound by
computing, a row of decodes by reading the weights; one chunk of a prompt and as many decodes as the
row has room for use both. Measured: what a decode costs that rides along, beside one in a row of
decodes only; and the time for a batch of requests, over ratios of prompt to answer, in virtual time
over the costs measured here. Orca's whole prompts beside decodes are the strongest simple rival:
without a bound on latency, they have the same free ride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.serving.cost_table import CostTable
from tilth.serving.load import serve
from tilth.serving.virtual import Ask, Virtual
from tilth.systems._serving_loads import chunked_cache, costs_of, same_tokens

CARD = Card(
    slug="sarathi",
    title="SARATHI: Efficient LLM Inference by Piggybacking Decodes with Chunked Prefills",
    year=2023,
    family="serving",
    claim="A decode that rides along with a chunk of a prompt costs a fraction of one in a row of "
    "decodes, so that a batch of requests is done sooner.",
    part='Engine(MODEL, policy="decode_maximal", row=256)',
    modules=(
        "tilth.serving.compiled", "tilth.serving.cost_table", "tilth.serving.kernels",
        "tilth.serving.load", "tilth.serving.model_runner", "tilth.serving.products",
        "tilth.serving.scheduler", "tilth.serving.virtual", "tilth.systems._serving_loads",
    ),
    model_kind="causal",
    arxiv="2308.16369",
    simulated="requests of set lengths; the steps' order in virtual time over measured costs",
    when="Prompts and answers of many requests come together, and few decodes run at once.",
    when_not="Nobody waits for single tokens and whole prompts can ride with decodes as well: "
    "chunks then read the cache again for nothing.",
    not_covered="Pipelines over several devices and their bubbles.",
)  # fmt: skip

RIDE, TIME = "seconds a decode, 4 in a row", "seconds for all requests"
RIDE16 = "seconds a decode, 16 in a row"
# Margins, factors less one, and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=RIDE, method="decode-maximal", baseline="request level", direction=-1,
          margin=2.33, relative=True, kind="timed", primary=True),
    Claim(metric=RIDE16, method="decode-maximal", baseline="request level", direction=-1,
          margin=2.33, relative=True, kind="timed"),
    Claim(metric=TIME, method="decode-maximal", baseline="request level", direction=-1,
          margin=0.1, relative=True, kind="timed"),
    Claim(metric=TIME, method="decode-maximal", baseline="prefill first", direction=-1,
          margin=0.0, relative=True, kind="timed"),
    Claim(metric=TIME, method="decode-maximal", baseline="orca", direction=-1, margin=-0.02,
          relative=True, kind="timed"),
)  # fmt: skip

# Prompt tokens over answer tokens; a request has LENGTH of both together.
RATIOS, LENGTH = (1, 3, 10, 30, 50), 512


@dataclass(frozen=True)
class Inputs:
    """`asks`: a closed batch for each ratio. `row`: tokens of a chunk with its decodes."""

    table: CostTable
    asks: list[list[Ask]]
    row: int
    sequences: int
    context: int


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "23m", requests: int = 32,
    row: int = 256, sequences: int = 16,
) -> Prepared:  # fmt: skip
    """`requests` of each ratio, lengths a quarter around the mean; costs are measured anew for each
    seed, on random weights of this size or on one's own model."""
    import numpy as np

    length, context = LENGTH, LENGTH // 2
    if scale == "smoke":
        size, requests, row, sequences, length, context = "tiny", 4, 48, 4, 64, 32
    rng = np.random.default_rng(seed)
    asks = []
    for ratio in RATIOS:
        answer = length / (1 + ratio)
        factors = rng.uniform(0.75, 1.25, (requests, 2))
        asks.append([Ask(max(1, round(answer * ratio * p)), max(1, round(answer * a)))
                     for p, a in factors])  # fmt: skip
    table = costs_of(scale, size, model)
    return Prepared(Inputs(table, asks, row, sequences, context))


def decode_seconds(inputs: Inputs, count: int, ride: bool) -> float:
    """What one of `count` decodes costs, alone with its like, or beside a chunk that is read
    anyway."""
    decodes = [(1, inputs.context // 2 + 3 * n) for n in range(count)]
    if not ride:
        return inputs.table.row(decodes) / count
    chunk = (inputs.row - count, 0)
    return (inputs.table.row([chunk, *decodes]) - inputs.table.row([chunk])) / count


def arm(policy: str) -> Callable[[Inputs, int], Measured]:
    """The arm that schedules by this policy."""

    def run(inputs: Inputs, seed: int) -> Measured:
        seconds, steps = [], []
        for asks in inputs.asks:
            server = Virtual(inputs.table.row, policy, row=inputs.row, sequences=inputs.sequences)
            served = serve(server, asks, at_once=len(asks))
            seconds.append(served.metrics().seconds)
            steps += served.steps
        ride = policy in ("decode_maximal", "orca")
        found: dict[str, Any] = {f"{TIME}, {ratio}:1": one for ratio, one in zip(RATIOS, seconds)}
        found |= {TIME: sum(seconds), "error of the fitted costs": inputs.table.error,
                  RIDE: decode_seconds(inputs, 4, ride),
                  RIDE16: decode_seconds(inputs, 16, ride)}  # fmt: skip
        tokens = sum(sum(count for _, count, _ in step.work) for step in steps)
        return Measured(found, tokens=tokens, products={"steps": steps})

    return run


ARMS = {
    "decode-maximal": arm("decode_maximal"),
    "request level": arm("request_level"),
    "prefill first": arm("prefill_first"),
    "orca": arm("orca"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Equal tokens and caches on a tiny model; the form of a row in the measured arms."""
    yield from same_tokens(("decode_maximal", "request_level", "prefill_first", "orca"))
    yield chunked_cache()
    steps = measured["decode-maximal"].products["steps"]
    chunks = [sum(count > 1 for _, count, _ in step.work) for step in steps]
    yield Invariant("at most one chunk in a row", max(chunks) <= 1)
    spent = {arm: found.tokens for arm, found in measured.items()}
    yield Invariant("all arms run the same tokens", len(set(spent.values())) == 1)
