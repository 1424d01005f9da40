"""The books of the system `spgc`: texts with planted headers, and files as they are served."""

from __future__ import annotations

import functools
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tilth.corpus.levels import counts_text, read_tokens, write_levels
from tilth.corpus.transforms.headers import StripHeaders
from tilth.corpus.transforms.repair import Repair
from tilth.data.sets import SetPath, find_set
from tilth.documents.document import Document
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit
from tilth.errors import DataError
from tilth.evaluation.card import Invariant, Prepared, Source
from tilth.store.digest import digest
from tilth.store.manifest import verify
from tilth.systems._planted_headers import plant

# Shorter texts get no header planted.
LEAST_LINES = 100
SHORT_TITLE = "A Story"
LONG_TITLE = (
    "The Life and Adventures of a Man of No Means, with His Journey to the North and What Befell "
    "Him There"
)


@dataclass(frozen=True)
class Planted:
    """A text with a header and footer, and the numbers of its body's lines."""

    text: str
    body: range


@dataclass(frozen=True)
class Inputs:
    """Planted books; real files; excerpts, and who wrote each (at least two by everyone)."""

    planted: list[Planted]
    real: list[str]
    excerpts: list[str]
    authors: list[str]


def prepare(scale: str, data: SetPath | None, seed: int, books: int) -> Prepared:
    """What the arms of one seed share; see the system."""
    if scale == "smoke":
        documents, sources = _made_books(), []
    elif data is not None:
        documents, sources = list(documents_of(data.path)), [data]
    else:
        sources = [find_set("books_en"), find_set("books_pg_raw")]
        documents = [document for place in sources for document in documents_of(place.path)]
    is_real = [StripHeaders().edit(d.text)[0].metadata != {} for d in documents]
    chosen = [
        document
        for document, real in zip(documents, is_real)
        if not real and document.text.count("\n") >= LEAST_LINES
    ][:books]
    if len(chosen) < 2:
        raise DataError(
            f"at least two texts of {LEAST_LINES} lines without a header of Project Gutenberg "
            "are needed"
        )
    planted = []
    for number, document in enumerate(chosen):
        rng = random.Random(f"{seed} {number}")
        body = excerpt(document.text, round(200 * 20 ** rng.random()), rng)
        title = rng.choice([SHORT_TITLE, LONG_TITLE])
        planted.append(Planted(*plant(body, title, f"Author {number}", number + seed, rng)))
    real_texts = [document.text for document, real in zip(documents, is_real) if real]
    return Prepared(
        Inputs(planted, real_texts or [book.text for book in planted], *_authors(chosen, seed)),
        data=tuple(Source(place.name, place.digest, place.licence) for place in sources),
    )


@functools.lru_cache(maxsize=4)
def documents_of(path: Path) -> tuple[Document, ...]:
    """The plain texts below a path, repaired as `tilth build` does it; read once for all seeds."""
    repair, documents = Repair(), []
    for unit in plan(path)[0]:
        for found in read_unit(unit):
            if isinstance(found, Document) and found.format in ("text", "record"):
                (result,) = repair.edit(found.text)
                documents.append(replace(found, text=result.text))
    return tuple(documents)


def excerpt(text: str, lines: int, rng: random.Random) -> list[str]:
    """Some lines in a row, without blank ones at both ends."""
    found = text.split("\n")
    start = rng.randrange(max(1, len(found) - lines + 1))
    return "\n".join(found[start : start + lines]).strip("\n").split("\n")


def _authors(documents: list[Document], seed: int) -> tuple[list[str], list[str]]:
    """1,000 lines of each book whose author wrote another; without authors, halves of texts."""
    named = [(str(d.metadata.get("author") or ""), d.text) for d in documents]
    counts = Counter(author for author, _ in named if author)
    pairs = [(author, text) for author, text in named if counts[author] > 1]
    if not pairs:
        for document in documents[:40]:
            middle = document.text.find("\n", len(document.text) // 2)
            pairs += [(document.id, document.text[:middle]), (document.id, document.text[middle:])]
    texts = []
    for number, (_, text) in enumerate(pairs):
        texts.append("\n".join(excerpt(text, 1000, random.Random(f"author {seed} {number}"))))
    return texts, [author for author, _ in pairs]


def _made_books() -> list[Document]:
    """Eight books of four authors who each like some words more than others do."""
    rng = random.Random(0)
    letters = "abcdefghilmnoprstu"
    vocabulary = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(300)]
    books = []
    for number in range(8):
        liking = random.Random(number // 2)
        weights = [liking.paretovariate(1) for _ in vocabulary]
        lines = (" ".join(rng.choices(vocabulary, weights, k=10)) + "." for _ in range(260))
        text = "\n".join(line if n % 9 else "" for n, line in enumerate(lines))
        metadata: dict[str, Any] = {"author": f"A{number // 2}"}
        books.append(Document(f"made {number}", text, metadata=metadata))
    return books


def visible_lines(text: str) -> dict[int, str]:
    return {number: line for number, line in enumerate(text.split("\n")) if line.strip(" \t\r")}


def kept_lines(text: str, spans: Sequence[Any]) -> set[int]:
    """Numbers of the lines whose first byte lies in a span."""
    kept, at, number = set(), 0, 0
    starts = []
    for line in text.split("\n"):
        starts.append(at)
        at += len(line.encode()) + 1
    for span in spans:
        while number < len(starts) and starts[number] < span.parent_start:
            number += 1
        while number < len(starts) and starts[number] < span.parent_stop:
            kept.add(number)
            number += 1
    return kept


def level_invariants(texts: Sequence[str]) -> Iterable[Invariant]:
    """Exact properties of text, tokens and counts of some books."""
    books = [Document(id=f"PG{digest(text)}", text=text) for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        first = write_levels(books, Path(folder, "a"))
        levels = []
        for book in books:
            found = list(read_tokens(Path(folder, "a"), book.id))
            table = Path(folder, "a", "counts", f"{book.id}.txt").read_text("utf-8")
            levels.append((found, table))
        yield Invariant(
            "counts add up to the number of tokens",
            all(
                sum(int(line.split("\t")[1]) for line in table.splitlines()) == len(found)
                for found, table in levels
            ),
        )
        yield Invariant(
            "counts made again from the tokens are equal byte for byte",
            all(counts_text(found) == table for found, table in levels),
        )
        yield Invariant(
            "tokens are letters in lower case",
            all(t.isalpha() and t == t.lower() for found, _ in levels for t in found),
        )
        again = write_levels(books, Path(folder, "a"))
        yield Invariant("a second run changes nothing", again == first)
        other = write_levels(reversed(books), Path(folder, "b"))
        yield Invariant("the same books give the same digests", other == first)
        yield Invariant("every file agrees with the manifest", verify(Path(folder, "b")) == first)
