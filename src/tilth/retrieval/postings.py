"""An inverted index that only counts, and is updated without being rebuilt.

What is kept: which documents a term stands in and how often, and each document's number of terms:
integers. Whatever depends on the whole collection (document frequency, average length) is computed
when it is asked for. So after any adds and removes every number is that of an index built from
the documents that are left, and nothing drifts.

How: an index is a list of segments, each immutable but for a mask of removed documents. What is
added becomes a new segment; segments of similar size are merged (a log-structured merge: O'Neil,
Cheng, Gawlick and O'Neil 1996), so n documents added one by one are copied O(log n) times each.
Merging everything gives the canonical segment, a pure function of {id: text}: ids and terms are
sorted, and nothing is there of what was removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np

from tilth.errors import DamagedError
from tilth.retrieval.analyzer import TermCounts
from tilth.retrieval.strings import SortedStrings
from tilth.store.write import atomic_write

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


class Postings:
    """The segments of one index. Not to be changed while another thread reads it."""

    def __init__(self, segments: Iterable[Segment] = ()) -> None:
        self.segments = list(segments)
        self.documents = sum(len(segment.ids) for segment in self.segments)
        self.total_length = sum(int(segment.lengths.sum()) for segment in self.segments)

    def rows(self, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(segment, row) of each id, -1 for the segment where no live document has it."""
        place, row = np.full(len(ids), -1, np.int64), np.zeros(len(ids), np.int64)
        for number, segment in enumerate(self.segments):
            found = segment.ids.find(ids)
            here = found >= 0
            here[here] = segment.live[found[here]]
            place[here], row[here] = number, found[here]
        return place, row

    def remove(self, ids: Sequence[str]) -> None:
        """Take these documents out; what is not there is passed over."""
        place, row = self.rows(ids)
        for number, segment in enumerate(self.segments):
            rows = np.unique(row[place == number])
            segment.live[rows] = False
            self.documents -= len(rows)
            self.total_length -= int(segment.lengths[rows].sum())
        # A segment that is mostly removed documents would cost more to read than to copy.
        self.segments = [
            segment if 2 * segment.live.sum() >= len(segment.live) else merged([segment])
            for segment in self.segments
            if segment.live.any()
        ]

    def add(self, segment: Segment) -> None:
        """Take in a segment without removed documents; equal ids are replaced."""
        self.remove(segment.ids.to_list())
        self.segments.append(segment)
        self.documents += len(segment.ids)
        self.total_length += int(segment.lengths.sum())
        while len(self.segments) > 1 and self.segments[-2].size <= 2 * self.segments[-1].size:
            self.segments[-2:] = [merged(self.segments[-2:])]

    def compact(self) -> Segment:
        """Merge everything into the canonical segment."""
        if len(self.segments) != 1 or not self.segments[0].live.all():
            self.segments = [merged(self.segments)]
        return self.segments[0]

    def ids(self) -> list[str]:
        """The live ids, sorted."""
        return sorted(
            id
            for segment in self.segments
            for id, live in zip(segment.ids.to_list(), segment.live)
            if live
        )

    def near(self, id: str, count: int = 25) -> list[str]:
        """Live ids that stand next to `id` in the order of ids, to say which one was meant."""
        found = []
        for segment in self.segments:
            place = segment.ids.insertion_place(id)
            rows = range(max(0, place - count), min(len(segment.ids), place + count))
            found += [segment.ids[row] for row in rows if segment.live[row]]
        return found

    def save(self, folder: Path) -> list[str]:
        """Write the canonical segment, one .npy file an array; the names of the files."""
        for name, array in self.compact().arrays().items():
            with atomic_write(folder / f"{name}.npy") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
        return [f"{name}.npy" for name in FILES]

    @classmethod
    def load(cls, folder: Path) -> Postings:
        """The index of a folder, mapped into memory.

        Raises DamagedError where arrays have the wrong form, point outside each other or do not
        ascend, so that no compiled loop reads where it must not.
        """
        arrays: dict[str, Any] = {}
        for name in FILES:
            path = folder / f"{name}.npy"
            try:
                array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise DamagedError(str(error), where=str(path)) from None
            if array.ndim != 1 or array.dtype != DTYPES[name]:
                raise DamagedError(f"holds no {DTYPES[name]} in one row", where=str(path))
            arrays[name] = array
        for offsets, data in (
            ("id_offsets", "ids"), ("term_offsets", "terms"), ("starts", "documents"),
        ):  # fmt: skip
            edges = arrays[offsets]
            if not len(edges) or edges[0] != 0 or edges[-1] != len(arrays[data]):
                raise DamagedError(f"does not fit {data}", where=str(folder / f"{offsets}.npy"))
            if np.any(edges[1:] < edges[:-1]):
                raise DamagedError("does not ascend", where=str(folder / f"{offsets}.npy"))
        documents, rows = arrays["documents"], len(arrays["id_offsets"]) - 1
        inside = not len(documents) or (documents.min() >= 0 and documents.max() < rows)
        fits = len(arrays["counts"]) == len(documents) and len(arrays["lengths"]) == rows
        if not (inside and fits and len(arrays["starts"]) == len(arrays["term_offsets"])):
            raise DamagedError("arrays do not fit each other", where=str(folder))
        ids = SortedStrings(arrays["ids"], arrays["id_offsets"])
        terms = SortedStrings(arrays["terms"], arrays["term_offsets"])
        rest = (arrays[name] for name in FILES[4:])
        return cls([Segment(ids, terms, *rest)])
