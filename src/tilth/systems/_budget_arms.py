"""Arms and checks of the system `budgetlongformer`."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Invariant, Measured
from tilth.models.decoder import count_parameters
from tilth.models.encoders import NEAR, build_shape
from tilth.models.packed import forward
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.objectives.replaced import Replaced
from tilth.systems._budget_pooled import Pooled, accuracy
from tilth.systems._budget_texts import PLANTED, TYPES, Inputs
from tilth.systems._encoder_study import (
    MASK,
    PAD,
    chosen,
    encoder,
    left_the_floor,
    pretrain,
    seen,
    times_the_most_frequent,
)  # fmt: skip
from tilth.systems._rates import TUNING_SEED
from tilth.tokens.documents import TokenDocuments
from tilth.training.epochs import tokens_for_epochs
from tilth.training.flops import flops_per_token

RTD, MLM, SHORT, FULL = "RTD", "MLM", "RTD, half the length", "full attention"
NONE = "not pre-trained"
TYPE, DECISION = "accuracy of document types", "accuracy of planted decisions"
GROWTH = "factor of time for twice the length"
TIMES = "hidden tokens named, times the most frequent token's share"
FILLED = "the generator: " + TIMES
AREA = "area under the curve of replaced tokens"
SHARE = 0.3  # of the tokens that the masked model sees hidden
DETECTOR = "modernbert-detector"


def build(inputs: Inputs, kind: str, context: int, seed: int) -> Any:
    """A model of the size of the arms."""
    return encoder(inputs.width, inputs.layers, inputs.tokenizer, context, seed, kind)


def hidden(length: int, window: int | None) -> Masked:
    """The objective of the baseline, and of the generator before it replaces anything."""
    return Masked(length=length, rate=SHARE, mask=MASK, special=(PAD,), window=window)


def detection(
    inputs: Inputs, length: int, window: int | None, seed: int, generator: Any = None
) -> Replaced:
    """The objective of the method; the generator is as large as the model that begins as it."""
    made = Replaced(
        vocabulary=inputs.tokenizer.get_vocab_size(), length=length, mask=MASK, special=(PAD,),
        width=inputs.width, layers=inputs.layers, window=window, seed=seed, kind="modernbert",
        settings=NEAR,
    )  # fmt: skip
    if generator is not None:
        made.generator = copy.deepcopy(generator).train()
    return made


def detector(inputs: Inputs, generator: Any, length: int, seed: int) -> Any:
    """A model of one logit a token whose body is the generator's."""
    made = build(inputs, DETECTOR, length, seed)
    for name in ("model", "head"):
        getattr(made, name).load_state_dict(getattr(generator, name).state_dict())
    return made


def area(model: Any, objective: Replaced, held: TokenDocuments) -> float:
    """How well replaced tokens of held-out text are told: 0.5 for who says the same of all."""
    from tilth.signals.calibration import area_under_curve

    batch = objective.prepare(held.select(range(min(20, len(held)))), Draws(7)).take(slice(0, 200))
    found = [objective.answers(model, batch.take(slice(n, n + 8))) for n in range(0, len(batch), 8)]
    logits, changed = (np.concatenate([one[n].ravel() for one in found]) for n in (0, 1))
    return float(area_under_curve(logits, changed))


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    """Pre-train from nothing, unless it is `NONE`, then fine-tune for both tasks."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        length = inputs.length // 2 if name == SHORT else inputs.length
        window = None if name == SHORT else inputs.window
        model = build(inputs, "modernbert", length, seed)
        spent, flops, parameters, metrics = 0, 0.0, count_parameters(model), {}

        def learn(model: Any, objective: Any, tokens: int, rate: float, seed: int) -> None:
            nonlocal spent, flops, parameters
            plan = pretrain(
                model, objective, inputs.corpus, tokens=tokens, batch_tokens=inputs.batch_tokens,
                rate=rate, seed=seed,
            ).plan  # fmt: skip
            spent, flops = spent + plan["tokens"], flops + plan["flops"]
            parameters = plan["parameters"]

        masked = hidden(length, window)
        if name == MLM:
            # The same operations: what the detection costs goes to more hidden tokens.
            twice = detection(inputs, length, window, seed)
            cost = flops_per_token(build(inputs, DETECTOR, length, seed), length, objective=twice)
            more = inputs.tokens * cost / flops_per_token(model, length, objective=masked)
            step = inputs.batch_tokens
            tokens = round((inputs.filling + more) / step) * step
            learn(model, masked, tokens, inputs.rate, seed)
            metrics[TIMES] = times_the_most_frequent(model, inputs.held, length)
        elif name != NONE:
            learn(model, masked, inputs.filling, inputs.rate, seed)
            metrics[FILLED] = times_the_most_frequent(model, inputs.held, length)
            replaced = detection(inputs, length, window, seed, model)
            model = detector(inputs, model, length, seed)
            learn(model, replaced, inputs.tokens, inputs.detecting, seed + 100)
            metrics[AREA] = area(model, replaced, inputs.held)
        for task, metric in ((TYPES, TYPE), (PLANTED, DECISION)):
            metrics[metric], more = tuned(inputs, model, task, length, window, seed, name)
            spent += more
        timed = {GROWTH: growth(inputs, inputs.window)} if name == RTD else {}
        return Measured(metrics, timed, spent, flops, parameters)

    return measure


def tuned(
    inputs: Inputs, model: Any, task: str, length: int, window: int | None, seed: int, name: str
) -> tuple[float, int]:
    """(accuracy of a copy of the encoder after fine-tuning, tokens it took), at the arm's rate."""
    sides = inputs.tasks[task]
    classes = 1 + max(max(side.extra["label"]) for side in sides.values())

    def learned(
        train: TokenDocuments, test: TokenDocuments, rate: float, seed: int
    ) -> tuple[float, int]:
        body = copy.deepcopy(model.base_model)
        objective = Pooled(
            width=inputs.width, classes=classes, length=length, window=window, seed=seed
        )
        budget = tokens_for_epochs(objective, train, inputs.epochs, 8 * length, seed)
        pretrain(body, objective, train, tokens=budget, batch_tokens=8 * length, rate=rate,
                 seed=seed)  # fmt: skip
        return accuracy(body, objective, test), budget

    few, held = (sides["aside"].select(range(n, len(sides["aside"]), 2)) for n in (0, 1))
    rate = chosen(
        (name, task, inputs.length, inputs.epochs), inputs.rates,
        lambda rate: learned(few, held, rate, TUNING_SEED)[0],
    )  # fmt: skip
    return learned(sides["train"], sides["test"], rate, seed)


