"""BM25, exact and updatable (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework").

    score(q, d) = sum over terms t of q:  count(t in q) * idf(t) * f / (f + norm(d))
    norm(d) = k1 * (1 - b + b * length(d) / average length)        f = count(t in d)
    idf(t) = ln(1 + (N - n + 0.5) / (n + 0.5))     N documents, n of them with t

The idf is Lucene's: the paper's with 1 added inside the logarithm, so that no term counts against
a document. As in the paper and in Lucene since version 8, the constant factor k1 + 1 is left out.

When: the first search engine for any collection, and the baseline for every other one; names,
numbers, identifiers and rare words. When not: questions in other words than the answer's; beyond
some ten million documents, since every posting of a query's terms is read.

Exact: the index holds integers only (`postings`); N, n and the average are those of the moment. So
after any adds and removes all scores are, bit for bit, those of an index built anew, and saved
bytes are a function of {id: text} alone. Sums run in the order of the terms (by code points).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tilth.errors import DamagedError, DataError, UsageError, nearest
from tilth.lookup import construct
from tilth.retrieval import ANALYZERS, bm25_kernels
from tilth.retrieval.postings import Postings, Segment
from tilth.retrieval.texts import chunks, named, pairs
from tilth.store.digest import digest_value
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest
from tilth.types import Run

# Answers (queries times k) are held in arrays this many at a time.
ANSWERS = 1_000_000


def idf(documents: int, frequency: np.ndarray) -> np.ndarray:
    """ln(1 + (N - n + 0.5) / (n + 0.5)), always above 0."""
    ratio = (documents - frequency + 0.5) / (frequency + 0.5)
    # numpy's own log1p may round differently in a vector's tail, and batches differ in length.
    return np.array([math.log1p(value) for value in ratio.tolist()], np.float64)


def length_norm(lengths: np.ndarray, average: float, k1: float, b: float) -> np.ndarray:
    """k1 (1 - b + b length / average), float64; in a collection without terms k1 (1 - b)."""
    return k1 * (1 - b + b * (lengths / average if average > 0 else np.zeros(len(lengths))))


class _Batch(NamedTuple):
    """Queries as the kernels want them; query q has the entries `starts[q] : starts[q + 1]`.

    Each entry is a term, in order: its places in the segments' vocabularies, weight and text.
    """

    starts: np.ndarray
    places: list[np.ndarray]
    weights: np.ndarray
    terms: list[str]


class BM25:
    """The retriever. `k1` 0 to 1000: how much repetition counts; `b` 0 to 1: how much length does.

    `analyzer`: a name of `retrieval.ANALYZERS`, a mapping with that `name` and its options, or an
    object with `name`, `parameters`, `digest`, `count` and `spans`. Documents and queries go
    through the same one. Not to be changed while another thread searches.
    """

    name = "bm25"
    version = 1

    def __init__(
        self, *, k1: float = 1.2, b: float = 0.75, analyzer: str | Mapping[str, Any] | Any = "words"
    ) -> None:
        # The bounds keep every share above 0 in floating point; use lies between 0 and 3.
        if not 0 <= k1 <= 1000:
            raise UsageError(f"k1 is {k1}", hint="give a number from 0 to 1000; 1.2 is usual")
        if not 0 <= b <= 1:
            raise UsageError(f"b is {b}", hint="give a number from 0 to 1; 0.75 is usual")
        if isinstance(analyzer, str):
            analyzer = {"name": analyzer}
        if isinstance(analyzer, Mapping):
            options = dict(analyzer)
            analyzer = construct("analyzer", ANALYZERS, options.pop("name", "words"), options)
        self.k1, self.b, self.analyzer = float(k1), float(b), analyzer
        self._set(Postings())

    def parameters(self) -> dict[str, Any]:
        analyzer = {"name": self.analyzer.name, **self.analyzer.parameters()}
        return {"k1": self.k1, "b": self.b, "analyzer": analyzer}

    @property
    def fingerprint(self) -> str:
        """Names the space of scores: formula, parameters, analyzer."""
        parts = [self.name, self.version, self.k1, self.b, self.analyzer.digest]
        return digest_value(parts)

    def __len__(self) -> int:
        return self._postings.documents

    @property
    def ids(self) -> list[str]:
        """The ids of all documents, sorted."""
        return self._postings.ids()

    def fit(self, documents: Mapping[str, str]) -> BM25:
        """Index these documents alone. Texts are read one chunk at a time and not kept.

        Raises DataError where an id or a text is no string; the index stays as it was then.
        """
        self._set(Postings([self._counted(documents.items())]))
        return self

    def fit_batches(self, batches: Iterable[tuple[Sequence[str], Sequence[str]]]) -> BM25:
        """As `fit`, from pairs (ids, texts); an id that comes again replaces the earlier text."""
        self._set(Postings([self._counted(pairs(batches))]))
        return self

    def add(self, documents: Mapping[str, str]) -> None:
        """Index these documents too; one whose id is there already is replaced."""
        self._postings.add(self._counted(documents.items()))
        self._set(self._postings)

    def remove(self, ids: Sequence[str]) -> None:
        """Take documents out. Raises UsageError, before any is out, where one is not there."""
        self._rows(ids)
        self._postings.remove(ids)
        self._set(self._postings)

    def search(self, queries: Sequence[str] | Mapping[str, str], k: int = 10) -> Run:
        """The k best documents of each query, fewer where fewer have a score above 0.

        By score, then by id. `queries` is a mapping query id -> text, or texts, whose ids are then
        "0", "1", ... A query without terms finds nothing. Raises UsageError for k below 1.
        """
        given = named(queries, k)
        names, texts = list(given), list(given.values())
        k = max(1, min(k, len(self)))
        step = max(1, ANSWERS // k)
        rows: dict[str, list[tuple[str, float]]] = {}
        for first in range(0, len(names), step):
            batch = self._batch(texts[first : first + step])
            rows.update(zip(names[first : first + step], self._best(batch, k)))
        return Run(rows)

    def score(self, queries: Sequence[str], ids: Sequence[str]) -> np.ndarray:
        """The scores of given documents, float64 (queries, ids); those of `search`, bit for bit.

        Raises UsageError where an id is not there.
        """
        return self._score(self._batch(queries), *self._rows(ids))

    def explain(self, query: str, id: str) -> list[tuple[str, float]]:
        """(term, its share in the score) for the query's terms that the document holds.

        The largest first. Added up in the order of the terms they are the score.
        """
        batch = self._batch([query])
        # Each term as a query of its own.
        terms = batch._replace(starts=np.arange(len(batch.terms) + 1))
        shares = self._score(terms, *self._rows([id]))[:, 0].tolist()
        found = [(term, share) for term, share in zip(batch.terms, shares) if share]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def idf(self, terms: Iterable[str]) -> dict[str, float]:
        """The idf of each term at this moment; one that no document holds has the highest."""
        terms = sorted(set(terms))
        frequency = np.zeros(len(terms), np.int64)
        for segment in self._postings.segments:
            frequency += segment.frequency(segment.terms.find(terms))
        return dict(zip(terms, idf(len(self), frequency).tolist()))

    def save(self, folder: str | Path) -> None:
        """Write the index; last, its manifest. Same parameters and {id: text}, same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        files = self._postings.save(folder)
        self._set(self._postings)
        write_manifest(
            folder,
            files,
            kind=self.name,
            version=self.version,
            parameters=self.parameters(),
            fingerprint=self.fingerprint,
            documents=len(self),
            total_length=self._postings.total_length,
        )

    @classmethod
    def load(cls, folder: str | Path) -> BM25:
        """The index of a folder, mapped into memory; changes to it stay in memory until `save`.

        Raises DamagedError where the folder is unfinished or its arrays do not fit each other (that
        every byte is right, `tilth.store.manifest.verify` says); DataError where this version of
        tilth would make other terms or scores than the one that wrote it.
        """
        folder = Path(folder)
        if not is_complete(folder, {"kind": cls.name}):
            raise DamagedError("not a finished BM25 index", where=str(folder))
        manifest = read_manifest(folder) or {}
        made = cls(**manifest["parameters"]) if manifest["version"] == cls.version else None
        if made is None or made.fingerprint != manifest["fingerprint"]:
            raise DataError(
                "this index was made by another version of tilth",
                where=str(folder),
                hint="index the documents again",
            )
        made._set(Postings.load(folder))
        return made

    def _set(self, postings: Postings) -> None:
        """Take these postings, in the state they are in now."""
        self._postings = postings
        self._norms: list[np.ndarray] | None = None

    def _segments(self) -> list[tuple[Segment, np.ndarray]]:
        """Each segment with its documents' length norms, -1 for those that were removed."""
        postings = self._postings
        if self._norms is None:
            average = postings.total_length / max(postings.documents, 1)
            norms = [length_norm(s.lengths, average, self.k1, self.b) for s in postings.segments]
            for segment, norm in zip(postings.segments, norms):
                norm[~segment.live] = -1
            self._norms = norms
        return list(zip(postings.segments, self._norms))

    def _counted(self, documents: Iterable[tuple[str, str]]) -> Segment:
        postings = Postings()
        for chunk in chunks(documents):
            ids = sorted(chunk)
            postings.add(Segment.of(ids, self.analyzer.count([chunk[id] for id in ids])))
        return postings.compact()

    def _rows(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(ids, str):
            raise UsageError("ids is one text", hint="give a list of ids")
        place, row = self._postings.rows(ids)
        if (place < 0).any():
            missing = ids[int(np.argmin(place))]
            hint = nearest(missing, self._postings.near(missing))
            raise UsageError(f"no document has the id {missing!r}", hint=hint)
        return place, row

    def _batch(self, queries: Sequence[str]) -> _Batch:
        counted = self.analyzer.count(queries)
        order = np.argsort(counted.text, kind="stable")
        starts = np.searchsorted(counted.text[order], np.arange(len(queries) + 1))
        term = counted.term[order]
        places, frequency = [], np.zeros(len(counted.terms), np.int64)
        for segment in self._postings.segments:
            found = segment.terms.find(counted.terms)
            places.append(found[term])
            frequency += segment.frequency(found)
        weights = counted.count[order] * idf(len(self), frequency)[term]
        return _Batch(starts, places, weights, [counted.terms[number] for number in term])

    def _best(self, batch: _Batch, k: int) -> Iterator[list[tuple[str, float]]]:
        answers: list[list[tuple[str, float]]] = [[] for _ in range(len(batch.starts) - 1)]
        segments = self._segments()
        for (segment, norms), places in zip(segments, batch.places):
            found, rows, scores = bm25_kernels.search(
                batch.starts, places, batch.weights,
                segment.starts, segment.documents, segment.counts, norms, k,
            )  # fmt: skip
            filled = np.arange(rows.shape[1]) < found[:, None]
            pairs = zip(segment.ids.take(rows[filled]), scores[filled].tolist())
            for answer, size in zip(answers, found.tolist()):
                answer += islice(pairs, size)
        for answer in answers:
            if len(segments) > 1:
                answer.sort(key=lambda pair: (-pair[1], pair[0]))
            yield answer[:k]

    def _score(self, batch: _Batch, place: np.ndarray, row: np.ndarray) -> np.ndarray:
        out = np.zeros((len(batch.starts) - 1, len(row)))
        for number, (segment, norms) in enumerate(self._segments()):
            here = place == number
            out[:, here] = bm25_kernels.score(
                batch.starts, batch.places[number], batch.weights,
                segment.starts, segment.documents, segment.counts, norms, row[here],
            )  # fmt: skip
        return out
