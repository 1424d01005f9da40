"""Texts and tasks of the system `gottbert`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tilth.data.sets import SetPath, Source, find_set, open_set
from tilth.data.task import Task
from tilth.systems._encoder_study import TaskPair, Tuning, drawn, made_tasks, part, short
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.mixing import Mixed

SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
METRICS = {
    "topics": "accuracy of news topics", "entities": "entity F1 of news",
    "legal": "entity F1 of court decisions",
}  # fmt: skip
BOOK = 60_000  # characters of a book
SENTENCE = 160  # characters of a sentence whose entities are looked for
PIECE = 2_000  # characters of a document: a chapter would be one document otherwise


@dataclass(frozen=True)
class Language:
    """A tokenizer and the texts that it was learned on."""

    tokenizer: Any
    corpus: Any


@dataclass(frozen=True)
class Inputs:
    """`languages`: by the name of an arm; `tasks`: topics, entities, legal, drawn for the seed."""

    languages: dict[str, Language]
    tasks: tuple[TaskPair, ...]
    tuning: Tuning
    width: int
    layers: int
    length: int
    tokens: int
    batch_tokens: int
    rate: float


@functools.lru_cache(maxsize=1)
def _texts(vocabulary: int) -> tuple[Any, ...]:
    """(languages, tasks with the rows that may be used, sources): once a process.

    The first half of the articles and sentences of the tasks is text to pre-train on, without its
    labels; the other half is for fine-tuning and tests, and is in no corpus.
    """
    novels, english = find_set("books_de"), find_set("books_en")
    news, entities, legal = (open_set(n) for n in ("news_de_gnad", "ner_de", "legal_ner_de"))
    assert isinstance(news, Task) and isinstance(entities, Task) and isinstance(legal, Task)
    german = _books(novels)
    kept = []
    for task in (news, entities, legal):
        rows = range(task.table.num_rows)
        free = [n for n in rows if n % 2 == 0]
        german += _texts_of(part(task, free))
        other = part(task, [n for n in rows if n % 2])
        kept.append(short(other, SENTENCE) if task.kind == "tag" else other)
    foreign = _books(english)[: len(german)]
    languages = {
        "German": _language({"German": german}, vocabulary),
        "German and English": _language({"German": german, "English": foreign}, vocabulary),
    }
    places = (novels, english, news, entities, legal)
    sources: tuple[Source, ...] = tuple(one for place in places for one in place.sources)
    return languages, kept, sources


def _books(place: SetPath) -> list[str]:
    """Pieces of the middle of each book."""
    found = []
    for document in place.documents():
        middle = max(0, len(document.text) // 2 - BOOK // 2)
        text = document.text[middle : middle + BOOK]
        found += [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return found


def _texts_of(task: Task) -> list[str]:
    if task.kind == "tag":
        return [" ".join(tokens) for tokens in task.table["tokens"].to_pylist()]
    return task.table["text"].to_pylist()


def _language(texts: dict[str, Sequence[str]], vocabulary: int) -> Language:
    """One tokenizer on all texts in equal parts of bytes, and their mix by equal tokens."""
    sizes = {name: sum(len(t.encode()) for t in some) for name, some in texts.items()}
    least = min(sizes.values())
    learned: list[str] = []
    for name, some in texts.items():
        step = max(1, round(sizes[name] / least))
        learned += list(some)[::step]
    tokenizer = bpe.train(learned, vocabulary, special=SPECIAL)
    parts = {
        name: TokenDocuments.of([str(n) for n in range(len(some))], list(some), tokenizer)
        for name, some in texts.items()
    }
    return Language(tokenizer, Mixed(parts, limit=1))


def real(
    seed: int, vocabulary: int, train: int, test: int, tuning: Tuning, shape: dict[str, Any]
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed: texts are the same, the labelled rows are drawn anew."""
    languages, kept, sources = _texts(vocabulary)
    tasks = tuple(
        drawn(task, name, train, test, seed) for name, task in zip(METRICS, kept, strict=True)
    )
    return Inputs(languages, tasks, tuning, **shape), sources


def linear_accuracy(pair: TaskPair) -> float:
    """The share of right topics of a linear model on TF-IDF of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC())
    sides = [
        (one.table["text"].to_pylist(), one.table["label"].to_pylist())
        for one in (pair.train, pair.test)
    ]
    return float(model.fit(*sides[0]).score(*sides[1]))


def smoke(seed: int, tuning: Tuning, shape: dict[str, Any]) -> Inputs:
    """Docstrings in two made languages (the second with its words reversed), and made tasks."""
    from tilth.zoo.micro import docstrings

    texts = [text for _, text in docstrings()[:60]]
    other = [" ".join(word[::-1] for word in text.split()) for text in texts]
    languages = {
        "German": _language({"German": texts}, 320),
        "German and English": _language({"German": texts, "English": other}, 320),
    }
    words = "file name list object string return value error path read".split()
    tagged, classified = made_tasks(seed, words)
    tasks = tuple(
        drawn(task, name, 32, 16, 0)
        for name, task in zip(METRICS, (classified, tagged, tagged), strict=True)
    )
    return Inputs(languages, tasks, tuning, **shape)
