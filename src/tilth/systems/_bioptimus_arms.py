"""Texts, base, curriculum and arms of the system `bioptimus`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import Source, find_set
from tilth.data.task import Task
from tilth.evaluation.card import Measured
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import count_parameters
from tilth.models.surgery.contextual import contextual_rows
from tilth.models.surgery.vocabulary import vocabulary
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.systems._encoder_study import (
    LEAST,
    MASK,
    PAD,
    SPECIAL,
    TaskPair,
    Tuning,
    drawn,
    encoder,
    made_tasks,
    part,
    pretrain,
    seen,
    short,
    task_of,
    times_the_most_frequent,
    tokens_of,
    tuned_value,
    unseen,
)  # fmt: skip
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.transfer import Transfer, transfer
from tilth.tokens.words import word_table
from tilth.training.stages import Stage, run_stages

SENTENCES = ("bio_ner_ncbi", "bio_ner_bc5cdr", "bio_ner_bc2gm", "bio_ner_jnlpba")
CHARACTERS = 60_000
SENTENCE = 200  # characters of a sentence whose entities are looked for
START, AREA, END, F1, TIMES = (
    "masked loss at step 0", "mean masked loss on the way", "masked loss at the end", "entity F1",
    "hidden tokens named, times the most frequent token's share",
)  # fmt: skip
BLOCK = 50  # neighbouring sentences that are held out together: they may be of one abstract
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
    layers: int = 2
    length: int = 128
    tokens: int = 499_712
    batch_tokens: int = 1024
    rate: float = 5e-3
    contexts: int = 2000
    least: float = LEAST


@dataclass(frozen=True)
class Inputs:
    """`base`: of general text, in the old vocabulary, `times`: see `times_the_most_frequent`;
    `corpus` of `texts`, `held`: medical, in the new vocabulary."""

    base: Any
    times: float
    texts: list[str]
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
        return encoder(shape.width, shape.layers, inputs.new, shape.length, seed)
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
        named = times_the_most_frequent(model, inputs.held, shape.length)
        value, more = tuned_value(
            model, inputs.new, inputs.task, inputs.tuning, seed, f"{method} {constant}"
        )
        middle = [(a + b) / 2 for a, b in itertools.pairwise(losses)]
        metrics = {START: losses[0], AREA: float(np.mean(middle)), END: losses[-1], F1: value,
                   TIMES: named}  # fmt: skip
        tokens = sum(history.plan["tokens"] for history in histories) + more
        flops = sum(history.plan["flops"] for history in histories)
        return Measured(
            metrics, tokens=tokens, flops=flops, parameters=count_parameters(model),
            products={"first": first},
        )  # fmt: skip

    return measure


def _apart(texts: Sequence[str], block: int) -> tuple[list[str], list[str]]:
    """(texts to learn from, texts held out): every tenth block."""
    out = [n // block % 10 == 0 for n in range(len(texts))]
    return (
        [text for text, held in zip(texts, out) if not held],
        [text for text, held in zip(texts, out) if held],
    )


def _finished(
    general: Sequence[str], medical: Sequence[str], size: int, base_tokens: int, shape: Shape,
    block: int = BLOCK,
) -> tuple[Any, ...]:  # fmt: skip
    """The base, both tokenizers and the medical texts: trained and cut once a process.

    Blocks of the medical texts, and some of the general ones, are held out; no tokenizer learns
    from them.
    """
    (read, apart), (kept, held_out) = _apart(general, 1), _apart(medical, block)
    held_out = [text for text, told in zip(held_out, seen(held_out, kept)) if not told]
    old, new = (bpe.train(texts, size, special=SPECIAL) for texts in (read, kept))
    base = encoder(shape.width, shape.layers, old, shape.length, 0)
    objective = Masked(length=shape.length, rate=0.3, mask=MASK, special=(PAD,))
    pretrain(base, objective, tokens_of(read, old), tokens=base_tokens,
             batch_tokens=shape.batch_tokens, rate=shape.rate, seed=0)  # fmt: skip
    times = times_the_most_frequent(base, tokens_of(apart, old), shape.length)
    moves = transfer(old, new)
    rows = contextual_rows(
        Checkpoint.of(base), moves, old, new, kept[: shape.contexts], most=20
    )  # fmt: skip
    corpus, held = tokens_of(kept, new, "text "), tokens_of(held_out[:400], new, "held ")
    return base, times, kept, old, new, moves, rows, corpus, held, word_table(new)


@functools.lru_cache(maxsize=1)
def _real(size: int, base_tokens: int, shape: Shape) -> tuple[Any, Task, Task, tuple[Source, ...]]:
    encyclopaedia, novels = find_set("wiki_plain"), find_set("books_en")
    general = [document.text[:CHARACTERS] for place in (encyclopaedia, novels)
               for document in place.documents()]  # fmt: skip
    entities = task_of("bio_ner_ncbi")
    tested = entities.split("devel")
    medical, sources = [], [*encyclopaedia.sources, *novels.sources]
    for name in SENTENCES:
        task = task_of(name)
        sources += task.sources
        some = task.split("train") if "train" in task.splits() else task
        medical += some.texts()
    # The sets share abstracts: what says the same as a tested sentence is in no corpus.
    told = seen(medical, tested.texts())
    medical = [text for text, known in zip(medical, told) if not known]
    finished = _finished(general, medical, size, base_tokens, shape)
    learned = unseen(short(entities.split("train"), SENTENCE), tested.texts())
    return finished, learned, short(tested, SENTENCE), tuple(sources)


def real(
    seed: int, size: int, base_tokens: int, train: int, test: int, tuning: Tuning, shape: Shape
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed: labelled sentences are drawn anew from train and devel of NCBI-disease."""
    finished, learned, tested, sources = _real(size, base_tokens, shape)
    few = drawn(learned, "entities", train, 0, seed)
    order = np.random.default_rng([seed, 5]).permutation(tested.table.num_rows)[:test]
    pair = TaskPair("entities", few.train, part(tested, order.tolist()), few.aside)
    return Inputs(*(*finished, pair, tuning, shape)), sources


@functools.lru_cache(maxsize=1)
def smoke(seed: int) -> Inputs:
    """Docstrings in two halves, and tags with known answers."""
    from tilth.zoo.micro import docstrings

    shape = Shape(
        width=32, layers=1, length=32, tokens=4 * 10 * 64, batch_tokens=64, contexts=20, least=0.0
    )
    texts = [text for _, text in docstrings()[:60]]
    finished = _finished(texts[::2], texts[1::2], 300, 12 * 128, shape, block=1)
    words = "file name list object string return value error path read".split()
    pair = drawn(made_tasks(seed, words)[0], "entities", 32, 16, 0)
    return Inputs(*(*finished, pair, Tuning(5, 16, (5e-3,), 16), shape))
