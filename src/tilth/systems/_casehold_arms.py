"""Encoders and arms of the system `casehold`: pre-trained for each seed, tuned on each task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.task import Task
from tilth.evaluation.card import Measured
from tilth.evaluation.specificity import specificity
from tilth.evaluation.tasks import TaskModel, evaluate
from tilth.models.decoder import count_parameters
from tilth.objectives.masked import Masked
from tilth.systems import _casehold_items as items_of
from tilth.systems._casehold_items import TASKS, Texts
from tilth.systems._encoder_study import (
    LEAST,
    MASK,
    PAD,
    SPECIAL,
    TaskPair,
    Tuning,
    encoder,
    pretrain,
    times_the_most_frequent,
    tokens_of,
    tuned,
)  # fmt: skip
from tilth.tokens import bpe

TWICE, THEN, ALONE, NONE = "general twice", "general, then law", "law alone", "not pre-trained"
TIMES = "hidden tokens named, times the most frequent token's share"
GAIN, SPECIFIC = "gain of law over general", "specificity"


@dataclass(frozen=True)
class Plan:
    """Budgets in tokens: each encoder learns from twice `tokens`, in two halves of which the first
    is shared by two. `least`: see `left_the_floor`."""

    tokens: int = 300_032
    vocabulary: int = 500
    width: int = 64
    layers: int = 2
    length: int = 96
    batch_tokens: int = 1024
    rate: float = 5e-3
    least: float = LEAST


@dataclass(frozen=True)
class Encoder:
    """`times`: how many times the most frequent token's share of hidden tokens it names, on text of
    what it learned last that it did not see; NaN where it learned nothing."""

    model: Any
    tokenizer: Any
    tokens: int
    flops: float
    times: float


@dataclass(frozen=True)
class Inputs:
    """`right`: (encoder, task) -> 1 or 0 a test example; `specific`: task -> nats a text; `tuned`:
    the first encoder on holdings; `spent`: tokens of an encoder's fine-tunings."""

    encoders: Mapping[str, Encoder]
    pairs: Mapping[str, TaskPair]
    right: Mapping[tuple[str, str], list[float]]
    specific: Mapping[str, np.ndarray]
    tuned: TaskModel
    spent: Mapping[str, int]
    texts: Texts
    least: float

    @property
    def holdings(self) -> Task:
        """The items that are tested."""
        return self.pairs["holdings"].test


def encoders(texts: Texts, plan: Plan, seed: int) -> dict[str, Encoder]:
    """Equal tokens: general twice, general then law, law alone with a vocabulary of its own; and
    one that learned nothing. A second half has an order and masks of its own."""
    general, law = (
        bpe.train(some, plan.vocabulary, special=SPECIAL) for some in (texts.general, texts.law)
    )

    def learn(
        some: Sequence[str], held: Sequence[str], tokenizer: Any, halves: int,
        start: Encoder | None = None,
    ) -> Encoder:  # fmt: skip
        if start:
            model, before, flops = copy.deepcopy(start.model), start.tokens, start.flops
        else:
            before, flops = 0, 0.0
            model = encoder(plan.width, plan.layers, tokenizer, plan.length, seed)
        history = pretrain(
            model, Masked(length=plan.length, rate=0.3, mask=MASK, special=(PAD,)),
            tokens_of(some, tokenizer), tokens=halves * plan.tokens,
            batch_tokens=plan.batch_tokens, rate=plan.rate, seed=seed + 100 * bool(start),
        )  # fmt: skip
        times = times_the_most_frequent(model, tokens_of(held, tokenizer, "held "), plan.length)
        made = history.plan
        return Encoder(model, tokenizer, before + made["tokens"], flops + made["flops"], times)

    base = learn(texts.general, texts.held_general, general, 1)
    fresh = encoder(plan.width, plan.layers, general, plan.length, seed)
    return {
        TWICE: learn(texts.general, texts.held_general, general, 1, base),
        THEN: learn(texts.law, texts.held_law, general, 1, base),
        ALONE: learn(texts.law, texts.held_law, law, 2),
        NONE: Encoder(fresh, general, 0, 0.0, float("nan")),
    }


def measured(
    texts: Texts, tasks: Mapping[str, Task], plan: Plan, tuning: Tuning, train: int, seed: int
) -> Inputs:
    """Pre-train and tune all encoders of a seed."""
    made = encoders(texts, plan, seed)
    pairs = {name: items_of.pair(task, name, train, seed) for name, task in tasks.items()}
    right, kept, spent = {}, {}, dict.fromkeys(made, 0)
    for name, one in made.items():
        for task, pair in pairs.items():
            found = tuned(one.model, one.tokenizer, pair, tuning, seed, name)
            right[name, task] = evaluate(found, pair.test).per_example
            spent[name] += found.history.plan["tokens"]
            kept[name, task] = found
    specific = {
        task: specificity(
            made[TWICE].model, made[THEN].model,
            tokens_of(pair.test.texts(), made[TWICE].tokenizer), mask=MASK, special=(PAD,),
            seed=seed,
        )
        for task, pair in pairs.items()
    }  # fmt: skip
    return Inputs(made, pairs, right, specific, kept[TWICE, "holdings"], spent, texts, plan.least)


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    """Accuracies of an encoder on the tasks."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        one = inputs.encoders[name]
        metrics: dict[str, Any] = {
            f"accuracy of {task}": inputs.right[name, task] for task in TASKS
        }
        if one.tokens:
            metrics[TIMES] = one.times
        return Measured(
            metrics, tokens=one.tokens + inputs.spent[name], flops=one.flops,
            parameters=count_parameters(one.model),
        )  # fmt: skip

    return measure


def task_arm(task: str) -> Callable[[Inputs, int], Measured]:
    """What law gives on one task, and how specific it is."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        means = [float(np.mean(inputs.right[name, task])) for name in (TWICE, THEN)]
        one = inputs.encoders[THEN]
        return Measured(
            {GAIN: means[1] - means[0], SPECIFIC: float(inputs.specific[task].mean())},
            tokens=one.tokens, parameters=count_parameters(one.model),
        )  # fmt: skip

    return measure


def word_overlap(inputs: Inputs, seed: int) -> Measured:
    """The choice with the most words of the context."""
    return Measured({"accuracy of holdings": items_of.overlap(inputs.holdings)})
