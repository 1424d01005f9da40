"""How the arms of the system `olmo2` train, what is measured of them, and what must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.card import Invariant, Measured, Ratio
from tilth.models.checkpoint import Checkpoint
from tilth.models.families import build_family
from tilth.models.surgery.combine import combine
from tilth.objectives.causal import Causal
from tilth.objectives.regularisers import Regularised
from tilth.systems import _arithmetic as arithmetic
from tilth.tokens.documents import TokenDocuments
from tilth.training.guard import StepGuard, spike_share
from tilth.training.history import History
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule
from tilth.training.replay import replayed
from tilth.training.schedules import cosine

BITS = "bits per byte"
SPIKES = "share of steps beyond 6 sigma"
RIGHT = "share of problems answered"
ORDERS = 3
# The first stage's rate falls for a budget that is longer than what is trained.
TRAINED = 0.8
# OLMo 2 lets weights decay, those of the embeddings excepted.
POLICY = Policy([PolicyRule("*embed_tokens*", decay=0.0)])


@dataclass
class Inputs:
    """What arms share. Budgets in tokens; `high` is the factor of the rate that is too high."""

    text: TokenDocuments
    rough: TokenDocuments
    sums: TokenDocuments
    test: TokenDocuments
    asked: Sequence[arithmetic.Problem]
    tokenizer: Any
    shape: dict[str, Any]
    tokens: int
    second: int
    batch_tokens: int
    length: int
    rate: float
    high: float
    guard: StepGuard
    _made: dict[Any, Any] = field(default_factory=dict)

    def base(self, seed: int) -> tuple[Any, dict[str, Any], History]:
        """The model after the first stage, its moments, and how it went. Not to be changed."""
        if ("base", seed) not in self._made:
            model, moments = build_family("olmo2", seed=seed, **self.shape), {}
            history = fit(
                model, self.objective(), self.text, tokens=self.tokens, schedule=stopped_early,
                learning_rate=self.rate, policy=POLICY, moments=moments, seed=seed,
                batch_tokens=self.batch_tokens,
            )  # fmt: skip
            self._made["base", seed] = model, moments, history
        return self._made["base", seed]

    def annealed(self, seed: int, order: int, mix: bool) -> tuple[Any, History]:
        """The base after the second stage, linear to 0 from where the first one stopped."""
        if (seed, order, mix) not in self._made:
            base, moments, first = self.base(seed)
            model = copy.deepcopy(base)
            data = replayed(self.sums, self.text, 0.5, seed) if mix else self.text
            history = fit(
                model, self.objective(), data, tokens=self.second, schedule="linear", warmup=0.0,
                learning_rate=first.points[-1].learning_rate, policy=POLICY,
                moments=copy.deepcopy(moments), seed=1000 * (order + 1) + seed,
                batch_tokens=self.batch_tokens,
            )  # fmt: skip
            self._made[seed, order, mix] = model, history
        return self._made[seed, order, mix]

    def objective(self, z: bool = True) -> Any:
        causal = Causal(length=self.length)
        return Regularised(causal) if z else causal


def stopped_early(consumed: float, budget: float, warmup: float = 0.0) -> float:
    """Half a cosine for a budget of which only the share `TRAINED` is trained."""
    return cosine(consumed, budget / TRAINED, warmup)


def scored(model: Any, inputs: Inputs) -> Ratio:
    found = bits_per_byte(model, inputs.test, inputs.length)["per_document"]
    return Ratio(np.array(found["bits"]), np.array(found["bytes"], dtype=float))


def answered(model: Any, inputs: Inputs) -> np.ndarray:
    return arithmetic.right(model, inputs.tokenizer, inputs.asked, inputs.text.end)


def rough(family: str, *, olmo: bool, skip: bool) -> Callable[[Inputs, int], Measured]:
    """Training on text with junk in it, at a rate that is too high."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        model = build_family(family, seed=seed, **inputs.shape)
        history = fit(
            model, inputs.objective(z=olmo), inputs.rough, tokens=inputs.tokens,
            learning_rate=inputs.high * inputs.rate, policy=POLICY if olmo else None,
            guard=inputs.guard if skip else None, seed=seed, batch_tokens=inputs.batch_tokens,
        )  # fmt: skip
        losses = [point.loss for point in history.points]
        norms = [point.gradient_norm for point in history.points]
        return Measured(
            {BITS: scored(model, inputs), SPIKES: spike_share(losses, norms, inputs.guard)},
            tokens=history.plan["tokens"], flops=history.plan["flops"],
            parameters=history.plan["parameters"],
            products={"skipped": len(history.skipped)},
        )  # fmt: skip

    return measure


def second(*, mix: bool, orders: int = 1, soup: bool = False) -> Callable[[Inputs, int], Measured]:
    """The second stage in so many orders of the data: their mean result, or that of their soup."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        base, _, first = inputs.base(seed)
        made = [inputs.annealed(seed, order, mix) for order in range(orders)]
        models = [model for model, _ in made]
        if soup:
            models = [souped(base, models)]
        bits = [scored(model, inputs) for model in models]
        mean = Ratio(np.mean([one.numerators for one in bits], axis=0), bits[0].denominators)
        return Measured(
            {BITS: mean, RIGHT: np.mean([answered(m, inputs) for m in models], axis=0)},
            tokens=first.plan["tokens"] + sum(h.plan["tokens"] for _, h in made),
            flops=first.plan["flops"] + sum(h.plan["flops"] for _, h in made),
            parameters=first.plan["parameters"],
            products={"rates": [first.points[-1], made[0][1].points[0]]},
        )  # fmt: skip

    return measure


def untouched(inputs: Inputs, seed: int) -> Measured:
    """The base as the first stage left it."""
    base, _, first = inputs.base(seed)
    return Measured(
        {BITS: scored(base, inputs), RIGHT: answered(base, inputs)},
        tokens=first.plan["tokens"], flops=first.plan["flops"],
        parameters=first.plan["parameters"],
    )  # fmt: skip


def souped(base: Any, models: Sequence[Any]) -> Any:
    """The average of the weights."""
    others = [Checkpoint.of(model) for model in models]
    return combine(Checkpoint.of(base), others=others, method="linear").model()


class SkipsAll(StepGuard):
    """A guard that takes every step for an outlier."""

    def reason(self, *_values: Any) -> str:
        return "loss"


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """A soup of one model is itself; a skipped step moves nothing; rates go on."""
    base, moments, _ = inputs.base(0)
    same = souped(base, [base, base, base])
    equal = all(bool((a == b).all()) for a, b in zip(base.parameters(), same.parameters()))
    yield Invariant("a soup of one model is that model, bit for bit", equal)
    model, kept = copy.deepcopy(base), copy.deepcopy(moments)
    history = fit(
        model, inputs.objective(), inputs.text, tokens=10 * inputs.batch_tokens,
        batch_tokens=inputs.batch_tokens, policy=POLICY, moments=kept,
        guard=SkipsAll(),
    )  # fmt: skip
    still = all(bool((a == b).all()) for a, b in zip(base.parameters(), model.parameters()))
    still = still and all(
        bool((kept[name][key] == value).all())
        for name, entry in moments.items()
        for key, value in entry.items()
    )
    still = still and kept.keys() == moments.keys() and len(history.skipped) == 10
    yield Invariant("a skipped step leaves weights and moments, bit for bit", still)
    last, next_ = measured["stage 2 on the mix"].products["rates"]
    yield Invariant(
        "the second stage begins below the rate at which the first one stopped, by half a step",
        0.9 * last.learning_rate < next_.learning_rate < last.learning_rate,
    )
