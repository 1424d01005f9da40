"""Texts, tasks and objectives of the system `legalturk`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tilth.data.sets import Source, open_set
from tilth.data.task import Task
from tilth.objectives.masked import Masked
from tilth.objectives.sentences import Sentences
from tilth.systems._encoder_study import TaskPair, Tuning, drawn, made_tasks, part
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.words import informative_words, word_table

CHARACTERS = 30_000  # of one document, so that no service makes up the corpus
SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
# The seven coarse classes that the authors of the set give for its nineteen fine ones.
COARSE = {
    fine: coarse
    for coarse, some in {
        "PER": "PER RR AN", "LOC": "LD ST STR LDS", "ORG": "ORG UN INN GRT MRK",
        "NRM": "GS VO EUN", "REG": "VS VT", "RS": "RS", "LIT": "LIT",
    }.items()
    for fine in some.split()
}  # fmt: skip
# How sentences are named to the objectives: `none` is masked tokens alone.
RELATIONS = {"NSP": "next", "SOP": "order", "none": ""}


@dataclass(frozen=True)
class Inputs:
    """`words`, `informative`: what whole words and TF-IDF need, from the texts of the corpus."""

    corpus: TokenDocuments
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


def objective(inputs: Inputs, relation: str, corruption: str, **more: Any) -> Masked | Sentences:
    """The objective of an arm: a sentence task, and how the replaced words are drawn."""
    options: dict[str, Any] = {
        "length": inputs.length, "mask": MASK, "special": (PAD,), "words": inputs.words, **more,
    }  # fmt: skip
    if corruption == "uniform":
        options |= {"unit": "token", "replacement": "uniform"}
    else:
        options |= {"unit": "word", "replacement": "tfidf", "informative": inputs.informative}
    if not RELATIONS[relation]:
        return Masked(**options)
    return Sentences(width=inputs.width, relation=RELATIONS[relation], **options)


@functools.lru_cache(maxsize=1)
def _legal(vocabulary: int, informative: int) -> tuple[Any, ...]:
    """Texts tokenized, the tasks and the sources: once a process.

    The sentences that the entity task is tested on are in no corpus of any seed.
    """
    terms, cases, courts = (
        open_set("legal_terms"),
        open_set("legal_scotus"),
        open_set("legal_ner_de"),
    )
    assert isinstance(terms, Task) and isinstance(cases, Task) and isinstance(courts, Task)
    texts = [text[:CHARACTERS] for text in terms.table["text"].to_pylist()]
    texts += cases.table["text"].to_pylist()
    sentences = [" ".join(tokens) for tokens in courts.table["tokens"].to_pylist()]
    held = set(range(0, len(sentences), 4))
    texts += [text for number, text in enumerate(sentences) if number not in held]
    tokenizer, corpus, table, listed = _tokens(texts, vocabulary, informative)
    courts = _coarse(courts)
    sources: tuple[Source, ...] = (*terms.sources, *cases.sources, *courts.sources)
    return corpus, tokenizer, table, listed, cases, courts, held, sources


def _coarse(task: Task) -> Task:
    """The entity task with its coarse classes."""
    import pyarrow as pa

    place = task.table.column_names.index("tags")
    tags = [
        [tag if tag == "O" else tag[:2] + COARSE[tag[2:]] for tag in row]
        for row in task.table["tags"].to_pylist()
    ]
    field = task.table.schema.field("tags")
    return replace(task, table=task.table.set_column(place, field, pa.array(tags, field.type)))


def _tokens(texts: Sequence[str], vocabulary: int, informative: int) -> tuple[Any, ...]:
    tokenizer = bpe.train(texts, vocabulary, special=SPECIAL)
    corpus = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
    table = word_table(tokenizer)
    return tokenizer, corpus, table, informative_words(corpus, table, informative)


def real(
    seed: int, vocabulary: int, informative: int, train: int, test: int, tuning: Tuning,
    shape: dict[str, Any],
) -> tuple[Inputs, tuple[Source, ...]]:  # fmt: skip
    """Inputs of a seed: the corpus is the same, the labelled rows are drawn anew."""
    corpus, tokenizer, table, listed, cases, courts, held, sources = _legal(vocabulary, informative)
    tasks = (
        drawn(part(courts, sorted(held)), "entities", train, test, seed),
        drawn(cases, "issues", train, test, seed),
    )
    return Inputs(corpus, tokenizer, table, listed, tasks, tuning, **shape), sources


def smoke(seed: int, tuning: Tuning, shape: dict[str, Any]) -> Inputs:
    """The corpus of the micro models, and tasks with known answers."""
    from tilth.zoo import tiny

    _, tokenizer, corpus = tiny("masked")
    corpus = corpus.select(range(60))
    table = word_table(tokenizer)
    words = "file name list object string return value error path read".split()
    tagged, classified = made_tasks(seed, words)
    tasks = (drawn(tagged, "entities", 32, 16, 0), drawn(classified, "issues", 32, 16, 0))
    listed = informative_words(corpus, table, 100)
    return Inputs(corpus, tokenizer, table, listed, tasks, tuning, **shape)
