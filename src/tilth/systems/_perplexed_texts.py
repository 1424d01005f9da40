"""The texts of the system `perplexed`: pieces of equal length, harmful ones and several genres."""

from __future__ import annotations

import functools
import html
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilth.data.sets import Source, find_set, open_set
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import Prepared

# What only says that a text is a tweet: links, names of users, the mark of a repeated tweet.
MARKS = re.compile(r"https?://\S+|@\w+|\brt\b")
WORD = re.compile(r"[^\W_]+")
DIGIT = re.compile(r"\d")
# Two pieces that share so many words in a row are one text told twice.
SHARED = 6
EXCERPT = 100_000  # characters from the middle of a book


@dataclass(frozen=True)
class Inputs:
    """Pieces of `words` words each; `kinds` are the labels of the harmful test pieces.

    `train`, `test`: genre -> clean pieces, the same number in each and of harmful training pieces.
    """

    harmful_train: list[str]
    harmful_test: list[str]
    kinds: list[str]
    train: dict[str, list[str]]
    test: dict[str, list[str]]
    bad_words: list[str]
    words: int

    @property
    def budget(self) -> int:
        """Words that one language model, or one side of a classifier, is trained on."""
        return self.words * len(self.harmful_train)


def prepare(
    scale: str, data: Task | None, seed: int, *, words: int, training: int, test: int,
    harmful: str, bad_words: str,
) -> Prepared:  # fmt: skip
    """What the arms of one seed share; see the system."""
    labels = tuple(label.strip() for label in harmful.split(",") if label.strip())
    sources: tuple[Source, ...] = ()
    if scale == "smoke":
        groups, terms = _made(words), ["xxa", "xxbo"]
        training, test = min(training, 120), min(test, 40)
        labels = ("harmful",)
    else:
        if data is None:
            groups, sources = _named(words)
        else:
            groups = _of_task(data, words)
        terms, source = _bad_words(bad_words)
        sources += source
    return Prepared(_drawn(groups, labels, seed, words, training, test, terms), data=sources)


def _drawn(
    groups: Mapping[str, Sequence[str]], labels: Sequence[str], seed: int, words: int,
    training: int, test: int, terms: list[str],
) -> Inputs:  # fmt: skip
    """Training and test pieces of one seed, drawn without putting back."""
    genres = [name for name in groups if name not in labels]
    missing = [label for label in labels if label not in groups]
    if missing or len(genres) < 3:
        raise DataError(
            f"texts with the labels {', '.join(labels)} and of at least three others are needed, "
            f"of {words} words or more; there are: {', '.join(groups)}",
            hint="name the harmful labels: --set harmful=hate,offensive",
        )
    pool = [(label, piece) for label in labels for piece in groups[label]]
    least = min(len(pool), *(len(groups[genre]) for genre in genres))
    # A small group shrinks all of them alike, so that budgets stay equal.
    test = min(test, least // 4)
    training = min(training, least - test)
    if test < 10:
        raise DataError(f"the smallest group has {least} pieces of {words} words; 40 are needed")
    rng = np.random.default_rng([seed, 53])
    order = rng.permutation(len(pool))[: training + 2 * test]
    chosen = [pool[number] for number in order]
    tested = chosen[training:]
    train_of, test_of = {}, {}
    for genre in genres:
        places = rng.permutation(len(groups[genre]))[: training + test]
        pieces = [groups[genre][place] for place in places]
        train_of[genre], test_of[genre] = pieces[:training], pieces[training:]
    return Inputs(
        [piece for _, piece in chosen[:training]],
        [piece for _, piece in tested],
        [label for label, _ in tested],
        train_of,
        test_of,
        terms,
        words,
    )


def fold(text: str) -> list[str]:
    """Words in lower case, digits as 0; without marks that only tweets have, and punctuation."""
    text = MARKS.sub(" ", html.unescape(text).lower())
    return [DIGIT.sub("0", word) for word in WORD.findall(text)]


def pieces(texts: Iterable[str], words: int, most: int, seen: set[tuple[str, ...]]) -> list[str]:
    """At most `most` pieces of exactly `words` words from each text.

    A piece that shares `SHARED` words in a row with one in `seen` is left out; `seen` grows.
    """
    found = []
    for text in texts:
        spoken = fold(text)
        taken = 0
        for start in range(0, len(spoken) - words + 1, words):
            piece = spoken[start : start + words]
            runs = {tuple(piece[n : n + SHARED]) for n in range(words - SHARED + 1)}
            if taken < most and not runs & seen:
                seen |= runs
                taken += 1
                found.append(" ".join(piece))
    return found


@functools.lru_cache(maxsize=2)
def _named(words: int) -> tuple[dict[str, list[str]], tuple[Source, ...]]:
    """The named sets that the system compares; read once for all seeds."""
    tweets, news, reviews = open_set("tox_davidson"), open_set("news_ag"), open_set("glue_sst2")
    terms, medicine = open_set("legal_terms"), open_set("ir_med")
    books, pages = find_set("books_en"), find_set("wiki_html")
    excerpts = (
        document.text[len(document.text) // 2 :][:EXCERPT] for document in books.documents()
    )
    texts: dict[str, tuple[Iterable[str], int]] = {
        **{label: (_texts(tweets, label), 1) for label in ("hate", "offensive")},
        "neutral tweets": (_texts(tweets, "neither"), 1),
        "news": (_texts(news), 3),
        "reviews": (_texts(reviews), 3),
        "terms of service": (_texts(terms), 100),
        "medicine": (medicine.collection.texts().values(), 10),
        "novels": (excerpts, 100),
        "encyclopaedia": ((document.text for document in pages.documents()), 20),
    }
    seen: set[tuple[str, ...]] = set()
    groups = {name: pieces(found, words, most, seen) for name, (found, most) in texts.items()}
    used = (tweets, news, reviews, terms, medicine, books, pages)
    return groups, tuple(source for one in used for source in one.sources)


def _of_task(task: Task, words: int) -> dict[str, list[str]]:
    seen: set[tuple[str, ...]] = set()
    return {label: pieces(_texts(task, label), words, 20, seen) for label in task.labels}


def _texts(task: Task, label: str = "") -> list[str]:
    pairs = zip(task.table["text"].to_pylist(), task.table["label"].to_pylist())
    return [text for text, found in pairs if not label or found == label]


def _bad_words(given: str) -> tuple[list[str], tuple[Source, ...]]:
    """The lines of a file of bad words, or of the English list that C4 uses."""
    if given:
        path, sources = Path(given), ()
    else:
        place = find_set("tox_wordlists")
        path, sources = place.path / "en.txt", place.sources
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"no list of words: {error.strerror}", where=str(path)) from None
    return [" ".join(fold(line)) for line in lines if fold(line)], sources


def _made(words: int) -> dict[str, list[str]]:
    """Four genres that each like other words, and harmful texts in the manner of the first."""
    rng = random.Random(0)
    letters = "abcdefghilmnoprstu"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(400)]
    groups = {}
    for number, name in enumerate(("harmful", "letters", "hymns", "laws", "logs")):
        liking = random.Random(max(1, number))
        weights = [liking.paretovariate(1) for _ in vocabulary]
        texts = []
        for _ in range(220):
            spoken = rng.choices(vocabulary, weights, k=words)
            if name == "harmful":
                spoken[rng.randrange(words)] = rng.choice(["xxa", "xxbo", "xxcu"])
            texts.append(" ".join(spoken))
        groups[name] = pieces(texts, words, 1, set())
    return groups
