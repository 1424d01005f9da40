"""The arms of the system `languini`: a model trained anew for each class, and how it does."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tilth.errors import UsageError
from tilth.evaluation.card import Measured, Ratio
from tilth.evaluation.compute_classes import (
    Contender,
    Throughput,
    Trained,
    measure_throughput,
    normalised_perplexity,
    probe,
    train_class,
)
from tilth.evaluation.scaling import fit_trend, gain_per_doubling
from tilth.models.decoder import build as build_gpt
from tilth.models.decoder import count_parameters
from tilth.models.recurrent import build as build_recurrent
from tilth.objectives.causal import Causal
from tilth.store.digest import digest
from tilth.systems._languini_texts import Texts

LARGEST = "bits per byte, largest class"
GAIN = "bits per byte gained per doubling"
SPEED = "tokens per second"
BATCH_TOKENS = 1024
# 0.006 was the best of 0.003 to 0.04 for each, on training novels that the tuning did not see.
RATES = {"GPT": 6e-3, "quasi-LSTM": 6e-3, "LSTM": 6e-3}


@dataclass(frozen=True)
class Inputs:
    """Texts, the classes in seconds, contenders by name and what a second buys for each."""

    texts: Texts
    objective: Causal
    seconds: tuple[float, ...]
    contenders: Mapping[str, Contender]
    rates: Mapping[str, Throughput]
    batch_tokens: int = BATCH_TOKENS


def contenders(size: str, vocabulary: int, length: int, rate: float = 1.0) -> dict[str, Contender]:
    """The three models of one size; `rate` multiplies their learning rates."""
    makers = {
        "GPT": functools.partial(build_gpt, size, vocabulary=vocabulary, context=length),
        "quasi-LSTM": functools.partial(build_recurrent, "quasi_lstm", size, vocabulary=vocabulary),
        "LSTM": functools.partial(build_recurrent, "lstm", size, vocabulary=vocabulary),
    }
    return {
        name: Contender(name, lambda seed, make=make: make(seed=seed), rate * RATES[name])
        for name, make in makers.items()
    }


# What was measured in this process, so that a class is the same number of tokens for every seed.
_measured: dict[tuple, dict[str, Throughput]] = {}


def prepare(
    texts: Texts, size: str, vocabulary: int, length: int, classes: str, rate: float, scale: str
) -> Inputs:
    """Contenders and their throughput. Raises UsageError for classes that are no numbers."""
    try:
        seconds = tuple(sorted({float(one) for one in classes.split(",")}))
    except ValueError:
        raise UsageError(f"{classes!r} are no seconds", where="classes", hint="3,6,12,24") from None
    if len(seconds) < 3 or seconds[0] <= 0:
        raise UsageError("at least 3 different classes above 0 are needed", where="classes")
    # Apart, recurrent models would run padded: another speed than the one that is compared.
    objective = Causal(length=length, apart=False)
    batch = BATCH_TOKENS if scale != "smoke" else 4 * length
    made = contenders(size, texts.train.vocabulary, length, rate)
    tokens = digest(*(row.tobytes() for row in texts.train.tokens))
    key = (scale, tokens, size, vocabulary, length)
    if key not in _measured and scale == "smoke":
        _measured[key] = {name: Throughput(64_000.0, batch) for name in made}
    elif key not in _measured:
        _measured[key] = measure_throughput(
            list(made.values()), objective, texts.train, batch_tokens=batch
        )
    return Inputs(texts, objective, seconds, made, _measured[key], batch)


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    """The arm that trains contender `name` for every class."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        contender, rate = inputs.contenders[name], inputs.rates[name]
        runs = [
            train_class(contender, inputs.objective, inputs.texts.train, inputs.texts.test, rate,
                        seconds, batch_tokens=inputs.batch_tokens, seed=seed)
            for seconds in inputs.seconds
        ]  # fmt: skip
        parameters = count_parameters(contender.build(0))
        # Each class trains a model of its own. What is stated is the smallest class, on which the
        # gain rests too: where it has enough tokens for each parameter, all have.
        return Measured(
            _metrics(inputs.seconds, runs, parameters),
            timed={SPEED: _speed(inputs, contender, rate)},
            tokens=runs[0].tokens, flops=runs[0].flops, parameters=parameters,
            products={"runs": runs, "rate": rate},
        )  # fmt: skip

    return measure


def _metrics(seconds: tuple[float, ...], runs: list[Trained], parameters: int) -> dict:
    losses = [run.bits_per_byte for run in runs]
    last = runs[-1]
    found = {
        LARGEST: Ratio(last.bits, last.bytes),
        "normalised perplexity, largest class": normalised_perplexity(
            float(last.bits.sum()) * math.log(2), float(last.bytes.sum())
        ),
        GAIN: gain_per_doubling(seconds, losses),
    }
    trend = fit_trend(seconds, losses)
    found |= {f"trend: {name}": value for name, value in trend._asdict().items()}
    for number, (one, run) in enumerate(zip(seconds, runs), start=1):
        found[f"bits per byte, class {number}"] = Ratio(run.bits, run.bytes)
        found[f"seconds, class {number}"] = one
        found[f"share of seconds spent, class {number}"] = run.spent / one
        found[f"tokens per parameter, class {number}"] = run.tokens / parameters
    return found


def _speed(inputs: Inputs, contender: Contender, rate: Throughput) -> Callable[[], float]:
    def measure() -> float:
        return probe(contender.build(0), inputs.objective, inputs.texts.train,
                     inputs.batch_tokens, rate.micro_batch_tokens, steps=8)  # fmt: skip

    return measure
