"""Search in a library: by words, by meaning, and by both together.

- `words`: BM25 (`retrieval.bm25`) over title (twice), authors, summary and abstract.
- `meaning`: vectors of title, summary and abstract (`retrieval.dense`), by tilth's own encoder
  (`retrieval.encoders.latent`: runs of characters, fitted to this library's texts, no torch), or by
  that of any local folder.
- `both`: the sum of the two, each brought to one scale (`retrieval.fusion`, `weighted`).

Indexes are made when they are first asked for and again when a text of the library changes. What is
made for the meaning is kept in the cache under the digest of all that it was made from.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilth.errors import DataError, LockedError, TilthError, UsageError, nearest
from tilth.papers.library import Library
from tilth.papers.measured import Measured
from tilth.papers.paper import Paper
from tilth.store.cache import cache_folder
from tilth.store.digest import digest

WAYS = ("both", "words", "meaning")
LONGEST = 2_000  # characters of a query
# Whole papers are one passage: abstracts are shorter than this.
PASSAGE = 100_000
DIMENSIONS = 192
# Of the meaning in a search by both, chosen on sentences of the built-in summaries that were looked
# for among the abstracts (docs/papers.md); with another encoder nothing is known of it yet.
SHARE, OTHERS_SHARE = 0.6, 0.5
# Answers of each way that a search by both, or a choice of papers, begins with.
DEPTH, WIDE = 100, 1000
# Indexes of earlier states that stay in the cache.
KEPT = 4


@dataclass(frozen=True)
class Hit:
    """An answer: the paper, its place from 1, and a score that compares answers of one query."""

    rank: int
    paper: Paper
    score: float


class Search:
    """The indexes of one library. Threads may search at the same time.

    `encoder`: a folder (tilth's, `transformers` or `sentence-transformers`) or an object; without
    one tilth's own. Another one's search loads torch, and so does nothing else here.
    """

    def __init__(self, library: Library, encoder: Any = None) -> None:
        self.library, self._given = library, encoder
        self._lock = threading.Lock()
        self._revision, self._indexes = -1, Indexes({}, encoder)

    def __call__(
        self,
        query: str,
        k: int = 10,
        how: str = "both",
        *,
        family: str = "",
        verdict: str = "",
        measured: Mapping[str, Measured] | None = None,
    ) -> list[Hit]:
        """The k best papers, of a family and a verdict where these are given.

        A library of too few papers for its own encoder is searched by words where `both` was asked
        for. Raises UsageError for a query without text or of more than `LONGEST` characters.
        """
        if how not in WAYS:
            raise UsageError(f"no way to search {how!r}", hint=nearest(how, WAYS))
        if not query.strip():
            raise UsageError("the query is empty")
        if len(query) > LONGEST:
            raise UsageError(f"the query has {len(query):,} characters, {LONGEST:,} are most")
        if k < 1:
            raise UsageError(f"k is {k}", hint="give 1 or more")
        query = query.encode("utf-8", "replace").decode("utf-8")
        allowed = None
        if family or verdict:
            allowed = self.library.chosen(family=family, verdict=verdict, measured=measured)
        depth = k if allowed is None else max(k, WIDE)
        found = self.indexes().retriever(how).search([query], k=depth).rows["0"]
        scores = dict([one for one in found if allowed is None or one[0] in allowed][:k])
        papers = self.library.many(list(scores))
        return [
            Hit(rank, paper, scores[paper.id])
            for rank, paper in enumerate(papers.values(), start=1)
        ]

    def indexes(self) -> Indexes:
        """Those of the library as it is now."""
        with self._lock:
            revision = self.library.revision
            if revision != self._revision:
                self._indexes = Indexes(self.library.texts(), self._given)
                self._revision = revision
            return self._indexes


class Indexes:
    """The indexes of one state of a library, each made when it is first asked for.

    `texts` as `Library.texts`. All ways to search see the same papers.
    """

    def __init__(self, texts: Mapping[str, tuple[str, str, str, str]], encoder: Any) -> None:
        self._texts, self._given = texts, encoder
        self._words_lock, self._meaning_lock = threading.Lock(), threading.Lock()
        self._words: Any = None
        self._meaning: Any = None

    def retriever(self, how: str) -> Any:
        """What searches in this way: an object with `search(queries, k) -> types.Run`."""
        if how == "words":
            return self.words()
        if how == "meaning":
            return self.meaning()
        from tilth.retrieval.fusion import Fused

        try:
            meaning = self.meaning()
        except DataError:
            if self._given is not None:
                raise
            return self.words()
        share = SHARE if self._given is None else OTHERS_SHARE
        return Fused(
            {"words": self.words(), "meaning": meaning}, method="weighted",
            weights={"words": 1 - share, "meaning": share}, depth=DEPTH,
        )  # fmt: skip

    def words(self) -> Any:
        """The BM25 index."""
        with self._words_lock:
            if self._words is None:
                from tilth.retrieval.bm25 import BM25

                documents = {id: "\n".join((one[0], *one)) for id, one in self._texts.items()}
                self._words = BM25().fit(documents)
            return self._words

    def meaning(self) -> Any:
        """The dense index. Raises DataError for too few papers."""
        with self._meaning_lock:
            if self._meaning is None:
                documents = {
                    id: "\n\n".join(part for part in (title, summary, abstract) if part)
                    for id, (title, _, summary, abstract) in self._texts.items()
                }
                self._meaning = dense_index(documents, self._given)
            return self._meaning


def search(
    library: Library, query: str, k: int = 10, encoder: Any = None, how: str = "both", **only: Any
) -> list[Hit]:
    """One search; see `Search`, which a server keeps."""
    return Search(library, encoder)(query, k, how, **only)


def dense_index(documents: Mapping[str, str], encoder: Any = None) -> Any:
    """A dense index of whole texts, from the cache where it is there.

    Raises DataError where there is no encoder in a folder, or too few texts for tilth's own.
    """
    from tilth.retrieval.dense import Dense
    from tilth.retrieval.encoders import latent, load_encoder

    if isinstance(encoder, (str, Path)):
        encoder = load_encoder(encoder)
    made_by = encoder.fingerprint if encoder else f"{latent.Latent.version} {DIMENSIONS}"
    texts = (part for id in sorted(documents) for part in (id, documents[id]))
    folder = _cached(digest(Dense.version, PASSAGE, made_by, *texts))
    with contextlib.suppress(TilthError, OSError):  # Damaged or not there: it is made again.
        found = Dense.load(folder, encoder)
        folder.touch()
        return found
    if encoder is None:
        encoder = latent.fit(list(documents.values()), DIMENSIONS)
    made = Dense(encoder=encoder, target=PASSAGE).fit(documents)
    _keep(made, folder)
    return made


def _cached(name: str) -> Path:
    return cache_folder() / "papers" / name


def _keep(made: Any, folder: Path) -> None:
    """Leave an index in the cache; where that cannot be done, it is made again next time."""
    from tilth.store.lock import lock

    with contextlib.suppress(LockedError, OSError), lock(folder.parent):
        made.save(folder)
        others = [one for one in folder.parent.iterdir() if one.is_dir() and one != folder]
        for old in sorted(others, key=lambda one: one.stat().st_mtime)[: -KEPT or None]:
            shutil.rmtree(old, ignore_errors=True)
