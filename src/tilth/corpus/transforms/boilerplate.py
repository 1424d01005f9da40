"""Lines that many documents of one place share: menus, footers, notices (Yi & Liu 2003).

"Eliminating noisy information in web pages for data mining" finds what the pages of a site have in
common; here the pages are documents of one folder, source, group or site, and what they have in
common are lines. Two passes: `fit` counts in how many documents each line stands, `apply` drops
the lines that stand in a large share of them. Copies of one text count once.

Use it where documents come from a template: pages of a site, letters of an office, a wiki's
articles. Not on code, verse, forms or tables, whose lines repeat for good reasons, nor for a header
that stands on each page of one document only. Documents that differ little from each other lose
what they share: look for near-duplicates first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa

from tilth.corpus.shingle_kernels import read_only, text_buffers
from tilth.corpus.transforms.base import Edit, Edited
from tilth.corpus.transforms.line_kernels import hash_lines
from tilth.documents.document import Span
from tilth.errors import UsageError, nearest
from tilth.store.digest import digest

PLACES = ("folder", "source", "group", "site", "all")
# Counts of lines are put together when so many have been collected.
MERGE = 1 << 21


class Boilerplate(Edit):
    """Drop lines that stand in at least `share` of the documents of a place.

    `by` says what a place is: the "folder" of the source, the "source" itself (a file of records,
    an archive's member), the "group", the "site" (host of the metadata's `url_key`; without one
    the folder), or "all". Places of fewer than `documents` different texts are left alone.
    `fold_digits`: lines that differ in numbers only are equal. `skip_formats` are left alone too.
    Metadata get `{"boilerplate": {"removed_lines": n}}`.

    `fit` must have run; it needs 24 bytes of memory for each different line of the corpus.
    `learned` is the digest of what it found; given to the constructor, `fit` must find just that.
    """

    name = "boilerplate"
    version = 1

    def __init__(
        self,
        *,
        by: str = "folder",
        share: float = 0.5,
        documents: int = 10,
        fold_digits: bool = False,
        url_key: str = "url",
        skip_formats: Sequence[str] = ("code", "docstring"),
        learned: str = "",
    ) -> None:
        if by not in PLACES:
            raise UsageError(f"no place is called {by!r}", hint=nearest(by, PLACES))
        if not 0 < share <= 1 or documents < 2:
            raise UsageError("share must lie in (0, 1], documents be at least 2")
        self.by, self.share, self.documents = by, share, documents
        self.fold_digits, self.url_key = fold_digits, url_key
        self.skip_formats, self.learned = tuple(skip_formats), learned
        self._lines: np.ndarray | None = None

    def parameters(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "share": self.share,
            "documents": self.documents,
            "fold_digits": self.fold_digits,
            "url_key": self.url_key,
            "skip_formats": list(self.skip_formats),
            "learned": self.learned,
        }

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Boilerplate:
        """A transform that knows the lines; the same for any order of documents."""
        counts = _Counts()
        for batch in batches:
            counts.add(batch, self._keys(batch), self.fold_digits)
        lines = counts.common(self.share, self.documents)
        learned = digest(len(lines), lines.tobytes())
        if self.learned and learned != self.learned:
            raise UsageError(
                f"boilerplate learned {learned} from these documents, not {self.learned}",
                hint="leave learned out",
            )
        fitted = Boilerplate(**{**self.parameters(), "learned": learned})
        fitted._lines = lines
        return fitted

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        first, drop, _ = self._find(batch)
        sums = np.concatenate([[0], np.cumsum(drop)])
        return pa.array(sums[first[1:]] > sums[first[:-1]])

    def edits(self, batch: pa.RecordBatch, rows: Sequence[int]) -> Iterable[list[Edited]]:
        part = batch.take(pa.array(rows, pa.int64()))
        first, drop, starts = self._find(part)
        for row, text in enumerate(part.column("text").to_pylist()):
            here = slice(first[row], first[row + 1])
            yield [without_lines(text or "", starts[here] - starts[first[row]], drop[here])]

    def _find(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(first, drop, starts): lines of each row, which go, and where they begin."""
        if self._lines is None:
            raise UsageError("boilerplate has not seen the documents", hint="call fit first")
        first, hashes, starts, _ = _hashed(batch, self._keys(batch), self.fold_digits)
        return first, np.isin(hashes, self._lines), starts

    def _keys(self, batch: pa.RecordBatch) -> np.ndarray:
        """A hash of the place of each row; 0 for rows that are left alone."""
        column = "group" if self.by == "group" else "source"
        names = batch.column(column).to_pylist()
        if self.by == "all":
            names = [""] * len(names)
        elif self.by == "folder":
            names = list(map(folder_of, names))
        elif self.by == "site":
            names = list(map(self._site, batch.column("metadata").to_pylist(), names))
        known = {name: int(digest("place", name)[:15], 16) * 2 + 1 for name in set(names)}
        keys = np.array([known[name] for name in names], dtype=np.uint64)
        skipped = [form in self.skip_formats for form in batch.column("format").to_pylist()]
        keys[np.array(skipped, dtype=bool)] = 0
        return keys

    def _site(self, metadata: str | None, source: str) -> str:
        url = json.loads(metadata or "{}").get(self.url_key)
        try:
            host = urlsplit(url).hostname if isinstance(url, str) else None
        except ValueError:
            host = None
        return host.removeprefix("www.") if host else folder_of(source)


