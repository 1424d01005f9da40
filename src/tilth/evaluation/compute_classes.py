"""Models compared at equal compute (Stanic et al., 2023, "The Languini Kitchen").

Tokens are no fair budget between architectures, since some read many more in a second. So: measure
once how many tokens of training a second buys for each contender, turn each compute class, in
seconds, into tokens, train a fresh model for each class (the schedule ends with its class, so a
longer training is no help), and look at the loss on text that nobody trained on, by the byte, since
vocabularies may differ, and at its trend.

    contenders = [Contender("GPT", lambda seed: decoder.build("1m", ...)), ...]
    found = compare(contenders, Causal(length=128), train, test, seconds=(60, 120, 240), seeds=3)
    print(found.table())

Seconds are processor seconds of this process, on however many threads: wall time moves with what
else the machine does. They still move with caches and clocks, so that the shares of the budget
really spent are given. Figures hold for this machine, as those of the paper for theirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.scaling import crossing, describe, fit_trend
from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenSource
from tilth.training.loop import Point, fit
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_STEPS = 12
ROUNDS = 3
# A learning claim on less says little.
TOKENS_PER_PARAMETER = 2


@dataclass(frozen=True)
class Contender:
    """A model to compare: `build(seed)` makes it with random weights."""

    name: str
    build: Callable[[int], PreTrainedModel]
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class Throughput:
    """Tokens of training that a processor second buys, in micro-batches of so many tokens."""

    tokens_per_second: float
    micro_batch_tokens: int


@dataclass(frozen=True)
class Trained:
    """One training: what it was given, what it took, and how it does on held-out documents."""

    seconds: float
    tokens: int
    spent: float
    flops: float
    bits: np.ndarray
    bytes: np.ndarray

    @property
    def bits_per_byte(self) -> float:
        return float(self.bits.sum() / self.bytes.sum())


def normalised_perplexity(nats: float, size: int) -> float:
    """exp(sum of negative log-likelihoods / UTF-8 bytes of exactly the scored text)."""
    return math.exp(nats / size)


def measure_throughput(
    contenders: Sequence[Contender],
    objective: Objective,
    data: TokenSource,
    *,
    batch_tokens: int = 1024,
    rounds: int = ROUNDS,
    threads: int | None = 1,
) -> dict[str, Throughput]:
    """The best of the sizes of micro-batch for each contender, all in turn, by the loop itself.

    The first step of a probe does not count; the median of the others does, and of the rounds.
    """
    seen: dict[tuple[str, int], list[float]] = {}
    sizes = sorted({max(objective.length, batch_tokens // part) for part in (1, 2)})
    for _ in range(rounds):
        for contender in contenders:
            for size in sizes:
                model = contender.build(0)
                found = probe(model, objective, data, batch_tokens, size, threads)
                seen.setdefault((contender.name, size), []).append(found)
    best = {}
    for contender in contenders:
        rates = [(float(np.median(seen[contender.name, size])), size) for size in sizes]
        best[contender.name] = Throughput(*max(rates))
    return best


def probe(
    model: PreTrainedModel, objective: Objective, data: TokenSource, batch_tokens: int,
    micro_batch_tokens: int, threads: int | None = 1, steps: int = PROBE_STEPS,
) -> float:  # fmt: skip
    """Tokens a processor second, from a short training of `model`."""
    stamps: list[float] = []

    def stamp(_: Point) -> None:
        stamps.append(time.process_time())

    rows = batch_tokens // objective.length
    tokens = steps * rows * objective.length
    fit(model, objective, data, tokens=tokens, batch_tokens=batch_tokens, on_step=stamp,
        micro_batch_tokens=micro_batch_tokens, minimum_steps=2, threads=threads)  # fmt: skip
    return rows * objective.length / max(1e-9, float(np.median(np.diff(stamps))))


def train_class(
    contender: Contender,
    objective: Objective,
    train: TokenSource,
    test: TokenSource,
    rate: Throughput,
    seconds: float,
    *,
    batch_tokens: int = 1024,
    seed: int = 0,
    threads: int | None = 1,
    length: int | None = None,
    progress: Progress = silent,
) -> Trained:
    """Train a fresh model for one class and score it.

    `length`: of the windows that are scored, by default the rows'. Raises UsageError where the
    class buys too few steps.
    """
    model = contender.build(seed)
    began = time.process_time()
    history = fit(
        model, objective, train, tokens=int(rate.tokens_per_second * seconds),
        batch_tokens=batch_tokens, micro_batch_tokens=rate.micro_batch_tokens,
        learning_rate=contender.learning_rate, seed=seed, threads=threads, progress=progress,
    )  # fmt: skip
    spent = time.process_time() - began
    scored = bits_per_byte(model, test, length=length or objective.length)["per_document"]
    plan = history.plan
    bits, size = np.array(scored["bits"]), np.array(scored["bytes"], float)
    return Trained(seconds, plan["tokens"], spent, plan["flops"], bits, size)


@dataclass
class Comparison:
    """Bits per byte of each contender: `losses[name][seed][class]`; what went into them."""

    seconds: tuple[float, ...]
    rates: dict[str, Throughput]
    parameters: dict[str, int]
    trained: dict[str, list[list[Trained]]] = field(default_factory=dict)

    @property
    def losses(self) -> dict[str, list[list[float]]]:
        return {
            name: [[one.bits_per_byte for one in run] for run in runs]
            for name, runs in self.trained.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """A JSON value: losses, trends with their ranges, tokens, shares of the budget spent."""
        trends = describe(self.seconds, self.losses) if len(self.seconds) > 2 else {}
        return {
            "seconds": list(self.seconds),
            "contenders": {
                name: {
                    "parameters": self.parameters[name],
                    "tokens_per_second": round(self.rates[name].tokens_per_second),
                    "tokens": [one.tokens for one in runs[0]],
                    "spent": [[round(one.spent / one.seconds, 3) for one in run] for run in runs],
                    "bits_per_byte": self.losses[name],
                    "trend": {key: list(value) for key, value in trends.get(name, {}).items()},
                }
                for name, runs in self.trained.items()
            },
        }

    def table(self) -> str:
        """What a person wants to know: a line a contender and class, then trends and crossings."""
        lines = [f"{'':16}{'seconds':>9}{'tokens':>12}{'spent':>8}{'bits/byte':>11}{'ppl':>8}"]
        for name, runs in self.trained.items():
            for number, seconds in enumerate(self.seconds):
                mean = float(np.mean([run[number].bits_per_byte for run in runs]))
                spent = float(np.mean([run[number].spent / seconds for run in runs]))
                perplexity = normalised_perplexity(mean * math.log(2), 1)
                tokens = runs[0][number].tokens
                few = tokens < TOKENS_PER_PARAMETER * self.parameters[name]
                lines.append(
                    f"{name:16}{seconds:>9g}{tokens:>12,}{spent:>8.0%}{mean:>11.4f}"
                    f"{perplexity:>8.3f}" + ("  few tokens for its size" if few else "")
                )
        return "\n".join([*lines, *self._trends()])

    def _trends(self) -> list[str]:
        if len(self.seconds) < 3:
            return ["a trend needs at least 3 classes"]
        lines, fitted = [], {}
        for name, found in describe(self.seconds, self.losses).items():
            fitted[name] = fit_trend(self.seconds, np.mean(self.losses[name], 0))
            a, c = found["a"], found["c"]
            lines.append(
                f"{name}: bits per byte = a + b C^-c with a = {a.value:.3f} ({a.low:.3f} to "
                f"{a.high:.3f}), c = {c.value:.3f} ({c.low:.3f} to {c.high:.3f})"
            )
        names = list(fitted)
        for place, one in enumerate(names):
            for other in names[place + 1 :]:
                where = crossing(fitted[one], fitted[other], max(self.seconds))
                said = "no crossing in sight" if math.isinf(where) else f"about {where:,.0f} s"
                lines.append(f"{one} and {other} cross beyond the largest class: {said}")
        return lines


def compare(
    contenders: Sequence[Contender],
    objective: Objective,
    train: TokenSource,
    test: TokenSource,
    *,
    seconds: Sequence[float] = (60, 120, 240, 480),
    seeds: int = 3,
    batch_tokens: int = 1024,
    threads: int | None = 1,
    progress: Progress = silent,
) -> Comparison:
    """Train every contender for every class and seed; `test` shares no document with `train`.

    Raises UsageError for two contenders of one name, and for a class of too few steps.
    """
    from tilth.models.decoder import count_parameters

    if len({contender.name for contender in contenders}) != len(contenders):
        raise UsageError("two contenders have the same name")
    classes = tuple(sorted(float(one) for one in seconds))
    options: dict[str, Any] = {"batch_tokens": batch_tokens, "threads": threads}
    rates = measure_throughput(contenders, objective, train, **options)
    sizes = {one.name: count_parameters(one.build(0)) for one in contenders}
    found = Comparison(classes, rates, sizes)
    jobs = [(seed, one) for seed in range(seeds) for one in contenders]
    for number, (seed, contender) in enumerate(jobs):
        progress("compare", number, len(jobs))
        runs = [
            train_class(contender, objective, train, test, rates[contender.name], one, seed=seed,
                        **options)
            for one in classes
        ]  # fmt: skip
        found.trained.setdefault(contender.name, []).append(runs)
    progress("compare", len(jobs), len(jobs))
    return found
