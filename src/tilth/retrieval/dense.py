"""Dense search: passages and queries as vectors, the nearest by inner product (Karpukhin et al.,
2020, "Dense Passage Retrieval"). Flat: every passage is looked at, so nothing is missed.

    score(q, d) = max over passages p of d:  v(q) . v(p)       v: an encoder, of unit length mostly

The best passage stands for its document (MaxP: Dai and Callan, 2019). Passages are cut between
sentences at about `target` characters. A text without a token has no passage and is found by
nothing; a query without one finds nothing.

When: questions in other words than the answer's, with an encoder that knows the language of both.
When not: names, numbers and identifiers, where words must match; beyond some millions of passages,
since every vector is read for every query.

Exact: the fast products only choose candidates, with a bound on their rounding; scores are summed
in float64 in one order. So equal vectors give equal scores in any batch, on any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError, DataError, UsageError, nearest
from tilth.lookup import construct
from tilth.retrieval.encoders import ENCODERS, load_encoder
from tilth.retrieval.strings import SortedStrings
from tilth.retrieval.texts import chunks, named, pairs
from tilth.retrieval.vectors import Vectors, VectorSegment
from tilth.store.digest import digest_value
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest
from tilth.types import Progress, Run, silent

ENCODER = "encoder"


def passage_spans(text: str, target: int) -> list[tuple[int, int]]:
    """(start, stop) in characters of the passages of a text; they cover it, blanks apart."""
    if len(text) <= target:
        return [(0, len(text))] if text.strip() else []
    # It loads pyarrow, which a server of short texts has no use for.
    from tilth.corpus.transforms.passages import divide, pieces

    found = pieces(text, target + target // 2, "characters")
    spans = [
        (found[first].start, found[last - 1].stop)
        for first, last in divide(found, target, target + target // 2)
    ]
    return [span for span in spans if text[span[0] : span[1]].strip()]


class Dense:
    """The retriever. `target`: characters of a passage, 100 to 100,000.

    `encoder`: an object with `encode`, `encode_queries`, `dimensions`, `fingerprint`, `save` (see
    `retrieval.encoders`), the name of one in `ENCODERS` that needs no weights, with its options or
    not, or a folder. Not to be changed while another thread searches.
    """

    name = "dense"
    version = 1

    def __init__(
        self, *, encoder: str | Path | Mapping[str, Any] | Any = "hashed", target: int = 800
    ) -> None:
        if not 100 <= target <= 100_000:
            raise UsageError(f"target is {target}", hint="100 to 100,000 characters; 800 is usual")
        self.encoder, self.target = _encoder(encoder), target
        self._vectors = Vectors(self.encoder.dimensions)

    def parameters(self) -> dict[str, Any]:
        encoder = {"name": self.encoder.name, **self.encoder.parameters()}
        return {"encoder": encoder, "target": self.target}

    @property
    def fingerprint(self) -> str:
        """Names the space of scores: the encoder's, and how passages are cut."""
        return digest_value([self.name, self.version, self.target, self.encoder.fingerprint])

    def __len__(self) -> int:
        return self._vectors.documents

    @property
    def ids(self) -> list[str]:
        """The ids of all documents, sorted."""
        return self._vectors.ids()

    @property
    def passages(self) -> int:
        return sum(int(np.diff(s.starts)[s.live].sum()) for s in self._vectors.segments)

    def fit(self, documents: Mapping[str, str]) -> Dense:
        """Index these documents alone. Texts are not kept.

        Raises DataError where an id or a text is no string; the index stays as it was then.
        """
        return self._fit(documents.items(), silent)

    def fit_batches(
        self, batches: Iterable[tuple[Sequence[str], Sequence[str]]], progress: Progress = silent
    ) -> Dense:
        """As `fit`, from pairs (ids, texts); an id that comes again replaces the earlier text."""
        return self._fit(pairs(batches), progress)

    def _fit(self, documents: Iterable[tuple[str, str]], progress: Progress) -> Dense:
        made = Vectors(self.encoder.dimensions)
        for segment in self._encoded(documents):
            made.add(segment)
            progress("encode documents", made.documents, 0)
        made.compact()
        self._vectors = made
        return self

    def add(self, documents: Mapping[str, str]) -> None:
        """Index these documents too; one whose id is there already is replaced."""
        for segment in list(self._encoded(documents.items())):
            self._vectors.add(segment)

    def remove(self, ids: Sequence[str]) -> None:
        """Take documents out. Raises UsageError, before any is out, where one is not there."""
        self._rows(ids)
        self._vectors.remove(ids)

    def search(self, queries: Sequence[str] | Mapping[str, str], k: int = 10) -> Run:
        """The k best documents of each query, by score, then by id.

        `queries` is a mapping query id -> text, or texts, whose ids are then "0", "1", ... Raises
        UsageError for k below 1.
        """
        given = named(queries, k)
        vectors = self.encoder.encode_queries(list(given.values()))
        found = self.search_vectors(vectors, self.encoder.fingerprint, k)
        return Run(dict(zip(given, found)))

    def search_vectors(
        self, queries: np.ndarray, fingerprint: str, k: int = 10
    ) -> list[list[tuple[str, float]]]:
        """As `search`, for vectors (queries, dimensions) that an encoder made elsewhere.

        `fingerprint` is that encoder's. Raises UsageError where it is another space than that of
        this index: such answers would look well and mean nothing.
        """
        if fingerprint != self.encoder.fingerprint:
            raise UsageError(
                f"these queries come from another space ({fingerprint[:12]}) than the index "
                f"({self.encoder.fingerprint[:12]})",
                hint="encode them with the index's own encoder, or index the documents again",
            )
        if queries.ndim != 2 or queries.shape[1] != self.encoder.dimensions:
            raise UsageError(f"queries are {queries.shape}, not (any, {self.encoder.dimensions})")
        return [self._best(query, min(k, len(self))) for query in np.asarray(queries, np.float32)]

    def score(self, queries: Sequence[str], ids: Sequence[str]) -> np.ndarray:
        """The scores of given documents, float64 (queries, ids); those of `search`, bit for bit.

        -inf where there is nothing to compare. Raises UsageError where an id is not there.
        """
        place, row = self._rows(ids)
        vectors = self.encoder.encode_queries(list(queries))
        out = np.full((len(queries), len(ids)), -np.inf)
        for number, segment in enumerate(self._vectors.segments):
            here = np.flatnonzero(place == number)
            for query, vector in enumerate(vectors):
                if vector.any():
                    out[query, here] = segment.exact(vector, row[here])[0]
        return out

    def best_passages(self, query: str, ids: Sequence[str]) -> list[tuple[int, int] | None]:
        """(start, stop) in characters of the passage of each document that is nearest."""
        place, row = self._rows(ids)
        vector = self.encoder.encode_queries([query])[0]
        spans: list[tuple[int, int] | None] = []
        for number, line in zip(place, row):
            segment = self._vectors.segments[number]
            passage = int(segment.exact(vector, np.array([line]))[1][0])
            start, stop = segment.spans[passage].tolist() if passage >= 0 else (0, 0)
            spans.append((start, stop) if passage >= 0 else None)
        return spans

    def save(self, folder: str | Path) -> None:
        """Write index and encoder; last, the manifest. Same vectors by id, same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        files = self._vectors.save(folder)
        files += [f"{ENCODER}/{name}" for name in self.encoder.save(folder / ENCODER)]
        write_manifest(
            folder,
            files,
            kind=self.name,
            version=self.version,
            target=self.target,
            encoder=self.encoder.fingerprint,
            fingerprint=self.fingerprint,
            dimensions=self.encoder.dimensions,
            documents=len(self),
            passages=self.passages,
            cut_tokens=self.encoder.cut_tokens,
        )

    @classmethod
    def load(cls, folder: str | Path, encoder: Any = None) -> Dense:
        """The index of a folder, mapped into memory; changes to it stay in memory until `save`.

        `encoder` stands in for the one that lies in the folder. Raises DamagedError where the
        folder is unfinished or its arrays do not fit; DataError where the encoder, or this version
        of tilth, would make other vectors than those that are indexed.
        """
        folder = Path(folder)
        if not is_complete(folder, {"kind": cls.name}):
            raise DamagedError("not a finished dense index", where=str(folder))
        manifest = read_manifest(folder) or {}
        if encoder is None:
            encoder = load_encoder(folder / ENCODER)
        made = cls(encoder=encoder, target=manifest["target"])
        if made.fingerprint != manifest["fingerprint"]:
            raise DataError(
                "this index was made with another encoder, or by another version of tilth",
                where=str(folder),
                hint="index the documents again",
            )
        made._vectors = Vectors.load(folder, made.encoder.dimensions)
        return made

    def _best(self, query: np.ndarray, k: int) -> list[tuple[str, float]]:
        answers: list[tuple[str, float]] = []
        if k < 1 or not query.any():
            return answers
        for segment in self._vectors.segments:
            rows = segment.candidates(query, k)
            scores, _ = segment.exact(query, rows)
            answers += zip(segment.ids.take(rows), scores.tolist())
        answers.sort(key=lambda pair: (-pair[1], pair[0]))
        return answers[:k]

    def _encoded(self, documents: Iterable[tuple[str, str]]) -> Iterator[VectorSegment]:
        for chunk in chunks(documents):
            ids = sorted(chunk)
            spans = [passage_spans(chunk[id], self.target) for id in ids]
            texts = [chunk[id][a:b] for id, found in zip(ids, spans) for a, b in found]
            vectors = self.encoder.encode(texts)
            # What has no token has the zero vector: no passage.
            there = vectors.any(axis=1)
            owner = np.repeat(np.arange(len(ids)), [len(found) for found in spans])[there]
            starts = np.searchsorted(owner, np.arange(len(ids) + 1)).astype(np.int64)
            flat = np.array([span for found in spans for span in found], np.int64).reshape(-1, 2)
            yield VectorSegment(SortedStrings.of(ids), starts, flat[there], vectors[there])

    def _rows(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(ids, str):
            raise UsageError("ids is one text", hint="give a list of ids")
        place, row = self._vectors.rows(ids)
        if (place < 0).any():
            missing = ids[int(np.argmin(place))]
            hint = nearest(missing, self._vectors.near(missing))
            raise UsageError(f"no document has the id {missing!r}", hint=hint)
        return place, row


def _encoder(given: Any) -> Any:
    if isinstance(given, Path):
        return load_encoder(given)
    if isinstance(given, str):
        if given not in ENCODERS and Path(given).is_dir():
            return load_encoder(given)
        given = {"name": given}
    if isinstance(given, Mapping):
        options = dict(given)
        name = options.pop("name", "hashed")
        if name in ("latent", "static", "transformer"):
            raise UsageError(f"an encoder {name!r} has weights: give its folder or the object")
        return construct("encoder", ENCODERS, name, options)
    return given
