"""An inverted index that only counts, and is updated without being rebuilt.

What is kept: which documents a term stands in and how often, and each document's number of terms:
integers. Whatever depends on the whole collection (document frequency, average length) is computed
when it is asked for. So after any adds and removes every number is that of an index built from
the documents that are left, and nothing drifts.

How: an index is a list of segments (`retrieval.segments`), each immutable but for a mask of removed
documents. The canonical segment is a pure function of {id: text}: ids and terms are sorted, and
nothing is there of what was removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numba
import numpy as np

from tilth.errors import DamagedError
from tilth.retrieval.analyzer import TermCounts
from tilth.retrieval.segments import Segments, check_edges, mapped_arrays
from tilth.retrieval.strings import SortedStrings

FILES = ("ids", "id_offsets", "terms", "term_offsets", "starts", "documents", "counts", "lengths")
DTYPES = dict(zip(FILES, ("uint8", "int64", "uint8", "int64", "int64", "int32", "int32", "int64")))


@dataclass
class Segment:
    """Some documents and their postings. Row r is the document `ids[r]`.

    `documents[starts[t] : starts[t + 1]]` are the rows that hold `terms[t]`, ascending (int32),
    `counts` how often (int32), `lengths` (int64) each row's number of terms. These arrays are
    read-only. `live` (bool) says which rows were not removed.
    """

    ids: SortedStrings
    terms: SortedStrings
    starts: np.ndarray
    documents: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray
    live: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        for array in (self.starts, self.documents, self.counts, self.lengths):
            array.setflags(write=False)
        self.live = np.ones(len(self.ids), np.bool_)

    @property
    def size(self) -> int:
        """What merging it costs, in postings and documents."""
        return len(self.documents) + len(self.ids)

    @classmethod
    def of(cls, ids: Sequence[str], counted: TermCounts) -> Segment:
        """From different ids, sorted, and the counts of their texts in the same order."""
        starts = np.searchsorted(counted.term, np.arange(len(counted.terms) + 1))
        return cls(
            SortedStrings.of(ids),
            SortedStrings.of(counted.terms),
            starts.astype(np.int64),
            counted.text.astype(np.int32),
            counted.count.astype(np.int32),
            counted.lengths,
        )

    def frequency(self, places: np.ndarray) -> np.ndarray:
        """How many live documents hold each term, by its place; 0 for place -1."""
        if not self.live.all():
            return _live_frequency(places, self.starts, self.documents, self.live)
        found = np.zeros(len(places), np.int64)
        known = places[places >= 0]
        found[places >= 0] = self.starts[known + 1] - self.starts[known]
        return found

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by the names of `FILES`."""
        strings = (self.ids.data, self.ids.offsets, self.terms.data, self.terms.offsets)
        return dict(zip(FILES, (*strings, self.starts, self.documents, self.counts, self.lengths)))


def merged(segments: Sequence[Segment]) -> Segment:
    """One segment with all live documents of several, whose ids are all different."""
    ids, row_maps = _united([segment.ids for segment in segments], [s.live for s in segments])
    tables = [segment.terms for segment in segments]
    terms, term_maps = _united(tables, [np.ones(len(table), np.bool_) for table in tables])
    lengths = np.zeros(len(ids), np.int64)
    keys, counts = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for segment, rows, numbers in zip(segments, row_maps, term_maps):
        lengths[rows[segment.live]] = segment.lengths[segment.live]
        row = rows[segment.documents]
        number = np.repeat(numbers, np.diff(segment.starts))
        kept = row >= 0
        keys.append((number * max(len(ids), 1) + row)[kept])
        counts.append(segment.counts[kept])
    key = np.concatenate(keys)
    # Each segment's keys ascend already, and the stable sort merges sorted runs in linear time.
    order = np.argsort(key, kind="stable")
    number, row = np.divmod(key[order], max(len(ids), 1))
    frequency = np.bincount(number, minlength=len(terms))
    starts = np.zeros(np.count_nonzero(frequency) + 1, np.int64)
    np.cumsum(frequency[frequency > 0], out=starts[1:])
    return Segment(
        SortedStrings.of(ids),
        SortedStrings.of(term for term, used in zip(terms, frequency > 0) if used),
        starts,
        row.astype(np.int32),
        np.concatenate(counts)[order],
        lengths,
    )


def _united(
    tables: Sequence[SortedStrings], wanted: Sequence[np.ndarray]
) -> tuple[list[str], list[np.ndarray]]:
    """The wanted strings of all tables, sorted, and each table's numbers there; -1 unwanted."""
    lists = [
        [string for string, keep in zip(table.to_list(), keeps) if keep]
        for table, keeps in zip(tables, wanted)
    ]
    united = sorted(dict.fromkeys(string for strings in lists for string in strings))
    number = {string: place for place, string in enumerate(united)}
    maps = []
    for strings, keeps in zip(lists, wanted):
        numbers = np.full(len(keeps), -1, np.int64)
        numbers[keeps] = [number[string] for string in strings]
        maps.append(numbers)
    return united, maps


@numba.njit(cache=True, nogil=True)
def _live_frequency(
    places: np.ndarray, starts: np.ndarray, documents: np.ndarray, live: np.ndarray
) -> np.ndarray:
    found = np.zeros(len(places), np.int64)
    for number in range(len(places)):
        place = places[number]
        if place >= 0:
            for entry in range(starts[place], starts[place + 1]):
                found[number] += live[documents[entry]]
    return found


class Postings(Segments):
    """The segments of one index. Not to be changed while another thread reads it."""

    def merge(self, segments: Sequence[Segment]) -> Segment:
        return merged(segments)

    @property
    def total_length(self) -> int:
        """The number of terms of all live documents."""
        return sum(int(segment.lengths[segment.live].sum()) for segment in self.segments)

    @classmethod
    def load(cls, folder: Path) -> Postings:
        """The index of a folder, mapped into memory.

        Raises DamagedError where arrays have the wrong form, point outside each other or do not
        ascend, so that no compiled loop reads where it must not.
        """
        arrays = mapped_arrays(folder, {name: (dtype, 1) for name, dtype in DTYPES.items()})
        data_of = {"id_offsets": "ids", "term_offsets": "terms", "starts": "documents"}
        check_edges(folder, arrays, data_of)
        documents, rows = arrays["documents"], len(arrays["id_offsets"]) - 1
        inside = not len(documents) or (documents.min() >= 0 and documents.max() < rows)
        fits = len(arrays["counts"]) == len(documents) and len(arrays["lengths"]) == rows
        if not (inside and fits and len(arrays["starts"]) == len(arrays["term_offsets"])):
            raise DamagedError("arrays do not fit each other", where=str(folder))
        ids = SortedStrings(arrays["ids"], arrays["id_offsets"])
        terms = SortedStrings(arrays["terms"], arrays["term_offsets"])
        rest = (arrays[name] for name in FILES[4:])
        return cls([Segment(ids, terms, *rest)])
