"""How the arms of `redwhale` train, what is measured of them, and what must hold."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilth.evaluation.bits import bits_per_byte, bits_ratio
from tilth.evaluation.card import Invariant, Measured
from tilth.models.checkpoint import Checkpoint
from tilth.models.lora import add_lora, merge_lora
from tilth.models.surgery.promise import equal_bits
from tilth.models.surgery.run import operate
from tilth.models.surgery.vocabulary import vocabulary
from tilth.objectives.causal import Causal
from tilth.systems._continued_texts import Side
from tilth.systems._rates import TUNING_SEED
from tilth.systems._redwhale_texts import Texts
from tilth.tokens import bpe
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule

START = "bits per byte at the start"
AREA = "mean bits per byte on the way"
END = "bits per byte at the end"
OLD = "bits per byte on the old language at the end"
MEMORY = "bytes of weights, gradients and moments"
GLANCES, RANK = 8, 8
TABLES = ("*embed*", "*wte*", "*lm_head*")
# Name, share of the tokens, what trains. The last one trains changes of low rank.
STAGES = (
    ("tables", 1 / 3, TABLES), ("odd", 1 / 6, ("odd",)), ("even", 1 / 6, ("even",)),
    ("low rank", 1 / 3, ()),
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """What arms share; budgets in tokens, `rates` from which each arm takes the best."""

    texts: Texts
    tokens: int
    length: int
    batch: int
    rates: tuple[float, ...]


@dataclass
class Way:
    """How a training went: looks at bits per byte, and what it cost."""

    course: list[float] = field(default_factory=list)
    tokens: int = 0
    flops: float = 0.0
    memory: int = 0
    kept: bool = True

    @property
    def area(self) -> float:
        """The mean of the looks, in order of tokens, each for the stretch around it."""
        weights = np.ones(len(self.course))
        weights[[0, -1]] = 0.5
        return float(np.average(self.course, weights=weights))


def arm(
    method: str = "pieces", *, head: bool = True, staged: bool = False
) -> Callable[[Inputs, int], Measured]:
    """An arm: how rows are made; `method` empty keeps the old vocabulary."""

    def start(inputs: Inputs, seed: int) -> Any:
        if not method:
            return inputs.texts.base.model()
        return vocabulary(
            inputs.texts.base, transfer=inputs.texts.transfer, method=method, head=head, seed=seed
        ).model()

    def measure(inputs: Inputs, seed: int) -> Measured:
        texts, new = inputs.texts, bool(method)
        model, side = start(inputs, seed), texts.sides[new]

        def area(rate: float) -> float:
            tried = start(inputs, TUNING_SEED)
            return trained(inputs, tried, texts.tuning[new], TUNING_SEED, rate, staged).area

        key = (method, head, staged, inputs.tokens, inputs.length, inputs.batch)
        rate = texts.chosen.rate(key, inputs.rates, area)
        at_start = _scored(model, side.test, inputs.length)
        parameters = sum(p.numel() for p in model.parameters())
        way = trained(inputs, model, side, seed, rate, staged)
        return Measured(
            {
                START: at_start,
                AREA: way.area,
                END: _scored(model, side.test, inputs.length),
                OLD: _scored(model, texts.english[new], inputs.length),
                MEMORY: float(way.memory),
                "learning rate": rate,
            },
            tokens=way.tokens, flops=way.flops, parameters=parameters,
            products={"kept": way.kept, "trained": Checkpoint.of(model)},
        )  # fmt: skip

    return measure


def trained(
    inputs: Inputs, model: Any, side: Side, seed: int, rate: float, staged: bool = False
) -> Way:
    """Train `model` on a side, all of it or in stages, with looks at the side on the way."""
    way = Way([_glance(model, side, inputs.length)])
    for name, share, patterns in STAGES if staged else (("all", 1.0, ()),):
        before = Checkpoint.of(model)
        tokens = round(inputs.tokens * share / inputs.batch) * inputs.batch
        _stage(inputs, model, side, name, patterns, tokens, seed, rate, way)
        if patterns:
            way.kept = way.kept and _frozen_stayed(before, Checkpoint.of(model), patterns)
    return way


def _patterns(patterns: tuple[str, ...], model: Any) -> list[str]:
    """`odd` and `even` stand for every second layer."""
    if patterns not in (("odd",), ("even",)):
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        return [p for p in patterns if any(p.strip("*") in name for name in names)]
    first = 1 if patterns == ("odd",) else 0
    numbers = range(first, model.config.num_hidden_layers, 2)
    return [f"*.{n}.*" for n in numbers]


def _stage(
    inputs: Inputs, model: Any, side: Side, name: str, patterns: tuple[str, ...], tokens: int,
    seed: int, rate: float, way: Way,
) -> None:  # fmt: skip
    steps = tokens // inputs.batch
    every = max(1, round(inputs.tokens / inputs.batch / GLANCES))

    def on_step(point: Any) -> None:
        if point.step % every == 0 or point.step == steps:
            way.course.append(_glance(model, side, inputs.length))

    policy = None
    if patterns:
        rules = [PolicyRule(p) for p in _patterns(patterns, model)]
        policy = Policy([PolicyRule("*", trainable=False), *rules])
    if name == "low rank":
        add_lora(model, rank=RANK, seed=seed)
    history = fit(
        model, Causal(length=inputs.length), side.train, tokens=tokens, batch_tokens=inputs.batch,
        learning_rate=rate, seed=seed, policy=policy, on_step=on_step, minimum_steps=1,
    )  # fmt: skip
    plan = history.plan
    way.tokens += plan["tokens"]
    way.flops += plan["flops"]
    # Of what trains a gradient and two moments are held beside the weight.
    way.memory = max(way.memory, 4 * plan["parameters"] + 12 * plan["trainable_parameters"])
    if name == "low rank":
        merge_lora(model)


def _glance(model: Any, side: Side, length: int) -> float:
    return float(bits_per_byte(model, side.glance, length)["bits_per_byte"])


def _scored(model: Any, documents: Any, length: int) -> Any:
    """Bits and bytes of every third held-out document."""
    return bits_ratio(model, documents, length, documents=range(0, len(documents), 3))


def _frozen_stayed(before: Checkpoint, after: Checkpoint, patterns: tuple[str, ...]) -> bool:
    """Whether all that a stage does not train is as it was, bit for bit."""
    live = _patterns(patterns, before.model())
    return all(
        equal_bits(tensor, after.tensors[name])
        for name, tensor in before.tensors.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in live)
    )


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the vocabulary and of the stages."""
    old, new = inputs.texts.tokenizers
    fresh = set(inputs.texts.transfer.fresh.tolist())
    texts = [text for some in inputs.texts.samples for text in some]
    same = all(
        a == b or fresh & set(b) for a, b in zip(bpe.encode(old, texts), bpe.encode(new, texts))
    )
    yield Invariant("a text without new tokens is cut as before", same)
    back = all(bpe.decode(new, ids) == text for ids, text in zip(bpe.encode(new, texts), texts))
    yield Invariant("decode after encode gives the text", back)
    done = operate("vocabulary", inputs.texts.base, transfer=inputs.texts.transfer)
    name = "shared rows are bit-equal, old logits within 1e-5"
    yield Invariant(name, not done.kept.broken and done.promise.function)
    kept = measured["staged"].products["kept"]
    yield Invariant("what a stage freezes is bit-equal after it", kept)
    seen = {text for side in inputs.texts.sides for text in map(bytes, side.train.tokens)}
    seen |= {text for side in inputs.texts.tuning for text in map(bytes, side.test.tokens)}
    tested = {text for side in inputs.texts.sides for text in map(bytes, side.test.tokens)}
    yield Invariant("no tested text is among those trained or tuned on", not seen & tested)
