"""Texts, tasks and objectives of the system `legalturk`."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tilth.data.sets import Source, open_set
from tilth.data.task import Task
from tilth.objectives.masked import Masked
from tilth.objectives.sentences import Sentences
from tilth.systems._encoder_study import TaskPair, Tuning, drawn, made_tasks, part, short
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.words import informative_words, word_table

SENTENCE, STRETCH, KINDS = 160, 400, 4  # characters, characters, most frequent kinds
CHARACTERS = 30_000  # of one document, so that no service makes up the corpus
SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
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

    Half of the documents, and a third of the Turkish sentences, are for the tasks and in no corpus.
    """
    terms, cases, turkish = (open_set(name) for name in ("legal_terms", "legal_scotus", "ner_tr"))
    assert isinstance(terms, Task) and isinstance(cases, Task) and isinstance(turkish, Task)
    documents = terms.table["text"].to_pylist()
    texts = [text[:CHARACTERS] for text in documents[::2]]
    texts += cases.table["text"].to_pylist()
    sentences = [" ".join(tokens) for tokens in turkish.table["tokens"].to_pylist()]
    texts += [text for number, text in enumerate(sentences) if number % 3]
    tokenizer, corpus, table, listed = _tokens(texts, vocabulary, informative)
    entities = short(part(turkish, range(0, len(sentences), 3)), SENTENCE)
    sources: tuple[Source, ...] = (*terms.sources, *cases.sources, *turkish.sources)
    return corpus, tokenizer, table, listed, entities, _kinds(terms), sources


def _kinds(terms: Task) -> Task:
    """Stretches of the documents that are in no corpus, by the kind of the document."""
    import pyarrow as pa

    from tilth.data.task import schema

    columns = (terms.table[name].to_pylist()[1::2] for name in ("id", "text", "label"))
    rows = list(zip(*columns))
    names = [name for name, _ in Counter(label for _, _, label in rows).most_common(KINDS)]
    made = [
        {"id": f"{id} {start}", "group": id, "split": "", "label": label,
         "text": text[start : start + STRETCH]}
        for id, text, label in rows if label in names
        for start in range(0, min(len(text), CHARACTERS), 4 * STRETCH)
    ]  # fmt: skip
    return replace(terms, table=pa.Table.from_pylist(made, schema("classify")))


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
    corpus, tokenizer, table, listed, entities, kinds, sources = _legal(vocabulary, informative)
    tasks = (
        drawn(entities, "entities", train, test, seed), drawn(kinds, "kinds", train, test, seed),
    )  # fmt: skip
    return Inputs(corpus, tokenizer, table, listed, tasks, tuning, **shape), sources


def smoke(seed: int, tuning: Tuning, shape: dict[str, Any]) -> Inputs:
    """The corpus of the micro models, and tasks with known answers."""
    from tilth.zoo import tiny

    _, tokenizer, corpus = tiny("masked")
    corpus = corpus.select(range(60))
    table = word_table(tokenizer)
    words = "file name list object string return value error path read".split()
    tagged, classified = made_tasks(seed, words)
    tasks = (drawn(tagged, "entities", 32, 16, 0), drawn(classified, "kinds", 32, 16, 0))
    listed = informative_words(corpus, table, 100)
    return Inputs(corpus, tokenizer, table, listed, tasks, tuning, **shape)
