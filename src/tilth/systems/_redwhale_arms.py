"""The model, the vocabularies and the arms of `redwhale`, and what must hold of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import SetPath, find_set
from tilth.errors import DataError
from tilth.evaluation.bits import bits_per_byte
from tilth.evaluation.card import Invariant, Measured, ModelSource, Ratio
from tilth.models.checkpoint import Checkpoint, untie
from tilth.models.decoder import build
from tilth.models.lora import add_lora, merge_lora
from tilth.models.surgery.promise import equal_bits
from tilth.models.surgery.run import operate
from tilth.models.surgery.vocabulary import vocabulary
from tilth.objectives.causal import Causal
from tilth.systems import _continued_texts as given
from tilth.tokens import bpe
from tilth.tokens.transfer import Transfer, extend, transfer
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule

START = "bits per byte at the start"
AREA = "mean bits per byte on the way"
END = "bits per byte at the end"
OLD = "bits per byte on the old language at the end"
MEMORY = "bytes of weights, gradients and moments"
NOVELS, KOREAN, CHARACTERS, REVIEWS = "books_en", "ko_nsmc", 60_000, 24_000
GLANCES, RANK = 8, 8
TABLES = ("*embed*", "*wte*", "*lm_head*")


@dataclass(frozen=True)
class Inputs:
    """`base` has a head of its own. `texts`: new language in old and in new tokens; `english`:
    held-out text of the old language, in new tokens."""

    base: Checkpoint
    tokenizers: tuple[Any, Any]
    transfer: Transfer
    old_tokens: given.Side
    new_tokens: given.Side
    english: tuple[Any, Any]
    samples: tuple[list[str], list[str]]
    tokens: int
    length: int
    batch: int
    rate: float


_made: dict[Any, tuple[Any, ...]] = {}


def prepared(
    scale: str, data: SetPath | None, model: str | None, *, more: int, base_tokens: int, size: str,
    size_vocabulary: int, length: int, base_rate: float, korean: float, given_old: str,
) -> tuple[Any, ...]:  # fmt: skip
    """(fields of `Inputs` up to `samples`, sources, models), made once for all seeds."""
    key = (scale, data and data.digest, model, more, base_tokens, size, size_vocabulary, length,
           base_rate, korean, given_old)  # fmt: skip
    if key in _made:
        return _made[key]
    _made.clear()
    models: tuple[ModelSource, ...] = ()
    sources: tuple[Any, ...] = ()
    if scale == "smoke":
        from tilth.zoo import tiny
        from tilth.zoo.micro import docstrings

        base, tokenizer, _ = tiny("causal")
        old = [text[:600] for _, text in docstrings()[:60]]
        new = [f"영화가 정말 좋다 {n * n}" for n in range(300)]
    else:
        place = data if data is not None else find_set(KOREAN)
        new = given.texts_of(place, CHARACTERS)[:REVIEWS]
        novels = given.open_text(given_old, NOVELS)
        old = given.texts_of(novels, CHARACTERS)
        sources = (*novels.sources, *place.sources)
        if model is not None:
            base, tokenizer, source = given.given_model(model)
            models = (source,)
        else:
            tokenizer = bpe.train(old, size_vocabulary)
            base = build(size, vocabulary=tokenizer.get_vocab_size(), context=length, seed=0)
            # The English models of the paper have seen some text of the new language too: a part
            # that the arms do not see stands for it.
            seen = len(new) // 4
            few, new = new[:seen], new[seen:]
            mixed = given.side(old, tokenizer, "old").train
            extra = given.side(few, tokenizer, "new").train
            rows = int(korean * mixed.total_tokens / max(1, extra.total_tokens) * len(extra))
            _train_base(base, mixed, extra, min(rows, len(extra)), base_tokens, length, base_rate)
    wider = extend(tokenizer, new[len(new) // 10 :], more)
    found = transfer(tokenizer, wider)
    sides = tuple(given.side(new, one, "new") for one in (tokenizer, wider))
    english = tuple(given.side(old, one, "old").test for one in (tokenizer, wider))
    if found.new_size == found.old_size:
        raise DataError("the text holds no frequent pair that the vocabulary lacks")
    fields = (untie(Checkpoint.of(base)), (tokenizer, wider), found, *sides, english,
              (old[:20], new[:20]))  # fmt: skip
    _made[key] = (fields, sources, models)
    return _made[key]


def _train_base(
    base: Any, mixed: Any, extra: Any, rows: int, tokens: int, length: int, rate: float
) -> None:
    from tilth.tokens.documents import TokenDocuments

    some = extra.select(range(rows))
    both = TokenDocuments(
        [*mixed.ids, *some.ids], [*mixed.tokens, *some.tokens], mixed.vocabulary, mixed.end,
        [*mixed.sizes, *some.sizes],
    )  # fmt: skip
    fit(base, Causal(length=length), both, tokens=tokens, batch_tokens=2048, learning_rate=rate)


def arm(
    method: str = "pieces", *, head: bool = True, staged: bool = False
) -> Callable[[Inputs, int], Measured]:
    """An arm: how rows are made; `method` empty keeps the old vocabulary."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        side, made = inputs.new_tokens, inputs.base
        if method:
            made = vocabulary(made, transfer=inputs.transfer, method=method, head=head, seed=seed)
        else:
            side = inputs.old_tokens
        model = made.model()
        course = [_glance(model, side, inputs)]
        at_start = _scored(model, side.test, inputs.length)
        stages = STAGES if staged else (("all", 1.0, ()),)
        spent, flops, memory, kept = 0, 0.0, 0, True
        for name, share, patterns in stages:
            before = Checkpoint.of(model)
            tokens = round(inputs.tokens * share / inputs.batch) * inputs.batch
            history, trained = _stage(inputs, model, side, name, patterns, tokens, seed, course)
            spent += history.plan["tokens"]
            flops += history.plan["flops"]
            held = sum(p.numel() for p in model.parameters())
            memory = max(memory, 4 * held + 12 * trained)
            if patterns:
                kept = kept and _frozen_stayed(before, Checkpoint.of(model), patterns)
        # In order of tokens, each glance standing for the stretch around it.
        weights = np.ones(len(course))
        weights[[0, -1]] = 0.5
        english = inputs.english[1 if method else 0]
        return Measured(
            {
                START: at_start,
                AREA: float(np.average(course, weights=weights)),
                END: _scored(model, side.test, inputs.length),
                OLD: _scored(model, english, inputs.length),
                MEMORY: float(memory),
            },
            tokens=spent, flops=flops, products={"kept": kept, "trained": Checkpoint.of(model)},
        )  # fmt: skip

    return measure


