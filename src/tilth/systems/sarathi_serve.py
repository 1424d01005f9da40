"""Sarathi-Serve: no answer that runs waits for somebody's prompt.

Agrawal, Kedia, Panwar, Mohan, Kwatra, Gulavani, Tumanov and Ramjee (2024). Each row takes all
decodes first, then chunks of prompts up to a budget of tokens that is set by a goal for the time
between tokens. Measured: capacity, the highest rate of arrivals at which the 99th percentile of
gaps between tokens keeps to the goal and the median wait to two seconds; in virtual time over the
costs measured here, for lengths of real prompts and answers. Beside the paper's rivals stands a
simpler one of ours: whole prompts beside decodes, one prompt a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.serving.scheduler import Policy
from tilth.systems._serving_capacity import (
    LONGEST,
    RELAXED,
    SEQUENCES,
    STRICT,
    Inputs,
    arm,
    no_stall,
)
from tilth.systems._serving_loads import costs_of, made_lengths, real_lengths, same_tokens

CARD = Card(
    slug="sarathi-serve",
    title="Taming Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve",
    year=2024,
    family="serving",
    claim="Rows of a budget, with all decodes first and chunks of prompts behind them, bear more "
    "requests a second within a bound on the time between tokens.",
    part='Engine(MODEL, policy="stall_free", row=table.budget(goal, decodes=32, context=300))',
    modules=(
        "tilth.serving.compiled", "tilth.serving.cost_table", "tilth.serving.kernels",
        "tilth.serving.load", "tilth.serving.model_runner", "tilth.serving.products",
        "tilth.serving.scheduler", "tilth.serving.virtual", "tilth.systems._serving_capacity",
        "tilth.systems._serving_loads",
    ),
    model_kind="causal",
    arxiv="2403.02310",
    simulated="arrivals (Poisson); capacity in virtual time over measured costs",
    when="A server with a bound on the time between tokens, and prompts long beside it.",
    when_not="Prompts are short beside the bound, or only the whole throughput counts.",
    not_covered="Several devices; chunks that shrink as a prompt is read.",
)  # fmt: skip

# Margins, factors less one, and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=STRICT, method="stall-free", baseline="prefill first", margin=0.3, relative=True,
          kind="timed", primary=True),
    Claim(metric=STRICT, method="stall-free", baseline="orca", margin=0.3, relative=True,
          kind="timed"),
    Claim(metric=STRICT, method="stall-free", baseline="orca, one prompt", margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=STRICT, method="stall-free", baseline="request level", margin=0.3, relative=True,
          kind="timed"),
    Claim(metric=RELAXED, method="stall-free", baseline="prefill first", margin=0.0,
          relative=True, kind="timed"),
    Claim(metric=LONGEST, method="stall-free", baseline="orca", direction=-1, margin=0.0,
          kind="timed"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "23m", requests: int = 90,
    real: int = 8, sets: str = "gsm8k,mts-dialog",
) -> Prepared:  # fmt: skip
    """Lengths of `requests` from the named sets of pairs; costs are measured anew for each seed."""
    if scale == "smoke":
        table = costs_of(scale, "tiny", model)
        return Prepared(Inputs(table, made_lengths(10, seed), 32, 3, "tiny", model))
    lengths, sources = real_lengths(sets.split(","), requests, seed)
    table = costs_of(scale, size, model)
    return Prepared(Inputs(table, lengths, 256, real, size, model), data=sources)


ARMS = {
    "stall-free": arm("stall_free"),
    "prefill first": arm("prefill_first"),
    "orca": arm("orca"),
    "orca, one prompt": arm(Policy(mixed=True, prompts=1)),
    "request level": arm("request_level"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Equal tokens on a tiny model; batches of virtual time and of the engine; no stall."""
    yield from same_tokens(("stall_free", "orca", "prefill_first", "request_level"))
    for name, found in measured.items():
        if "same" in found.products:
            yield Invariant(f"{name}: real and virtual batches are equal", found.products["same"])
    made = measured["stall-free"].products
    sums = [sum(count for _, count, _ in step.work) for step in made["steps"]]
    yield Invariant("rows keep to the budget", max(sums) <= max(made["row"], SEQUENCES))
    yield Invariant("no running answer waits", no_stall(made["steps"]))
