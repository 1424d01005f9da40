"""Vectors of passages by document, as one table that is updated without a rebuild.

A document has any number of passages, none included; each has a vector (float32) and the place in
the text where it stands. Scores are inner products, summed in float64 in one fixed order, so a
score depends on the two vectors alone and on no batch, block or thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numba
import numpy as np

from tilth.errors import DamagedError
from tilth.retrieval.segments import Segments, check_edges, mapped_arrays
from tilth.retrieval.strings import SortedStrings

KINDS = {
    "ids": ("uint8", 1),
    "id_offsets": ("int64", 1),
    "starts": ("int64", 1),
    "spans": ("int64", 2),
    "vectors": ("float32", 2),
}
# Passages whose products with a group of queries are held at a time.
BLOCK = 32_768


@dataclass
class VectorSegment:
    """Some documents and their passages. Row r is the document `ids[r]`.

    `vectors[starts[r] : starts[r + 1]]` (float32, (passages, dimensions)) are its passages, and
    `spans` (int64, (passages, 2)) the characters of its text that they were made from. These arrays
    are read-only. `live` (bool) says which rows were not removed. `largest` is the length of the
    longest vector.
    """

    ids: SortedStrings
    starts: np.ndarray
    spans: np.ndarray
    vectors: np.ndarray
    live: np.ndarray = field(init=False)
    largest: float = field(init=False)

    def __post_init__(self) -> None:
        for array in (self.starts, self.spans, self.vectors):
            array.setflags(write=False)
        self.live = np.ones(len(self.ids), np.bool_)
        squares = np.einsum("ij,ij->i", self.vectors, self.vectors)
        self.largest = float(np.sqrt(squares.max(initial=0.0)))

    @property
    def size(self) -> int:
        """What merging it costs, in passages and documents."""
        return len(self.vectors) + len(self.ids)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by the names of `KINDS`."""
        parts = (self.ids.data, self.ids.offsets, self.starts, self.spans, self.vectors)
        return dict(zip(KINDS, parts))

    def candidates(self, query: np.ndarray, k: int) -> np.ndarray:
        """Rows of live documents that may be among the k best of one query; a few more than k.

        Chosen by fast products in float32, whose error is bounded; exact scores decide afterwards.
        """
        best = np.full(len(self.ids), -np.inf, np.float32)
        filled = np.flatnonzero((np.diff(self.starts) > 0) & self.live)
        first = 0
        while first < len(filled):
            begin = self.starts[filled[first]]
            last = int(np.searchsorted(self.starts[filled], begin + BLOCK, side="right"))
            rows = filled[first : max(last, first + 1)]
            stop = self.starts[rows[-1] + 1]
            products = self.vectors[begin:stop] @ query
            # Removed documents between the rows take part in a product and in no maximum.
            edges = np.stack([self.starts[rows], self.starts[rows + 1]], axis=1).ravel() - begin
            found = np.maximum.reduceat(np.append(products, np.float32(-np.inf)), edges)
            best[rows] = found[::2]
            first += len(rows)
        if not len(filled):
            return filled
        scores = best[filled]
        if len(filled) > k:
            # Each sum is off by at most so much: n roundings of terms within |v| |q|.
            error = 2 * (len(query) + 2) * 2.0**-23 * self.largest * float(np.linalg.norm(query))
            limit = np.partition(scores, len(filled) - k)[len(filled) - k]
            filled = filled[scores >= limit - 2 * error]
        return filled

    def exact(self, query: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(score, passage) of the best passage of each row, float64 and int64; -inf without one."""
        return _exact(self.vectors, self.starts, query, rows)


@numba.njit(cache=True, nogil=True)
def _exact(
    vectors: np.ndarray, starts: np.ndarray, query: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    scores = np.full(len(rows), -np.inf)
    places = np.full(len(rows), -1, np.int64)
    for number in range(len(rows)):
        for place in range(starts[rows[number]], starts[rows[number] + 1]):
            total = 0.0
            for axis in range(len(query)):
                total += np.float64(vectors[place, axis]) * np.float64(query[axis])
            if total > scores[number]:
                scores[number], places[number] = total, place
    return scores, places


def merged(segments: Sequence[VectorSegment], dimensions: int) -> VectorSegment:
    """One segment with all live documents of several, whose ids are all different."""
    entries = sorted(
        (id, number, row)
        for number, segment in enumerate(segments)
        for row, id in enumerate(segment.ids.to_list())
        if segment.live[row]
    )
    counts = [int(np.diff(segments[n].starts[row : row + 2])[0]) for _, n, row in entries]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    spans = np.zeros((starts[-1], 2), np.int64)
    vectors = np.zeros((starts[-1], dimensions), np.float32)
    for place, (_, number, row) in enumerate(entries):
        segment = segments[number]
        part = slice(segment.starts[row], segment.starts[row + 1])
        spans[starts[place] : starts[place + 1]] = segment.spans[part]
        vectors[starts[place] : starts[place + 1]] = segment.vectors[part]
    return VectorSegment(SortedStrings.of(id for id, _, _ in entries), starts, spans, vectors)


class Vectors(Segments):
    """The segments of one dense index, all of vectors with so many `dimensions`."""

    def __init__(self, dimensions: int, segments: Sequence[VectorSegment] = ()) -> None:
        super().__init__(segments)
        self.dimensions = dimensions

    def merge(self, segments: Sequence[VectorSegment]) -> VectorSegment:
        return merged(segments, self.dimensions)

    @classmethod
    def load(cls, folder: Path, dimensions: int) -> Vectors:
        """The vectors of a folder, mapped into memory.

        Raises DamagedError where arrays have the wrong form or do not fit each other.
        """
        arrays = mapped_arrays(folder, KINDS)
        check_edges(folder, arrays, {"id_offsets": "ids", "starts": "vectors"})
        vectors, spans = arrays["vectors"], arrays["spans"]
        fits = len(arrays["starts"]) == len(arrays["id_offsets"])
        if vectors.shape[1] != dimensions or spans.shape != (len(vectors), 2) or not fits:
            raise DamagedError("arrays do not fit each other", where=str(folder))
        ids = SortedStrings(arrays["ids"], arrays["id_offsets"])
        return cls(dimensions, [VectorSegment(ids, arrays["starts"], spans, vectors)])
