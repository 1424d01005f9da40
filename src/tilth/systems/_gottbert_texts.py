"""Texts and tasks of the system `gottbert`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.sets import SetPath, Source, find_set
from tilth.evaluation.card import Invariant, Measured
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.systems._encoder_study import (
    LEAST,
    MASK,
    PAD,
    SPECIAL,
    TaskPair,
    Tuning,
    by_blocks,
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
from tilth.tokens.bpe import decode, encode
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.mixing import Mixed

METRICS = {
    "topics": "accuracy of news topics", "entities": "entity F1 of news",
    "legal": "entity F1 of court decisions",
}  # fmt: skip
TIMES = "hidden tokens named, times the most frequent token's share"
BOOK = 60_000  # characters of a book
SENTENCE = 160  # characters of a sentence whose entities are looked for
PIECE = 2_000  # characters of a document: a chapter would be one document otherwise
SHARE = 0.3  # of the tokens is hidden


@dataclass(frozen=True)
class Language:
    """A tokenizer, the texts that it was learned on, and German ones that it was not."""

    tokenizer: Any
    corpus: Any
    held: TokenDocuments


@dataclass(frozen=True)
class Inputs:
    """`languages`: by the name of an arm; `tasks`: topics, entities, legal, drawn for the seed;
    `texts`: all that a language or a tokenizer learned from."""

    languages: dict[str, Language]
    tasks: tuple[TaskPair, ...]
    texts: Sequence[str]
    tuning: Tuning
    width: int
    layers: int
    length: int
    tokens: int
    batch_tokens: int
    rate: float
    least: float = LEAST


def objective(inputs: Inputs) -> Masked:
    """Masked tokens of full sentences, drawn anew each epoch."""
    return Masked(length=inputs.length, rate=SHARE, mask=MASK, special=(PAD,))


@functools.lru_cache(maxsize=1)
def _texts(vocabulary: int) -> tuple[Any, ...]:
    """(languages, tasks with the rows that may be used, texts learned from, sources): once a
    process.

    Half of the articles and of the blocks of sentences is text to pre-train on, without its labels;
    of the other half, what is not in any corpus is for fine-tuning and tests.
    """
    novels, english = find_set("books_de"), find_set("books_en")
    opened = [task_of(name) for name in ("news_de_gnad", "ner_de", "legal_ner_de")]
    german, asked = _books(novels), []
    for task in opened:
        # Nothing says which sentences come from one text: neighbours stay together.
        free, other = halves(by_blocks(task) if task.kind == "tag" else task, "gottbert")
        german += free.texts()
        asked.append(short(other, SENTENCE) if task.kind == "tag" else other)
    foreign = _books(english)[: len(german)]
    kept = [unseen(task, german) for task in asked]
    # Articles that are in no corpus, tested or not: nothing is learned from them here.
    held = kept[0].texts()[::3]
    languages = {
        "German": _language({"German": german}, vocabulary, held),
        "German and English": _language({"German": german, "English": foreign}, vocabulary, held),
    }
    sources: tuple[Source, ...] = (*novels.sources, *english.sources)
    sources += tuple(source for task in opened for source in task.sources)
    return languages, kept, [*german, *foreign], sources


def _books(place: SetPath) -> list[str]:
    """Pieces of the middle of each book."""
    found = []
    for document in place.documents():
        middle = max(0, len(document.text) // 2 - BOOK // 2)
        text = document.text[middle : middle + BOOK]
        found += [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return found


def _language(texts: dict[str, Sequence[str]], vocabulary: int, held: Sequence[str]) -> Language:
    """One tokenizer on all texts in equal parts of bytes, and their mix by equal tokens."""
    sizes = {name: sum(len(t.encode()) for t in some) for name, some in texts.items()}
    least = min(sizes.values())
    learned: list[str] = []
    for name, some in texts.items():
        step = max(1, round(sizes[name] / least))
        learned += list(some)[::step]
    tokenizer = bpe.train(learned, vocabulary, special=SPECIAL)
    parts = {name: tokens_of(some, tokenizer) for name, some in texts.items()}
    return Language(tokenizer, Mixed(parts, limit=1), tokens_of(held, tokenizer, "held "))


def real(
    seed: int, vocabulary: int, train: int, test: int, tuning: Tuning, shape: dict[str, Any]
) -> tuple[Inputs, tuple[Source, ...]]:
    """Inputs of a seed: texts are the same, the labelled rows are drawn anew."""
    languages, kept, texts, sources = _texts(vocabulary)
    tasks = tuple(
        drawn(task, name, train, test, seed) for name, task in zip(METRICS, kept, strict=True)
    )
    return Inputs(languages, tasks, texts, tuning, **shape), sources


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

    texts = [text for _, text in docstrings()[:70]]
    texts, held = texts[:60], texts[60:]
    other = [" ".join(word[::-1] for word in text.split()) for text in texts]
    languages = {
        "German": _language({"German": texts}, 320, held),
        "German and English": _language({"German": texts, "English": other}, 320, held),
    }
    words = "file name list object string return value error path read".split()
    tagged, classified = made_tasks(seed, words)
    tasks = tuple(
        drawn(task, name, 32, 16, 0)
        for name, task in zip(METRICS, (classified, tagged, tagged), strict=True)
    )
    return Inputs(languages, tasks, [*texts, *other], tuning, **shape, least=0.0)


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """What was learned and from what; masks move with the epoch and not otherwise; bytes come
    back; half of the tokens are half."""
    for name, found in measured.items():
        if TIMES in found.metrics:
            yield left_the_floor(name, found.metrics[TIMES], inputs.least)
    yield nothing_tested(inputs.tasks, inputs.texts)
    german, both = (inputs.languages[name] for name in ("German", "German and English"))
    some = german.corpus.select(range(min(30, len(german.corpus))))
    first, same, other = (
        objective(inputs).prepare(some, Draws(seed, epoch))["ids"]
        for seed, epoch in ((0, 0), (0, 0), (0, 1))
    )
    yield Invariant("the same seed and epoch give the same masks", np.array_equal(first, same))
    yield Invariant("another epoch gives other masks", not np.array_equal(first, other))
    hard = "Grüße, 日本 \x00\u0301 ñ \U0001f33e\tẞ\r\n"
    back = [decode(one.tokenizer, encode(one.tokenizer, [hard])[0]) for one in (german, both)]
    yield Invariant("every text comes back from its tokens", back == [hard, hard])
    sizes = {one.tokenizer.get_vocab_size() for one in (german, both)}
    yield Invariant("both vocabularies have the same size", len(sizes) == 1)
    shares = [one["share"] for one in both.corpus.report().values()]
    yield Invariant("half of the tokens are German", all(abs(s - 0.5) < 0.02 for s in shares))
