"""Pre-training under a mask, fine-tuning without it, and the measures of `spdf`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.card import Invariant, Measured, Ratio
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import build
from tilth.models.surgery.promise import logits_of
from tilth.models.surgery.sparse import (
    apply_masks,
    draw_masks,
    masked_names,
    sparse_flops,
    sparsify,
)
from tilth.objectives.causal import Causal
from tilth.objectives.instruct import Instruct
from tilth.systems import _sparse_tasks as tasks
from tilth.systems._greedy import continued, conversations
from tilth.systems._rates import TUNING_SEED
from tilth.systems._sparse_texts import Pairs, Texts
from tilth.training.history import History
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule

BITS = "bits per byte of held-out texts, given their triples"
SLOTS = "slot error rate on held-out restaurants"
FLOPS = "operations a token of pre-training"
LEFT_OUT = "items left out, longer than a row"
MOST_TOKENS = 70


class Start(NamedTuple):
    """A pre-trained checkpoint, its masks, and what it cost: tokens, operations a token."""

    made: Checkpoint
    masks: Mapping[str, Any]
    tokens: int
    each: float


@dataclass(frozen=True)
class Inputs:
    """`sizes`: of the models, and of the small dense one; `rates`: to choose from, of
    pre-training and of fine-tuning; `seen`: what this seed has pre-trained."""

    texts: Texts
    meanings: list[tasks.Meaning]
    restaurants: int
    sizes: tuple[str, str]
    tokens: int
    tuning: int
    length: int
    batch: int
    rates: tuple[tuple[float, ...], tuple[float, ...]]
    seen: dict[Any, Start]

    @property
    def key(self) -> tuple[Any, ...]:
        """What the choice of a rate depends on, besides the texts and the arm."""
        return self.restaurants, self.sizes, self.tokens, self.tuning, self.batch


def new(inputs: Inputs, seed: int, small: bool = False) -> Checkpoint:
    """New weights, or the model that was given."""
    if inputs.texts.start is not None and not small:
        return inputs.texts.start
    vocabulary, size = inputs.texts.tokenizer.get_vocab_size(), inputs.sizes[small]
    return Checkpoint.of(build(size, vocabulary=vocabulary, context=inputs.length, seed=seed))


def started(inputs: Inputs, level: float, seed: int, small: bool = False) -> Start:
    """Pre-trained at the best rate, once for each seed; arms that begin alike share it."""
    if (level, small) not in inputs.seen:

        def bits(rate: float) -> float:
            tuning = inputs.texts.tuning
            made = pretrained(inputs, level, TUNING_SEED, small, rate, tuning.train).made
            found = bits_per_byte(made.model(), tuning.test, inputs.length)
            return float(found["bits_per_byte"])

        key = ("pre-training", level, small, *inputs.key)
        rate = inputs.texts.chosen.rate(key, inputs.rates[0], bits)
        data = inputs.texts.novels.train
        inputs.seen[level, small] = pretrained(inputs, level, seed, small, rate, data)
    return inputs.seen[level, small]


def pretrained(
    inputs: Inputs, level: float, seed: int, small: bool, rate: float, data: Any
) -> Start:
    """New weights with so many zeros, trained on general text under their mask."""
    fresh = new(inputs, seed, small)
    masks = draw_masks(fresh, level=level, seed=seed) if level else {}
    # Random weights are rescaled; those of a trained model stay what they are.
    rescale = inputs.texts.start is None
    start = sparsify(fresh, level=level, seed=seed, rescale=rescale) if level else fresh
    model = start.model()
    history = fit(
        model, Causal(length=inputs.length), data, tokens=inputs.tokens,
        batch_tokens=inputs.batch, learning_rate=rate, seed=seed, policy=_policy(masks),
    )  # fmt: skip
    each = sparse_flops(fresh, masks, inputs.length)
    return Start(Checkpoint.of(model), masks, history.plan["tokens"], each)


def _policy(masks: Mapping[str, Any]) -> Policy | None:
    return Policy([PolicyRule("*", mask=masks)]) if masks else None


def arm(
    level: float = 0.0, *, sparse: bool = False, small: bool = False, scratch: bool = False
) -> Callable[[Inputs, int], Measured]:
    """Pre-train with so many zeros, fine-tune dense (or `sparse`), measure."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        if scratch:
            start = Start(new(inputs, seed), {}, 0, 0.0)
        else:
            start = started(inputs, level, seed, small)
        masks = start.masks if sparse else {}

        def bits(rate: float) -> float:
            model, _ = tuned(inputs, start.made, masks, rate, TUNING_SEED)
            found = scored(model, inputs, inputs.texts.tried)
            return float(found.numerators.sum() / found.denominators.sum())

        key = ("tuning", level, sparse, small, scratch, *inputs.key)
        rate = inputs.texts.chosen.rate(key, inputs.rates[1], bits)
        model, history = tuned(inputs, start.made, masks, rate, seed)
        said = continued(
            model, inputs.texts.tokenizer, [tasks.prompt(m) for m in inputs.meanings], MOST_TOKENS
        )
        metrics = {
            BITS: scored(model, inputs, inputs.texts.tests),
            SLOTS: [tasks.slot_errors(m, text) for m, text in zip(inputs.meanings, said)],
            FLOPS: start.each, LEFT_OUT: inputs.texts.left_out, "learning rate": rate,
        }  # fmt: skip
        zeros = sum(int((~mask).sum()) for mask in masks.values())
        return Measured(
            metrics, tokens=start.tokens + history.plan["tokens"],
            flops=start.each * start.tokens + history.plan["flops"],
            parameters=history.plan["parameters"] - zeros,
            products={"before": start.made, "masks": start.masks},
        )  # fmt: skip

    return measure


