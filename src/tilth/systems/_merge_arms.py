"""How the models of `finance-merge` are trained and merged, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tilth.evaluation.bits import bits_ratio
from tilth.evaluation.card import Invariant, Measured, Ratio
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.arithmetic import cosine, task_arithmetic
from tilth.models.surgery.combine import combine
from tilth.models.surgery.promise import equal_bits
from tilth.objectives.causal import Causal
from tilth.objectives.instruct import Instruct
from tilth.systems import _merge_instructions as instructions
from tilth.systems._continued_texts import Side
from tilth.systems._greedy import continued, conversations
from tilth.systems._merge_texts import Texts
from tilth.systems._rates import TUNING_SEED
from tilth.training.loop import fit

BOTH = "bits per byte, mean of domain text and answers"
DOMAIN = "bits per byte on held-out domain text"
ANSWERS = "bits per byte of held-out answers"
FORMAT = "held-out instructions followed"
RIGHT = "held-out instructions answered right"
COSINE = "median |cosine| of the two vectors over tensors"
TOLD = 2000


@dataclass(frozen=True)
class Inputs:
    """`tokens` of each training; `rates` from which each arm takes the best. `sibling`: a model
    tuned on instructions that was given, None: it is tuned here. `prompts`: how many are asked."""

    texts: Texts
    tokens: int
    length: int
    batches: tuple[int, int]
    rates: tuple[float, ...]
    most: int
    prompts: int
    sibling: Checkpoint | None = None
    trained: dict[Any, Trained] = field(default_factory=dict)


class Trained(NamedTuple):
    """A checkpoint, what its trainings from the base cost, and how much of it they trained."""

    made: Checkpoint
    tokens: int = 0
    flops: float = 0.0
    parameters: int = 0


def adapted(inputs: Inputs, start: Trained, text: Side, rate: float, seed: int) -> Trained:
    """`start`, gone on with on domain text."""
    return _fit(inputs, start, Causal(length=inputs.length), text.train, rate, seed, 0)


def tuned(inputs: Inputs, start: Trained, rate: float, seed: int) -> Trained:
    """`start`, fine-tuned on instructions."""
    pairs = instructions.told(instructions.pairs()[0], TOLD, seed)
    data = conversations(pairs, inputs.texts.tokenizer)
    return _fit(inputs, start, Instruct(length=inputs.length), data, rate, seed, 1)


def _fit(
    inputs: Inputs, start: Trained, objective: Any, data: Any, rate: float, seed: int, kind: int
) -> Trained:
    model = start.made.model()
    plan = fit(
        model, objective, data, tokens=inputs.tokens, batch_tokens=inputs.batches[kind],
        learning_rate=rate, seed=seed,
    ).plan  # fmt: skip
    return Trained(
        Checkpoint.of(model), start.tokens + plan["tokens"], start.flops + plan["flops"],
        plan["trainable_parameters"],
    )  # fmt: skip


def part(inputs: Inputs, name: str, text: Side, rate: float, seed: int) -> Trained:
    """The `domain` or the `instructed` model, from the base, once for each seed and rate."""
    key = (name, rate, seed)
    if key not in inputs.trained:
        base = Trained(inputs.texts.base)
        if name == "domain":
            inputs.trained[key] = adapted(inputs, base, text, rate, seed)
        elif inputs.sibling is not None:
            inputs.trained[key] = Trained(inputs.sibling)
        else:
            inputs.trained[key] = tuned(inputs, base, rate, seed)
    return inputs.trained[key]


def parts(inputs: Inputs, text: Side, rate: float, seed: int) -> list[Trained]:
    return [part(inputs, name, text, rate, seed) for name in ("domain", "instructed")]


# (inputs, domain text to learn, rate, seed) -> a model.
Make = Callable[[Inputs, Side, float, int], Trained]


def alone(name: str) -> Make:
    """The domain model or the instructed one."""
    return lambda inputs, text, rate, seed: part(inputs, name, text, rate, seed)


def merged(**options: Any) -> Make:
    """Both, merged."""

    def make(inputs: Inputs, text: Side, rate: float, seed: int) -> Trained:
        both = parts(inputs, text, rate, seed)
        drawn = {"seed": seed} if options.get("method") == "dare" else {}
        made = combine(
            inputs.texts.base, others=[one.made for one in both], **options, **drawn
        )  # fmt: skip
        return Trained(
            made, sum(one.tokens for one in both), sum(one.flops for one in both),
            max(one.parameters for one in both),
        )  # fmt: skip

    return make


def one_after_the_other(domain_first: bool) -> Make:
    """Both trainings of one model, at one rate."""

    def make(inputs: Inputs, text: Side, rate: float, seed: int) -> Trained:
        if domain_first:
            return tuned(inputs, part(inputs, "domain", text, rate, seed), rate, seed)
        return adapted(inputs, part(inputs, "instructed", text, rate, seed), text, rate, seed)

    return make


def scores(
    inputs: Inputs, made: Checkpoint, text: Side, pairs: list[instructions.Pair]
) -> tuple[Ratio, Ratio]:
    """Bits and bytes of domain texts and of answers."""
    model = made.model()
    domain = bits_ratio(model, text.test, inputs.length)
    answers = instructions.answer_bits(model, inputs.texts.tokenizer, instructions.every(pairs))
    return domain, answers


def _whole(ratio: Ratio) -> float:
    return float(ratio.numerators.sum() / ratio.denominators.sum())


def arm(name: str, make: Make | None) -> Callable[[Inputs, int], Measured]:
    """The arm whose checkpoint `make` gives; None is the base.

    Its rate is the best for the mean of both bits per byte, but those of the two models alone for
    what each of them learns.
    """
    goal = {"domain": 0, "instructed": 1}.get(name, 2)

    def measure(inputs: Inputs, seed: int) -> Measured:
        texts = inputs.texts
        _, tried, tested = instructions.pairs()

        def bits(rate: float) -> float:
            made = make(inputs, texts.tuning, rate, TUNING_SEED).made if make else texts.base
            found = scores(inputs, made, texts.tuning, tried[: inputs.prompts])
            return (*map(_whole, found), sum(map(_whole, found)) / 2)[goal]

        made, rate = Trained(texts.base), 0.0
        if make is not None:
            key = (name, inputs.tokens, inputs.length, inputs.batches, inputs.sibling is None)
            rate = texts.chosen.rate(key, inputs.rates, bits)
            made = make(inputs, texts.text, rate, seed)
        pairs = tested[: inputs.prompts]
        domain, answers = scores(inputs, made.made, texts.text, pairs)
        asked = [instructions.prompt(*pair) for pair in pairs]
        said = continued(made.made.model(), texts.tokenizer, asked, inputs.most)
        followed = [float(instructions.followed(f, one)) for (_, f), one in zip(pairs, said)]
        right = [float(instructions.right(*pair, one)) for pair, one in zip(pairs, said)]
        metrics: dict[str, Any] = {
            BOTH: (_whole(domain) + _whole(answers)) / 2, DOMAIN: domain, ANSWERS: answers,
            FORMAT: followed, RIGHT: right, "learning rate": rate,
        }  # fmt: skip
        if name == "merged":
            metrics[COSINE] = _cosines(texts.base, *parts(inputs, texts.text, rate, seed))
        return Measured(
            metrics, tokens=made.tokens, flops=made.flops, parameters=made.parameters,
            products={"made": made.made, "rate": rate},
        )  # fmt: skip

    return measure


def _cosines(base: Checkpoint, domain: Trained, instructed: Trained) -> float:
    """Near 0 where the two trainings moved the weights in directions of their own."""
    found = [
        abs(cosine(tensor, domain.made.tensors[name], instructed.made.tensors[name]))
        for name, tensor in base.tensors.items()
    ]
    return float(np.nanmedian(found))


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the sum of vectors, and of what was held out."""
    base_, found_ = inputs.texts.base, measured["merged"].products
    both = [one.made for one in parts(inputs, inputs.texts.text, found_["rate"], 0)]

    def same(left: Checkpoint, right: Checkpoint) -> bool:
        return all(equal_bits(t, right.tensors[n]) for n, t in left.tensors.items())

    one = combine(base_, others=both, weights=[1, 0])
    yield Invariant("weights 1 and 0 give the domain model, bit for bit", same(one, both[0]))
    none = combine(base_, others=both, weights=[0, 0])
    yield Invariant("weights of 0 give the base, bit for bit", same(none, base_))
    turned = combine(base_, others=both[::-1])
    merged = found_["made"]
    yield Invariant("the order of the vectors is irrelevant, bit for bit", same(merged, turned))
    name, base = next(iter(base_.tensors.items()))
    half = np.arange(base.numel()).reshape(base.shape) % 2 == 0
    import torch

    mask = torch.from_numpy(half)
    left = torch.where(mask, both[0].tensors[name], base)
    right = torch.where(mask, base, both[1].tensors[name])
    wanted = torch.where(mask, left, right)
    found = task_arithmetic(base, [left, right], [1, 1])
    yield Invariant("changes in different places merge without loss", equal_bits(found, wanted))
    same_base = base_.digest == inputs.texts.digest
    yield Invariant("the base is as it was before any training", same_base)
    learned, tried, tested = (set(part) for part in instructions.pairs())
    apart = not (learned & tested or learned & tried or tried & tested)
    tests, trained = (
        set(map(bytes, side.tokens)) for side in (inputs.texts.text.test, inputs.texts.text.train)
    )
    yield Invariant("no tested text and no tested pair is learned", apart and not tests & trained)
