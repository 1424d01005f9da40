"""Texts, base, curriculum and arms of the system `bioptimus`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import Source, find_set, open_set
from tilth.data.task import Task
from tilth.evaluation.card import Measured
from tilth.models.checkpoint import Checkpoint
from tilth.models.encoders import build_shape
from tilth.models.surgery.contextual import contextual_rows
from tilth.models.surgery.vocabulary import vocabulary
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.systems._encoder_study import (
    TaskPair,
    Tuning,
    drawn,
    made_tasks,
    pretrain,
    short,
    tuned_value,
)  # fmt: skip
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.transfer import Transfer, transfer
from tilth.tokens.words import word_table
from tilth.training.stages import Stage, run_stages

SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
SENTENCES = ("bio_ner_ncbi", "bio_ner_bc5cdr", "bio_ner_bc2gm", "bio_ner_jnlpba")
CHARACTERS = 60_000
SENTENCE = 200  # characters of a sentence whose entities are looked for
START, AREA, END, F1 = (
    "masked loss at step 0", "mean masked loss on the way", "masked loss at the end", "entity F1",
)  # fmt: skip
# Easy to hard: tokens, whole words, more of them, and nothing but masks.
CURRICULUM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("tokens", {"unit": "token", "rate": 0.15}),
    ("words", {"unit": "word", "rate": 0.15}),
    ("more words", {"unit": "word", "rate": 0.2}),
    ("masks alone", {"unit": "word", "rate": 0.2, "split": (1, 0, 0)}),
)


@dataclass(frozen=True)
class Shape:
    """Sizes; `tokens` is of one arm, all phases together."""

    width: int = 64
    layers: int = 1
    length: int = 128
    tokens: int = 221_184
    batch_tokens: int = 512
    rate: float = 3e-3
    contexts: int = 2000


@dataclass(frozen=True)
class Inputs:
    """`base`: of general text, in the old vocabulary; `corpus`, `held`: medical, in the new one."""

    base: Any
    old: Any
    new: Any
    moves: Transfer
    rows: dict[int, np.ndarray]
    corpus: TokenDocuments
    held: TokenDocuments
    words: str
    task: TaskPair
    tuning: Tuning
    shape: Shape


def phase(inputs: Inputs, number: int, constant: bool = False) -> Masked:
    """The objective of a phase; without a curriculum that of the first, always."""
    options = CURRICULUM[0 if constant else number][1]
    return Masked(
        length=inputs.shape.length, mask=MASK, special=(PAD,), words=inputs.words, **options
    )


def initial(inputs: Inputs, method: str, seed: int) -> Any:
    """The model that an arm starts from."""
    if method == "scratch":
        shape = inputs.shape
        return build_shape(
            shape.width, shape.layers, vocabulary=inputs.moves.new_size, context=shape.length,
            pad=PAD, seed=seed,
        )  # fmt: skip
    contexts = inputs.rows if method == "contextual" else None
    made = vocabulary(
        Checkpoint.of(inputs.base), transfer=inputs.moves, method=method, contexts=contexts,
        seed=seed,
    )  # fmt: skip
    return made.model()


def held_loss(inputs: Inputs, model: Any) -> float:
    """Nats a masked token on held-out text, the same masks for every arm and moment."""
    import torch

    objective = phase(inputs, 0)
    batch = objective.prepare(inputs.held, Draws(7))
    was = model.training
    model.eval()
    total = targets = 0.0
    with torch.inference_mode():
        for start in range(0, len(batch), 32):
            part = objective.loss(model, batch.take(slice(start, start + 32)))
            total, targets = total + float(part.total), targets + part.n_targets
    model.train(was)
    return total / targets


def arm(method: str, constant: bool = False) -> Callable[[Inputs, int], Measured]:
    """Initialise, train in four phases, fine-tune for entities."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        model = initial(inputs, method, seed)
        first = Checkpoint.of(model)
        losses = [held_loss(inputs, model)]
        shape = inputs.shape
        stages = [
            Stage(
                name.replace(" ", "-"), phase(inputs, number, constant), inputs.corpus,
                tokens=shape.tokens // len(CURRICULUM), batch_tokens=shape.batch_tokens,
                schedule="constant", learning_rate=shape.rate, warmup=0.0 if number else 0.1,
                keep_moments=number > 0,
            )
            for number, (name, _) in enumerate(CURRICULUM)
        ]  # fmt: skip
        model, histories = run_stages(
            model, stages, seed=seed, micro_batch_tokens=2048,
            on_stage=lambda _stage, now, _history: losses.append(held_loss(inputs, now)),
        )  # fmt: skip
        value, more = tuned_value(model, inputs.new, inputs.task, inputs.tuning, seed)
        middle = [(a + b) / 2 for a, b in itertools.pairwise(losses)]
        metrics = {START: losses[0], AREA: float(np.mean(middle)), END: losses[-1], F1: value}
        tokens = sum(history.plan["tokens"] for history in histories)
        metrics["tokens per parameter"] = tokens / histories[0].plan["parameters"]
        flops = sum(history.plan["flops"] for history in histories)
        return Measured(metrics, tokens=tokens + more, flops=flops, products={"first": first})

    return measure


