"""Contamination: word 13-grams that a document shares with evaluation sets (Brown et al. 2020).

"Language models are few-shot learners", appendix C, takes a test item for seen where training text
holds one of its runs of 13 words, in lower case and without punctuation. Words are cut as for
near-duplicates (`tilth.corpus.shingle_kernels`); in scripts without blanks each letter is a word.

When: before training, with the sets that the model will be judged on; a rule may then say
`contaminated_share < 0.1`. And for the two sides of a split (`overlap`). When not: to show that a
set was *not* seen. Reworded or translated items share no long run of words, and texts of fewer
than `n` words have none to share. Famous quotations and licence notices are shared by chance.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numba
import numpy as np
import pyarrow as pa

from tilth.corpus.shingle_kernels import character_table, read_only, shingle_sets, text_buffers
from tilth.errors import UsageError
from tilth.signals.evaluation_sets import digest_of_set, read_texts
from tilth.signals.length import ratio

MOST_WORDS = 1000
# Texts are hashed so many bytes at a time.
CHUNK_BYTES = 16_000_000


class Contamination:
    """Columns `contaminated_share` and `contamination_hits`.

    Hits are the document's different word `n`-grams that occur in one of the `sets`, the share is
    of all its different ones; null where it has fewer than `n` words. `sets` are named data sets,
    files or folders; of tables (JSON, CSV, Parquet) every text value of a row is a text of its own,
    `fields` restricts them to some columns. `digests`: refuse other sets than these.
    """

    name = "contamination"
    version = 1
    columns: ClassVar[dict[str, int]] = {"contaminated_share": -1, "contamination_hits": -1}

    def __init__(
        self,
        *,
        sets: Sequence[str] = (),
        n: int = 13,
        fields: Sequence[str] = (),
        digests: Sequence[str] = (),
    ) -> None:
        if isinstance(sets, str) or not sets:
            raise UsageError(
                "contamination needs the sets to compare with", hint='sets = ["FILE or named set"]'
            )
        self.sets, self.n, self.fields = tuple(sets), _checked(n), tuple(fields)
        self.digests = tuple(map(digest_of_set, self.sets))
        if digests and tuple(digests) != self.digests:
            raise UsageError(
                f"{', '.join(self.sets)}: now with digests {', '.join(self.digests)}, not those "
                "that were asked for",
                hint="leave digests out to take what is there",
            )

    def parameters(self) -> dict[str, Any]:
        return {
            "sets": list(self.sets),
            "n": self.n,
            "fields": list(self.fields),
            "digests": list(self.digests),
        }

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Contamination:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        table = _tables(self.sets, self.n, self.fields, self.digests)
        hits, sizes = _count(batch.column("text"), table, self.n)
        return pa.RecordBatch.from_arrays([ratio(hits, sizes), pa.array(hits)], list(self.columns))


def shared_ngrams(texts: Sequence[str], others: Iterable[str], n: int) -> np.ndarray:
    """Which of `texts` share a run of `n` words with any of `others`; one boolean a text."""
    _checked(n)
    table = make_table(ngrams(others, n))
    hits = [_count(part, table, n)[0] > 0 for part in _parts(texts)]
    return np.concatenate([np.zeros(0, dtype=bool), *hits])


def overlap(
    train: Iterable[pa.RecordBatch], test: Iterable[pa.RecordBatch], n: int = 13
) -> dict[str, Any]:
    """How much of the held-out texts occurs in the training texts; batches with a column `text`.

    `documents` and `ngrams` count the held-out side: texts of at least `n` words, and their
    different n-grams together (one that two texts hold counts once). `documents_short` have fewer
    words. `documents_share` is the share with any hit, `ngrams_share` that of the n-grams that
    occur in training; both None where there is nothing to divide by. Memory holds the held-out
    n-grams only; any order of batches gives the same.
    """
    _checked(n)
    rows = [_ngrams_of(part, n) for batch in test for part in _arrays(batch.column("text"))]
    grams = np.concatenate([np.zeros(0, np.uint64), *(found for _, found in rows)])
    table = make_table(grams)
    seen = np.zeros(len(table), dtype=np.bool_)
    for batch in train:
        for part in _arrays(batch.column("text")):
            mark(_ngrams_of(part, n)[1], table, seen)
    documents = hit = short = 0
    common_table = make_table(table[seen])
    for starts, found in rows:
        hits = count_hits(starts, found, common_table)
        sizes = np.diff(starts)
        documents, short = documents + int((sizes > 0).sum()), short + int((sizes == 0).sum())
        hit += int((hits > 0).sum())
    total, common = int((table != 0).sum()), int(seen.sum())
    return {
        "n": n,
        "documents": documents,
        "documents_short": short,
        "documents_hit": hit,
        "documents_share": hit / documents if documents else None,
        "ngrams": total,
        "ngrams_hit": common,
        "ngrams_share": common / total if total else None,
    }


def ngrams(texts: Iterable[str], n: int) -> np.ndarray:
    """Hashes of the word n-grams of all texts, those of a text once each."""
    found = [_ngrams_of(part, n)[1] for part in _parts(texts)]
    return np.concatenate([np.zeros(0, np.uint64), *found])


@functools.lru_cache(maxsize=4)
def _tables(
    sets: tuple[str, ...], n: int, fields: tuple[str, ...], digests: tuple[str, ...]
) -> np.ndarray:
    """One table for all sets, for as long as the process lives. `digests` keep them apart."""
    return make_table(np.concatenate([ngrams(read_texts(name, fields), n) for name in sets]))


def _checked(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_WORDS:
        raise UsageError(f"n must be a whole number from 1 to {MOST_WORDS}, not {n!r}")
    return n


def _parts(texts: Iterable[str]) -> Iterable[pa.Array]:
    """Texts as arrays of bounded size, in order."""
    waiting: list[str] = []
    size = 0
    for text in texts:
        # What is no character (half of a surrogate pair) cannot lie in an array.
        waiting.append(text.encode("utf-8", "replace").decode("utf-8"))
        size += len(text)
        if size >= CHUNK_BYTES:
            yield pa.array(waiting, pa.large_string())
            waiting, size = [], 0
    if waiting:
        yield pa.array(waiting, pa.large_string())


def _arrays(column: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return column.chunks if isinstance(column, pa.ChunkedArray) else [column]


def _ngrams_of(texts: pa.Array, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(starts, hashes): text i has `hashes[starts[i]:starts[i + 1]]`, each once."""
    starts, found = shingle_sets(*text_buffers(texts), character_table(), n)
    return read_only(starts), read_only(found)