def folder_of(source: str) -> str:
    """The folder of a source, inside an archive too: `a/b.zip!c/d.txt` lies in `a/b.zip!c/`."""
    return source[: max(source.rfind("/"), source.rfind("!")) + 1]


def without_lines(text: str, starts: np.ndarray, drop: np.ndarray) -> Edited:
    """The text without some of its lines; `starts` are byte offsets, `drop` says which go."""
    data = text.encode()
    stops = np.append(starts[1:], len(data))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], drop, [True]])))
    parts, spans = [], []
    at = 0
    for begin, end in zip(edges[::2], edges[1::2]):
        low, high = int(starts[begin]), int(stops[end - 1])
        parts.append(data[low:high])
        spans.append(Span(at, at + high - low, low, high))
        at += high - low
    removed = {"removed_lines": int(drop.sum())}
    return Edited(b"".join(parts).decode(), spans, {"boilerplate": removed})


def _hashed(
    batch: pa.RecordBatch, keys: np.ndarray, fold_digits: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    offsets, data = text_buffers(batch.column("text"))
    first, hashes, starts, texts = hash_lines(offsets, data, read_only(keys), fold_digits)
    hashes[np.repeat(keys == 0, np.diff(first))] = 0
    return first, hashes, starts, texts


class _Counts:
    """In how many different texts of a place each line stands."""

    def __init__(self) -> None:
        self.texts: set[int] = set()
        self.places: Counter[int] = Counter()
        self.waiting: list[np.ndarray] = []
        self.size = 0

    def add(self, batch: pa.RecordBatch, keys: np.ndarray, fold_digits: bool) -> None:
        first, hashes, _, texts = _hashed(batch, keys, fold_digits)
        new = np.zeros(len(keys), dtype=bool)
        for row, (key, text) in enumerate(zip(keys.tolist(), texts.tolist())):
            if key and text not in self.texts:
                self.texts.add(text)
                self.places[key] += 1
                new[row] = True
        rows = np.repeat(np.arange(len(keys)), np.diff(first))
        kept = new[rows] & (hashes != 0)
        pairs = np.unique(np.stack([rows[kept].astype(np.uint64), hashes[kept]]), axis=1)
        found, index, count = np.unique(pairs[1], return_index=True, return_counts=True)
        places = keys[pairs[0][index].astype(np.int64)]
        self.waiting.append(np.stack([found, places, count.astype(np.uint64)]))
        self.size += len(found)
        if self.size > MERGE:
            self._merge()

    def _merge(self) -> None:
        everything = np.concatenate(self.waiting, axis=1)
        order = np.argsort(everything[0], kind="stable")
        found, places, count = everything[:, order]
        first = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
        sums = np.add.reduceat(count, first) if len(found) else count
        self.waiting = [np.stack([found[first], places[first], sums])] if len(found) else []
        # Merging again is worth it only when there is about as much that is new.
        self.size = -len(first)

    def common(self, share: float, documents: int) -> np.ndarray:
        """Sorted hashes of the lines that are to go."""
        if not self.waiting:
            return np.zeros(0, dtype=np.uint64)
        self._merge()
        if not self.waiting:
            return np.zeros(0, dtype=np.uint64)
        found, places, count = self.waiting[0]
        known, inverse = np.unique(places, return_inverse=True)
        totals = np.array([self.places[int(place)] for place in known])[inverse]
        # `share` is a share of whole documents: 0.3 of 10 is 3, whatever 0.3 * 10 rounds to.
        often = count >= np.ceil(np.round(share * totals, 9))
        return found[often & (totals >= documents) & (count >= 2)]