def _finished(
    general: Sequence[str], medical: Sequence[str], size: int, base_tokens: int, shape: Shape
) -> tuple[Any, ...]:
    """The base, both tokenizers and the medical texts: trained and cut once a process."""
    old, new = (bpe.train(texts, size, special=SPECIAL) for texts in (general, medical))
    base = build_shape(
        shape.width, shape.layers, vocabulary=old.get_vocab_size(), context=shape.length, pad=PAD
    )
    objective = Masked(length=shape.length, mask=MASK, special=(PAD,))
    documents = TokenDocuments.of([str(n) for n in range(len(general))], general, old)
    pretrain(base, objective, documents, tokens=base_tokens, batch_tokens=shape.batch_tokens,
             rate=shape.rate, seed=0)  # fmt: skip
    moves = transfer(old, new)
    held_out, kept = list(medical[::10]), [t for n, t in enumerate(medical) if n % 10]
    rows = contextual_rows(
        Checkpoint.of(base), moves, old, new, kept[: shape.contexts], most=20
    )  # fmt: skip
    corpus, held = (
        TokenDocuments.of([f"{name} {n}" for n in range(len(some))], some, new)
        for name, some in (("text", kept), ("held", held_out[:400]))
    )
    return base, old, new, moves, rows, corpus, held, word_table(new)


@functools.lru_cache(maxsize=1)
def _real(size: int, base_tokens: int, shape: Shape) -> tuple[Any, Task, tuple[Source, ...]]:
    encyclopaedia, novels = find_set("wiki_plain"), find_set("books_en")
    general = [document.text[:CHARACTERS] for place in (encyclopaedia, novels)
               for document in place.documents()]  # fmt: skip
    medical, sources = [], [*encyclopaedia.sources, *novels.sources]
    for name in SENTENCES:
        task = open_set(name)
        assert isinstance(task, Task)
        sources += task.sources
        # Sentences on which entities are tested are in no corpus.
        some = task.split("train") if "train" in task.splits() else task
        medical += [" ".join(tokens) for tokens in some.table["tokens"].to_pylist()]
    entities = open_set("bio_ner_ncbi")
    assert isinstance(entities, Task)
    entities = short(entities, SENTENCE)
    return _finished(general, medical, size, base_tokens, shape), entities, tuple(sources)


def real(
    seed: int, size: int, base_tokens: int, train: int, test: int, tuning: Tuning, shape: Shape
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed: labelled sentences are drawn anew from train and devel of NCBI-disease."""
    finished, entities, sources = _real(size, base_tokens, shape)
    pair = TaskPair(
        "entities", drawn(entities.split("train"), "entities", train, 0, seed).train,
        drawn(entities.split("devel"), "entities", 0, test, seed).test,
    )  # fmt: skip
    return Inputs(*(*finished, pair, tuning, shape)), sources


@functools.lru_cache(maxsize=1)
def smoke(seed: int) -> Inputs:
    """Docstrings in two halves, and tags with known answers."""
    from tilth.zoo.micro import docstrings

    shape = Shape(width=32, layers=1, length=32, tokens=4 * 10 * 64, batch_tokens=64, contexts=20)
    texts = [text for _, text in docstrings()[:60]]
    finished = _finished(texts[::2], texts[1::2], 300, 12 * 128, shape)
    words = "file name list object string return value error path read".split()
    pair = drawn(made_tasks(seed, words)[0], "entities", 32, 16, 0)
    return Inputs(*(*finished, pair, Tuning(5, 16, 5e-3, 16), shape))
