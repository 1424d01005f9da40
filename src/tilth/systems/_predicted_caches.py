"""Prompts that a small model reads for a large one: what is learned, and what the answers lose."""

from __future__ import annotations

import copy
import functools
import random
import time
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Measured
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import build
from tilth.models.kv_maps import KVMaps
from tilth.models.surgery.layers import truncate
from tilth.objectives.causal import Causal
from tilth.objectives.kv_prediction import KVPrediction
from tilth.serving.edits.kv_prediction import Predictor
from tilth.serving.edits.reading import Reading, read
from tilth.serving.model_runner import ModelRunner
from tilth.systems import _two_hop as task
from tilth.systems._edited_files import NATS, RIGHT, SECONDS, asked
from tilth.training.loop import fit

BATCH = 960
# A token of the pair's training costs the auxiliary model's 3 (forward and twice backward), and
# the base, twice as deep, 2 for its true keys, 2 for its answer and 2 for the way back through it:
# 9 where the half alone costs 3.
AS_LONG = 3


@dataclass(frozen=True)
class Case:
    """A text, a question about it, and the answer."""

    text: list[int]
    question: task.Line
    answer: task.Line


@dataclass(frozen=True)
class Timed:
    """A base and an auxiliary model of half its layers, with random weights, and a prompt."""

    base: ModelRunner
    predictor: Predictor
    ids: list[int]
    cache: Any


@dataclass(frozen=True)
class Inputs:
    """What all arms share. `base`: a model, not to be changed; `tokens` each arm learns from."""

    base: Any
    cases: list[Case]
    timed: Timed
    tokens: int


def cases(seed: int, count: int) -> list[Case]:
    chance, made = random.Random(f"read for another {seed}"), []
    for _ in range(count):
        facts = task.facts(chance)
        question, answer = facts.asked(chance.choice(list(facts.firm)))
        made.append(Case(task.flat(facts.lines), question, answer))
    return made


def half(base: Any) -> Any:
    """Half of the layers, spread over all, as a model of its own."""
    layers = base.config.num_hidden_layers
    return truncate(Checkpoint.of(base), layers=max(1, layers // 2), keep="spread").model()


def timed(smoke: bool) -> Timed:
    size, length = ("30k", 40) if smoke else ("30m", 512)
    base = build(size, vocabulary=64 if smoke else 4096, context=length + 8, seed=0)
    small = half(base)
    runner = ModelRunner(base)
    predictor = Predictor(runner, ModelRunner(small), KVMaps.between(small, base))
    chance = random.Random("timed prompt")
    ids = [chance.randrange(1, 64) for _ in range(length)]
    return Timed(runner, predictor, ids, runner.cache(length // 16 + 4, share=False))


@functools.lru_cache(maxsize=2)
def predicting(base: Any, tokens: int, seed: int) -> tuple[Any, KVMaps, Any]:
    """(auxiliary model, maps, history), learned together; the base stays as it is."""
    frozen, small = copy.deepcopy(base), half(base)
    objective = KVPrediction(frozen, small, length=task.LENGTH)
    history = _fit(small, objective, tokens, seed)
    return small.eval(), objective.maps, history


def pruned(base: Any, tokens: int, seed: int) -> tuple[Any, Any]:
    """(half of the base, trained on the text for as long, history)."""
    small = half(base)
    history = _fit(small, Causal(length=task.LENGTH), tokens, seed)
    return small.eval(), history


def _fit(model: Any, objective: Any, tokens: int, seed: int) -> Any:
    return fit(
        model, objective, task.documents(f"second {seed}", tokens), tokens=tokens,
        batch_tokens=BATCH, learning_rate=3e-3, minimum=0.1, seed=seed,
    )  # fmt: skip


def measured(inputs: Inputs, runner: ModelRunner, predictor: Predictor | None) -> dict[str, Any]:
    """One value a case: the answer of `runner`, behind a text that it or the predictor read."""
    cache = runner.cache(20, share=False)
    judged = []
    for case in inputs.cases:
        made = predictor.read(cache, case.text) if predictor else read(runner, cache, case.text)
        found = asked(runner, cache, made, case.question, case.answer)
        judged.append(task.judged(found, case.answer))
    nats, right = zip(*judged)
    return {NATS: nats, RIGHT: right}


def clock(inputs: Inputs, predicted: bool) -> dict[str, Any]:
    """CPU seconds to the first token of the timed prompt."""
    given = inputs.timed

    def seconds() -> float:
        began = time.process_time()
        made: Reading = (
            given.predictor.read(given.cache, given.ids)
            if predicted
            else read(given.base, given.cache, given.ids)
        )
        spent = time.process_time() - began
        given.cache.free(made.chain)
        return spent

    return {SECONDS: seconds}


def result(metrics: dict[str, Any], history: Any = None, **more: Any) -> Measured:
    plan = history.plan if history else {"tokens": 0, "flops": 0, "trainable_parameters": 0}
    return Measured(
        metrics, tokens=plan["tokens"], flops=plan["flops"],
        parameters=plan["trainable_parameters"], **more,
    )  # fmt: skip
