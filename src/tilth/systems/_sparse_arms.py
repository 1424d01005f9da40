"""Pre-training under a mask, fine-tuning without it, and the measures of `spdf`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import open_set
from tilth.errors import DataError
from tilth.evaluation.card import Invariant, Measured, ModelSource, Ratio
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
from tilth.systems import _continued_texts as given
from tilth.systems import _sparse_tasks as tasks
from tilth.systems._greedy import continued, conversations
from tilth.tokens import bpe
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule

BITS = "bits per byte of held-out texts, given their triples"
SLOTS = "slot error rate on held-out restaurants"
FLOPS = "operations a token of pre-training"
NOVELS, CHARACTERS = "books_en", 60_000
MOST_TOKENS = 90


@dataclass(frozen=True)
class Inputs:
    """`novels`: what is pre-trained on. `learned`, `tests`: pairs of the real task; `start`: a
    model that is trained already (`--model`), None: models are trained from new weights."""

    tokenizer: Any
    novels: given.Side
    learned: list[tuple[str, str]]
    tests: list[tuple[str, str]]
    meanings: list[tasks.Meaning]
    sizes: tuple[str, str]
    tokens: int
    tuning: int
    length: int
    batch: int
    rates: tuple[float, float]
    start: Checkpoint | None
    seen: dict[Any, Any]


_made: dict[Any, tuple[Any, ...]] = {}


def prepared(
    scale: str, data: Any, model: str | None, vocabulary: int, text: str
) -> tuple[Any, ...]:
    """(tokenizer, novels, learned, tests, start, sources, models), made once for all seeds."""
    key = (scale, data and tuple(data.sources), model, vocabulary, text)
    if key in _made:
        return _made[key]
    _made.clear()
    start, sources = None, ()
    models: tuple[ModelSource, ...] = ()
    if scale == "smoke":
        from tilth.zoo import tiny

        _, novels, _ = given.smoke()
        tokenizer = tiny("causal")[1]
        learned, tests = tasks.restaurants(30, 1), tasks.restaurants(6, 2)
    else:
        task = data if data is not None else open_set("kg_webnlg")
        place = given.open_text(text, NOVELS)
        sources = (*place.sources, *task.sources)
        learned, tests = tasks.triples(task)
        if len(tests) < 8:
            raise DataError(f"{len(learned) + len(tests)} short items are too few to learn from")
        texts = given.texts_of(place, CHARACTERS)
        if model is not None:
            found, tokenizer, source = given.given_model(model)
            start, models = Checkpoint.of(found), (source,)
        else:
            both = [text for pair in learned * 5 for text in pair]
            tokenizer = bpe.train([*texts, *both], vocabulary)
        novels = given.side(texts, tokenizer, "novels")
    _made[key] = (tokenizer, novels, learned, tests, start, sources, models)
    return _made[key]


def new(inputs: Inputs, seed: int, small: bool = False) -> Checkpoint:
    """New weights, or the model that was given."""
    if inputs.start is not None and not small:
        return inputs.start
    vocabulary, size = inputs.tokenizer.get_vocab_size(), inputs.sizes[small]
    return Checkpoint.of(build(size, vocabulary=vocabulary, context=inputs.length, seed=seed))


def trained_masks(inputs: Inputs, level: float, seed: int, small: bool = False) -> tuple[Any, ...]:
    """(pre-trained checkpoint, masks, tokens, operations a token), once for each seed."""
    key = (level, small)
    if key not in inputs.seen:
        fresh = new(inputs, seed, small)
        masks = draw_masks(fresh, level=level, seed=seed) if level else {}
        # Random weights are rescaled; those of a trained model stay what they are.
        rescale = inputs.start is None
        start = sparsify(fresh, level=level, seed=seed, rescale=rescale) if level else fresh
        model = start.model()
        history = fit(
            model, Causal(length=inputs.length), inputs.novels.train, tokens=inputs.tokens,
            batch_tokens=inputs.batch, learning_rate=inputs.rates[0], seed=seed,
            policy=_policy(masks),
        )  # fmt: skip
        each = sparse_flops(fresh, masks, inputs.length)
        inputs.seen[key] = (Checkpoint.of(model), masks, history.plan["tokens"], each)
    return inputs.seen[key]


def _policy(masks: Mapping[str, Any]) -> Policy | None:
    return Policy([PolicyRule("*", mask=masks)]) if masks else None


def arm(
    level: float = 0.0, *, sparse: bool = False, small: bool = False, scratch: bool = False
) -> Callable[[Inputs, int], Measured]:
    """Pre-train with so many zeros, fine-tune dense (or `sparse`), measure."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        if scratch:
            made, masks, spent, each = new(inputs, seed), {}, 0, 0.0
        else:
            made, masks, spent, each = trained_masks(inputs, level, seed, small)
        model = made.model()
        pairs = [*tasks.restaurants(len(inputs.learned), seed), *inputs.learned]
        history = fit(
            model, Instruct(length=inputs.length), conversations(pairs, inputs.tokenizer),
            tokens=inputs.tuning, batch_tokens=inputs.batch, learning_rate=inputs.rates[1],
            seed=seed, policy=_policy(masks) if sparse else None,
        )  # fmt: skip
        said = continued(
            model, inputs.tokenizer, [tasks.prompt(m) for m in inputs.meanings], MOST_TOKENS
        )
        metrics = {
            BITS: scored(model, inputs),
            SLOTS: [tasks.slot_errors(m, text) for m, text in zip(inputs.meanings, said)],
            FLOPS: each,
        }
        tokens = spent + history.plan["tokens"]
        flops = each * spent + history.plan["flops"]
        return Measured(metrics, tokens=tokens, flops=flops,
                        products={"before": made, "masks": masks})  # fmt: skip

    return measure


def scored(model: Any, inputs: Inputs) -> Ratio:
    """Bits of each held-out answer and its bytes."""
    import torch

    documents = conversations(inputs.tests, inputs.tokenizer)
    model.eval()
    bits = []
    with torch.inference_mode():
        for row, learn in zip(documents.tokens, documents.extra["learn"]):
            row, learn = row[: inputs.length + 1], learn[: inputs.length + 1]
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