# Name, share of the tokens, what trains. The last one trains changes of low rank.
STAGES = (
    ("tables", 1 / 3, TABLES), ("odd", 1 / 6, ("odd",)), ("even", 1 / 6, ("even",)),
    ("low rank", 1 / 3, ()),
)  # fmt: skip


def _patterns(patterns: tuple[str, ...], model: Any) -> list[str]:
    """`odd` and `even` stand for every second layer."""
    if patterns not in (("odd",), ("even",)):
        names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
        return [p for p in patterns if any(p.strip("*") in name for name in names)]
    first = 1 if patterns == ("odd",) else 0
    numbers = range(first, model.config.num_hidden_layers, 2)
    return [f"*.{n}.*" for n in numbers]


def _stage(
    inputs: Inputs, model: Any, side: given.Side, name: str, patterns: tuple[str, ...],
    tokens: int, seed: int, course: list[float],
) -> tuple[Any, int]:  # fmt: skip
    steps = tokens // inputs.batch
    every = max(1, round(inputs.tokens / inputs.batch / GLANCES))

    def on_step(point: Any) -> None:
        if point.step % every == 0 or point.step == steps:
            course.append(_glance(model, side, inputs))

    policy = None
    if patterns:
        rules = [PolicyRule(p) for p in _patterns(patterns, model)]
        policy = Policy([PolicyRule("*", trainable=False), *rules])
    if name == "low rank":
        add_lora(model, rank=RANK, seed=seed)
    named = list(model.named_parameters())
    if policy is not None:
        trained = sum(p.numel() for n, p in named if policy.rule_for([n]).trainable)  # type: ignore[union-attr]
    else:
        trained = sum(p.numel() for _, p in named if p.requires_grad)
    history = fit(
        model, Causal(length=inputs.length), side.train, tokens=tokens, batch_tokens=inputs.batch,
        learning_rate=inputs.rate, seed=seed, policy=policy, on_step=on_step, minimum_steps=1,
    )  # fmt: skip
    if name == "low rank":
        merge_lora(model)
    return history, trained


def _glance(model: Any, side: given.Side, inputs: Inputs) -> float:
    return float(bits_per_byte(model, side.glance, inputs.length)["bits_per_byte"])


def _scored(model: Any, documents: Any, length: int) -> Ratio:
    """Bits and bytes of every third held-out document."""
    some = documents.select(range(0, len(documents), 3))
    found = bits_per_byte(model, some, length)["per_document"]
    return Ratio(np.array(found["bits"]), np.array(found["bytes"], dtype=float))


def _frozen_stayed(before: Checkpoint, after: Checkpoint, patterns: tuple[str, ...]) -> bool:
    """Whether all that a stage does not train is as it was, bit for bit."""
    import fnmatch

    live = _patterns(patterns, before.model())
    return all(
        equal_bits(tensor, after.tensors[name])
        for name, tensor in before.tensors.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in live)
    )


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the vocabulary and of the stages."""
    old, new = inputs.tokenizers
    fresh = set(inputs.transfer.fresh.tolist())
    texts = [text for some in inputs.samples for text in some]
    same = all(
        a == b or fresh & set(b) for a, b in zip(bpe.encode(old, texts), bpe.encode(new, texts))
    )
    yield Invariant("a text without new tokens is cut as before", same)
    back = all(bpe.decode(new, ids) == text for ids, text in zip(bpe.encode(new, texts), texts))
    yield Invariant("decode after encode gives the text", back)
    done = operate("vocabulary", inputs.base, transfer=inputs.transfer)
    name = "shared rows are bit-equal, old logits within 1e-5"
    yield Invariant(name, not done.kept.broken and done.promise.function)
    kept = measured["staged"].products["kept"]
    yield Invariant("what a stage freezes is bit-equal after it", kept)
