"""What the arms of `finance-merge` share: base, domain and instructed model, their merges."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import SetPath, Source, find_set
from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.card import Invariant, Measured, ModelSource, Ratio
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import build
from tilth.models.surgery.arithmetic import cosine, task_arithmetic
from tilth.models.surgery.combine import combine
from tilth.models.surgery.promise import equal_bits
from tilth.objectives.causal import Causal
from tilth.objectives.instruct import Instruct
from tilth.systems import _continued_texts as given
from tilth.systems import _merge_instructions as instructions
from tilth.systems._greedy import continued, conversations
from tilth.tokens import bpe
from tilth.training.loop import fit

DOMAIN = "bits per byte on held-out domain text"
FORMAT = "held-out instructions followed"
KEPT = "smaller share of both gains kept"
COSINE = "median |cosine| of the two vectors over tensors"
NOVELS, FINANCE, CHARACTERS = "books_en", "finance_tatqa", 75_000


@dataclass(frozen=True)
class Inputs:
    """`text`: domain text in tokens; `found`: bits per byte and share right of base, domain and
    instructed model; `tokens`: of each of the two trainings."""

    base: Checkpoint
    domain: Checkpoint
    instructed: Checkpoint
    tokenizer: Any
    text: given.Side
    tokens: int
    options: dict[str, Any]
    prompts: list[tuple[str, str]]
    found: dict[str, tuple[float, float]]


_bases: dict[Any, tuple[Any, ...]] = {}


def base_of(
    scale: str, data: SetPath | None, model: str | None, *, base_tokens: int, size: str,
    vocabulary: int, length: int, rate: float,
) -> tuple[Any, ...]:  # fmt: skip
    """(base checkpoint, tokenizer, domain text, sources, models), made once for all seeds."""
    key = (scale, data and data.digest, model, base_tokens, size, vocabulary, length, rate)
    if key in _bases:
        return _bases[key]
    _bases.clear()
    models: tuple[ModelSource, ...] = ()
    sources: tuple[Source, ...] = ()
    if scale == "smoke":
        from tilth.zoo import tiny

        base, _, text = given.smoke()
        tokenizer = tiny("causal")[1]
    else:
        place = data if data is not None else find_set(FINANCE)
        domain = given.texts_of(place, CHARACTERS) if data is not None else _reports(place)
        sources = place.sources
        if model is not None:
            base, tokenizer, source = given.given_model(model)
            models = (source,)
        else:
            novels = find_set(NOVELS)
            texts = given.texts_of(novels, CHARACTERS)
            sources = (*novels.sources, *sources)
            tokenizer = bpe.train(texts, vocabulary)
            base = build(size, vocabulary=tokenizer.get_vocab_size(), context=length, seed=0)
            fit(base, Causal(length=length), given.side(texts, tokenizer, "novels").train,
                tokens=base_tokens, batch_tokens=2048, learning_rate=rate)  # fmt: skip
        text = given.side(domain, tokenizer, "domain")
    _bases[key] = (Checkpoint.of(base), tokenizer, text, sources, models)
    return _bases[key]


def _reports(place: SetPath) -> list[str]:
    """Paragraphs and table of each report, without the questions, in the order of their digests."""
    with gzip.open(place.path / "tatqa_dev.json.gz", "rt", encoding="utf-8") as file:
        reports = json.load(file)
    texts = []
    for report in reports:
        rows = [" | ".join(row) for row in report["table"]["table"]]
        paragraphs = [part["text"] for part in sorted(report["paragraphs"], key=_order)]
        texts.append("\n".join([*paragraphs, *rows]))
    return sorted(set(texts), key=given.digest)


def _order(part: Mapping[str, Any]) -> int:
    return int(part["order"])


def tuned(inputs: Inputs, start: Checkpoint, seed: int) -> Checkpoint:
    """`start`, fine-tuned on instructions."""
    data = conversations(instructions.conversations(2000, seed), inputs.tokenizer)
    return _fit(inputs, start, Instruct(length=inputs.options["length"]), data, seed)


def adapted(inputs: Inputs, start: Checkpoint, seed: int) -> Checkpoint:
    """`start`, gone on with on domain text."""
    return _fit(inputs, start, Causal(length=inputs.options["length"]), inputs.text.train, seed)


def _fit(inputs: Inputs, start: Checkpoint, objective: Any, data: Any, seed: int) -> Checkpoint:
    model = start.model()
    fit(
        model, objective, data, tokens=inputs.tokens, batch_tokens=inputs.options["batch"],
        learning_rate=inputs.options["rate"], seed=seed,
    )  # fmt: skip
    return Checkpoint.of(model)


def scores(inputs: Inputs, made: Checkpoint) -> tuple[Ratio, list[float]]:
    """Bits and bytes of each held-out text; 1 or 0 for each held-out instruction."""
    model = made.model()
    length = inputs.options["length"]
    found = bits_per_byte(model, inputs.text.test, length)["per_document"]
    prompts = [instructions.prompt(*pair) for pair in inputs.prompts]
    texts = continued(model, inputs.tokenizer, prompts, inputs.options["most"])
    followed = [float(instructions.right(*pair, t)) for pair, t in zip(inputs.prompts, texts)]
    return Ratio(np.array(found["bits"]), np.array(found["bytes"], dtype=float)), followed


def arm(
    make: Callable[[Inputs, int], Checkpoint], trainings: int
) -> Callable[[Inputs, int], Measured]:
    """The arm whose checkpoint `make` gives after so many `trainings` in all."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        made = make(inputs, seed)
        bits, followed = scores(inputs, made)
        bpb = float(bits.numerators.sum() / bits.denominators.sum())
        (b_text, b_form), (d_text, _), (_, i_form) = (
            inputs.found[name] for name in ("base", "domain", "instructed")
        )
        text, form = b_text - d_text, i_form - b_form
        nothing = text <= 0 or form <= 0
        shares = [] if nothing else [(b_text - bpb) / text, (np.mean(followed) - b_form) / form]
        kept = float(min(shares)) if shares else float("nan")
        metrics = {DOMAIN: bits, FORMAT: followed, KEPT: kept, COSINE: _cosines(inputs)}
        return Measured(metrics, tokens=trainings * inputs.tokens, products={"checkpoint": made})

    return measure