def tuned(
    inputs: Inputs, start: Checkpoint, masks: Mapping[str, Any], rate: float, seed: int
) -> tuple[Any, History]:
    """Fine-tuned on both tasks at once, zeros of `masks` kept."""
    pairs = [*tasks.restaurants(inputs.restaurants, seed), *inputs.texts.learned]
    model = start.model()
    history = fit(
        model, Instruct(length=inputs.length), conversations(pairs, inputs.texts.tokenizer),
        tokens=inputs.tuning, batch_tokens=inputs.batch, learning_rate=rate, seed=seed,
        policy=_policy(masks),
    )  # fmt: skip
    return model, history


def scored(model: Any, inputs: Inputs, pairs: Pairs) -> Ratio:
    """Bits of each answer and its bytes."""
    import torch

    documents = conversations(pairs, inputs.texts.tokenizer)
    model.eval()
    bits = []
    with torch.inference_mode():
        for row, learn in zip(documents.tokens, documents.extra["learn"]):
            ids = torch.from_numpy(row.astype(np.int64))[None]
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0].float()
            nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").numpy()
            bits.append(float(nats[learn[1:]].sum()) / np.log(2))
    return Ratio(np.array(bits), np.array(documents.sizes, dtype=float))


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Zeros are zeros, masks have their density, and what they save is counted by hand."""
    import torch

    level = 0.75
    found = measured["75 % sparse, then dense"].products
    made, masks = found["before"], found["masks"]
    zero = torch.zeros(1).view(torch.int32)
    exact = all(
        bool((made.tensors[n][~mask].view(torch.int32) == zero).all()) for n, mask in masks.items()
    )
    yield Invariant("masked weights are exactly 0.0 after the training", exact)
    dense = all(abs(int(mask.sum()) - (1 - level) * mask.numel()) <= 1 for mask in masks.values())
    yield Invariant("each matrix has its density to one element", dense)
    yield Invariant("all matrices of the layers are masked", set(masks) == set(masked_names(made)))
    ids = torch.arange(5, 15)[None]
    same = torch.equal(logits_of(made, ids), logits_of(apply_masks(made, masks), ids))
    yield Invariant("the first dense forward is the last sparse one, bit for bit", same)
    config = made.config
    kept = sum(
        int(masks[n].sum()) if n in masks else t.numel()
        for n, t in made.tensors.items()
        if "position" not in n and "wpe" not in n
    )
    untied = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    attention = config.num_hidden_layers * config.hidden_size * inputs.length
    by_hand = 6 * (kept - untied) + 6 * attention
    counted = sparse_flops(made, masks, inputs.length)
    yield Invariant("operations equal the formula by hand", counted == by_hand)
    texts = inputs.texts
    known = {pair for pair in [*texts.learned, *texts.tried]}
    yield Invariant("no tested pair is learned or tuned on", not known & set(texts.tests))
    asked = {tasks.prompt(one) for one in inputs.meanings}
    told = {prompt for prompt, _ in tasks.restaurants(inputs.restaurants, 0)}
    yield Invariant("no tested restaurant is learned", not asked & told)