def growth(inputs: Inputs, window: int | None) -> Callable[[], float]:
    """A function that times a forward pass at two lengths and gives their ratio; every layer has
    the window, or none."""
    import torch

    model = build_shape(
        inputs.width, inputs.layers, vocabulary=inputs.tokenizer.get_vocab_size(),
        context=inputs.timed[1], kind="modernbert", pad=PAD,
    )  # fmt: skip
    ids = torch.randint(3, 200, (1, inputs.timed[1]), generator=torch.Generator().manual_seed(0))

    def ratio() -> float:
        seconds = []
        for length in inputs.timed:
            began = time.process_time()
            with torch.inference_mode():
                forward(model, ids[:, :length], hidden=True, window=window)
            seconds.append(time.process_time() - began)
        return seconds[1] / seconds[0]

    return ratio


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """What was learned and from what; windows see what they should; the generator learns from its
    own loss alone."""
    import torch

    yield left_the_floor(MLM, measured[MLM].metrics[TIMES], inputs.least)
    for name in (RTD, SHORT):
        found = measured[name].metrics
        yield Invariant(f"{name}: replaced tokens are told from others",
                        found[AREA] >= inputs.least_area)  # fmt: skip
        yield left_the_floor(f"{name}, generator", found[FILLED], inputs.least)
    told = bool(seen(inputs.tested, inputs.texts).any())
    yield Invariant("no tested text is in the corpus", not told)
    model = build_shape(32, 2, vocabulary=300, context=96, kind=DETECTOR, seed=1)
    ids = torch.randint(3, 300, (1, 96), generator=torch.Generator().manual_seed(1))
    full, wide = forward(model, ids), forward(model, ids, window=95)
    yield Invariant("a window as wide as the row is full attention within 1e-5",
                    torch.allclose(full, wide, atol=1e-5))  # fmt: skip
    other = ids.clone()
    other[0, 60] = 3 + (int(ids[0, 60]) + 1) % 290
    near, moved = (forward(model, some, window=8)[0] for some in (ids, other))
    far = (torch.arange(96) - 60).abs() > 2 * 8
    kept = torch.equal(near[far], moved[far]) and not torch.equal(near, moved)
    yield Invariant("a change farther away than layers times window changes nothing", kept)
    objective = detection(inputs, inputs.length, inputs.window, 0)
    some = inputs.corpus.select(range(min(20, len(inputs.corpus))))
    batch = objective.prepare(some, Draws(0)).take(range(2))
    fresh = build(inputs, DETECTOR, inputs.length, 0)
    made = objective.loss(fresh, batch)
    grown = [p for p in objective.generator.parameters() if p.requires_grad]
    fill = torch.autograd.grad(made.total, grown, allow_unused=True)
    weight = objective.weight
    objective.weight = 2 * weight
    doubled = torch.autograd.grad(objective.loss(fresh, batch).total, grown, allow_unused=True)
    same = all(a is b is None or torch.equal(a, b) for a, b in zip(fill, doubled))
    yield Invariant("the generator gets no gradient from the detection", same)
    with torch.no_grad():
        # The chances that the last layer begins with are not even: they lie about a half.
        for parameter in fresh.classifier.parameters():
            parameter.zero_()
        made = objective.loss(fresh, batch)
    prior = made.parts["detection"] / made.n_targets
    yield Invariant("who knows nothing pays ln 2 a token", abs(prior - np.log(2)) < 1e-5)
