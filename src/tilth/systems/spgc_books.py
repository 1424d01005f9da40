"""The books of the system `spgc`: novels with planted headers, and files as they are served."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilth.errors import DataError
from tilth.evaluation.card import Prepared, Source
from tilth.store.cache import data_folders
from tilth.store.digest import digest, sha256_file
from tilth.systems.planted_headers import plant


@dataclass(frozen=True)
class Planted:
    """A text with a header and footer, and the numbers of its body's lines."""

    text: str
    body: range


@dataclass(frozen=True)
class Inputs:
    """Planted books; real files; an excerpt and an author for each book with a companion."""

    planted: list[Planted]
    real: list[str]
    excerpts: list[str]
    authors: list[str]


def prepare(scale: str, data: Any, seed: int, books: int) -> Prepared:
    """What the arms of one seed share; see the system."""
    if scale == "smoke":
        texts, authors, real, sources = _made_books(), [f"A{n // 2}" for n in range(8)], [], ()
    elif data is not None:
        texts = [document.text for document in data.documents()][:books]
        authors, real, sources = [""] * len(texts), texts, tuple(data.sources)
    else:
        texts, authors, sources = _novels(books)
        real, source = _real_files()
        sources = (*sources, source)
    planted = []
    for number, text in enumerate(texts):
        rng = random.Random(f"{seed} {number}")
        body = excerpt(text, round(200 * 20 ** rng.random()), rng)
        title = rng.choice(["A Story", "The House", "The Life and Adventures of a Man of No Means, "
                            "with His Journey to the North and What Befell Him There"])  # fmt: skip
        planted.append(Planted(*plant(body, title, f"Author {number}", number + seed, rng)))
    shared = Counter(author for author in authors if author)
    chosen = [number for number, author in enumerate(authors) if shared[author] > 1]
    excerpts = [
        "\n".join(excerpt(texts[number], 1000, random.Random(f"author {seed} {number}")))
        for number in chosen
    ]
    real = real or [book.text for book in planted]
    return Prepared(Inputs(planted, real, excerpts, [authors[n] for n in chosen]), data=sources)


def excerpt(text: str, lines: int, rng: random.Random) -> list[str]:
    """Some lines in a row, without blank ones at both ends."""
    found = text.split("\n")
    start = rng.randrange(max(1, len(found) - lines))
    return "\n".join(found[start : start + lines]).strip("\n").split("\n")


def _made_books() -> list[str]:
    """Eight books of four authors who each like some words more than others do."""
    rng = random.Random(0)
    vocabulary = [
        "".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 9))) for _ in range(300)
    ]
    books = []
    for number in range(8):
        liking = random.Random(number // 2)
        weights = [liking.paretovariate(1) for _ in vocabulary]
        lines = (" ".join(rng.choices(vocabulary, weights, k=10)) + "." for _ in range(260))
        books.append("\n".join(line if n % 9 else "" for n, line in enumerate(lines)))
    return books


def _file(name: str) -> Path:
    for folder in data_folders():
        if (folder / name).exists():
            return folder / name
    raise DataError(f"the data set {name.split('/')[0]!r} is not here", hint="tilth data")


def _novels(books: int) -> tuple[list[str], list[str], tuple[Source, ...]]:
    import pyarrow.parquet as pq

    path = _file("books_en/books.parquet")
    table = pq.read_table(path, columns=["author", "text"]).slice(0, books)
    source = Source("books_en", sha256_file(path)[:32], "public domain texts, no licence stated")
    return table["text"].to_pylist(), table["author"].to_pylist(), (source,)


def _real_files() -> tuple[list[str], Source]:
    folder = _file("books_pg_raw")
    paths = sorted(folder.rglob("*.txt.gz"))
    texts = []
    for path in paths:
        raw = gzip.decompress(path.read_bytes())
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        texts.append(text.replace("\r\n", "\n"))
    name = digest(*(sha256_file(path) for path in paths))
    return texts, Source("books_pg_raw", name, "public domain in the US, with the PG licence")
