"""Texts, tasks and objectives of the system `legalturk`."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilth.data.sets import Source
from tilth.data.task import Task
from tilth.evaluation.card import Invariant, Measured
from tilth.objectives.batch import Draws
from tilth.objectives.masked import NO_TARGET, Masked
from tilth.objectives.sentences import Sentences
from tilth.systems._encoder_study import (
    LEAST,
    MASK,
    PAD,
    SPECIAL,
    TaskPair,
    Tuning,
    drawn,
    halves,
    left_the_floor,
    made_tasks,
    nothing_tested,
    short,
    task_of,
    tokens_of,
    unseen,
)  # fmt: skip
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.words import informative_words, word_table

SENTENCE, STRETCH, KINDS = 160, 260, 4  # characters, characters, most frequent kinds
CHARACTERS = 30_000  # of one document, so that no service makes up the corpus
# How sentences are named to the objectives: `none` is masked tokens alone.
RELATIONS = {"NSP": "next", "none": ""}
SHARE = 0.3  # of the tokens is hidden
TIMES = "hidden tokens named, times the most frequent token's share"


@dataclass(frozen=True)
class Inputs:
    """`texts`: of the corpus; `held`: legal texts that are not in it. `words`, `informative`: what
    TF-IDF needs, from the texts of the corpus."""

    texts: Sequence[str]
    corpus: TokenDocuments
    held: TokenDocuments
    tokenizer: Any
    words: str
    informative: list
    tasks: tuple[TaskPair, ...]
    tuning: Tuning
    width: int
    layers: int
    length: int
    tokens: int
    batch_tokens: int
    rate: float
    least: float = LEAST


def objective(inputs: Inputs, relation: str, corruption: str, **more: Any) -> Masked | Sentences:
    """The objective of an arm: a sentence task, and how what replaces a token is drawn."""
    options: dict[str, Any] = {
        "length": inputs.length, "mask": MASK, "special": (PAD,), "words": inputs.words,
        "rate": SHARE, **more,
    }  # fmt: skip
    if corruption == "uniform":
        options |= {"unit": "token", "replacement": "uniform"}
    else:
        options |= {"unit": "token", "replacement": "tfidf", "informative": inputs.informative}
    if not RELATIONS[relation]:
        return Masked(**options)
    return Sentences(width=inputs.width, relation=RELATIONS[relation], **options)


@functools.lru_cache(maxsize=1)
def _legal(vocabulary: int, informative: int) -> tuple[Any, ...]:
    """Texts tokenized, the tasks and the sources: once a process.

    Half of the services, of the cases and of the Turkish sentences are in no corpus; what is left
    for the tasks shares no text with the corpus either.
    """
    terms, cases, turkish = map(task_of, ("legal_terms", "legal_scotus", "ner_tr"))
    (read, asked), (told, kept), (said, tagged) = (
        halves(task, "legalturk") for task in (terms, cases, turkish)
    )  # fmt: skip
    texts = [text[:CHARACTERS] for text in read.table["text"].to_pylist()]
    texts += [*told.table["text"].to_pylist(), *said.texts()]
    entities, kinds = unseen(short(tagged, SENTENCE), texts), unseen(_kinds(asked), texts)
    tokenizer = bpe.train(texts, vocabulary, special=SPECIAL)
    held = [*kinds.texts(), *unseen(kept, texts).table["text"].to_pylist()]
    sources: tuple[Source, ...] = (*terms.sources, *cases.sources, *turkish.sources)
    made = (*_tokens(texts, tokenizer, informative), tokens_of(held, tokenizer, "held "))
    return texts, tokenizer, made, entities, kinds, sources


def _kinds(terms: Task) -> Task:
    """Stretches of documents by their kind; a service is a group."""
    import pyarrow as pa

    from tilth.data.task import schema

    columns = ("id", "group", "text", "label")
    rows = list(zip(*(terms.table[name].to_pylist() for name in columns)))
    names = [name for name, _ in Counter(row[-1] for row in rows).most_common(KINDS)]
    made = [
        {"id": f"{id} {start}", "group": group, "split": "", "label": label,
         "text": text[start : start + STRETCH]}
        for id, group, text, label in rows if label in names
        for start in range(0, min(len(text), CHARACTERS), 4 * STRETCH)
    ]  # fmt: skip
    return replace(terms, table=pa.Table.from_pylist(made, schema("classify")))


def _tokens(texts: Sequence[str], tokenizer: Any, informative: int) -> tuple[Any, ...]:
    """The corpus, where words begin, and its informative words that are one token of letters."""
    corpus, table = tokens_of(texts, tokenizer), word_table(tokenizer)
    listed = informative_words(corpus, table, tokenizer.get_vocab_size(), longest=1)
    names = [bpe.decode(tokenizer, np.array(word)).strip() for word, _ in listed]
    words = [one for one, name in zip(listed, names) if len(name) > 1 and name.isalpha()]
    return corpus, table, words[:informative]


def real(
    seed: int, vocabulary: int, informative: int, train: int, test: int, tuning: Tuning,
    shape: dict[str, Any],
) -> tuple[Inputs, tuple[Source, ...]]:  # fmt: skip
    """Inputs of a seed: the corpus is the same, the labelled rows are drawn anew."""
    texts, tokenizer, made, entities, kinds, sources = _legal(vocabulary, informative)
    corpus, table, listed, held = made
    tasks = (
        drawn(entities, "entities", train, test, seed), drawn(kinds, "kinds", train, test, seed),
    )  # fmt: skip
    inputs = Inputs(texts, corpus, held, tokenizer, table, listed, tasks, tuning, **shape)
    return inputs, sources


def smoke(seed: int, tuning: Tuning, shape: dict[str, Any]) -> Inputs:
    """The corpus of the micro models, and tasks with known answers."""
    from tilth.zoo import tiny
    from tilth.zoo.micro import docstrings

    _, tokenizer, _ = tiny("masked")
    texts = [text for _, text in docstrings()[:70]]
    corpus, table, listed = _tokens(texts[:60], tokenizer, 100)
    held = tokens_of(texts[60:], tokenizer, "held ")
    words = "file name list object string return value error path read".split()
    tagged, classified = made_tasks(seed, words)
    tasks = (drawn(tagged, "entities", 32, 16, 0), drawn(classified, "kinds", 32, 16, 0))
    return Inputs(
        texts[:60], corpus, held, tokenizer, table, listed, tasks, tuning, **shape, least=0.0
    )


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """What was learned and from what; shares, replacements, balance and purity of the rows."""
    for name, found in measured.items():
        if TIMES in found.metrics:
            yield left_the_floor(name, found.metrics[TIMES], inputs.least)
    yield nothing_tested(inputs.tasks, inputs.texts)
    some = inputs.corpus.select(range(min(150, len(inputs.corpus))))
    for corruption in ("uniform", "tfidf"):
        batch = objective(inputs, "none", corruption).prepare(some, Draws(1))
        chosen, ids = batch["targets"] != NO_TARGET, batch["ids"]
        usual = chosen & (ids != MASK)
        ordinary = batch["targets"][chosen]
        sigma = np.sqrt(SHARE * (1 - SHARE) / chosen.size)
        # Ends of documents are never chosen.
        share = abs(chosen.mean() - SHARE) < 3 * sigma + 0.004
        yield Invariant(f"{corruption}: {SHARE:.0%} are chosen within 3 sigma", bool(share))
        yield Invariant(f"{corruption}: no special token is chosen or put in",
                        not np.isin(ordinary, [0, PAD, MASK]).any()
                        and not np.isin(ids[usual], [0, PAD]).any())  # fmt: skip
        replaced = objective(inputs, "none", corruption, split=(0, 1, 0)).prepare(some, Draws(1))
        there = replaced["targets"] != NO_TARGET
        equal = (replaced["ids"] == replaced["targets"])[there].any()
        yield Invariant(f"{corruption}: what is replaced differs", not equal)
        again = objective(inputs, "none", corruption).prepare(some, Draws(1))
        yield Invariant(f"{corruption}: the same draws give the same rows",
                        all(np.array_equal(again[n], batch[n]) for n in batch.arrays))  # fmt: skip
    telling = [word[0] for word, _ in inputs.informative]
    put = np.isin(replaced["ids"][there], telling).mean()
    # Where the drawn word is the one that stood there, any other token takes its place.
    yield Invariant("TF-IDF: what is put in is informative", bool(put > 0.9))
    labels = objective(inputs, "NSP", "uniform").prepare(some, Draws(1))["labels"]
    labels = labels[labels >= 0]
    even = abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(labels))
    yield Invariant("NSP: half of the pairs are as they were", bool(even))