def _cosines(inputs: Inputs) -> float:
    """Near 0 where the two trainings moved the weights in directions of their own."""
    found = [
        abs(cosine(tensor, inputs.domain.tensors[name], inputs.instructed.tensors[name]))
        for name, tensor in inputs.base.tensors.items()
    ]
    return float(np.nanmedian(found))


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the sum of vectors."""
    both = [inputs.domain, inputs.instructed]

    def same(left: Checkpoint, right: Checkpoint) -> bool:
        return all(equal_bits(t, right.tensors[n]) for n, t in left.tensors.items())

    one = combine(inputs.base, others=both, weights=[1, 0])
    yield Invariant("weights 1 and 0 give the domain model, bit for bit", same(one, both[0]))
    none = combine(inputs.base, others=both, weights=[0, 0])
    yield Invariant("weights of 0 give the base, bit for bit", same(none, inputs.base))
    turned = combine(inputs.base, others=both[::-1])
    merged = measured["merged"].products["checkpoint"]
    yield Invariant("the order of the vectors is irrelevant, bit for bit", same(merged, turned))
    name, base = next(iter(inputs.base.tensors.items()))
    half = np.arange(base.numel()).reshape(base.shape) % 2 == 0
    import torch

    mask = torch.from_numpy(half)
    left = torch.where(mask, both[0].tensors[name], base)
    right = torch.where(mask, base, both[1].tensors[name])
    wanted = torch.where(mask, left, right)
    found = task_arithmetic(base, [left, right], [1, 1])
    yield Invariant("changes in different places merge without loss", equal_bits(found, wanted))
    copied = copy.deepcopy(inputs.base.tensors)
    yield Invariant("the base is as it was", same(inputs.base.with_(copied), inputs.base))