def _count(texts: pa.Array, table: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each text how many different n-grams are in the table, and how many there are."""
    starts, found = _ngrams_of(texts, n)
    return count_hits(starts, found, table), np.diff(starts)


def make_table(hashes: np.ndarray) -> np.ndarray:
    """A hash set: its length is a power of two, 0 marks a free place."""
    size = 16
    while size < 2 * len(hashes):
        size *= 2
    table = np.zeros(size, dtype=np.uint64)
    _insert(read_only(np.ascontiguousarray(hashes, dtype=np.uint64)), table)
    return read_only(table)


@numba.njit(cache=True, nogil=True)
def _insert(hashes: np.ndarray, table: np.ndarray) -> None:
    last = np.uint64(len(table) - 1)
    for value in hashes:
        slot = (value >> np.uint64(8)) & last
        while table[slot] != 0 and table[slot] != value:
            slot = (slot + np.uint64(1)) & last
        table[slot] = value


@numba.njit(cache=True, nogil=True)
def count_hits(starts: np.ndarray, hashes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """For each text, how many of `hashes[starts[i]:starts[i + 1]]` are in the table."""
    last = np.uint64(len(table) - 1)
    counts = np.zeros(len(starts) - 1, dtype=np.int64)
    for row in range(len(starts) - 1):
        for place in range(starts[row], starts[row + 1]):
            slot = (hashes[place] >> np.uint64(8)) & last
            while table[slot] != 0 and table[slot] != hashes[place]:
                slot = (slot + np.uint64(1)) & last
            counts[row] += table[slot] != 0
    return counts


@numba.njit(cache=True, nogil=True)
def mark(hashes: np.ndarray, table: np.ndarray, seen: np.ndarray) -> None:
    """Set `seen` at the places of the table that hold one of the hashes."""
    last = np.uint64(len(table) - 1)
    for value in hashes:
        slot = (value >> np.uint64(8)) & last
        while table[slot] != 0 and table[slot] != value:
            slot = (slot + np.uint64(1)) & last
        if table[slot] != 0:
            seen[slot] = True
