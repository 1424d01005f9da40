"""A list of immutable segments that behaves like one table by id, and is updated without a rebuild.

What is added becomes a new segment; what is removed is masked; segments of similar size are merged
(a log-structured merge: O'Neil, Cheng, Gawlick and O'Neil 1996), so n documents added one by one
are copied O(log n) times each. Merging everything gives the canonical segment, in the order of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError
from tilth.store.write import atomic_write


class Segments:
    """Segments with `ids` (SortedStrings), `live` (bool, a row), `size` and `arrays()`.

    A subclass says how several become one (`merge`). Not to be changed while another thread reads.
    """

    def __init__(self, segments: Iterable[Any] = ()) -> None:
        self.segments = list(segments)
        self.documents = sum(len(segment.ids) for segment in self.segments)

    def merge(self, segments: Sequence[Any]) -> Any:
        """One segment with all live documents of several, whose ids are all different."""
        raise NotImplementedError

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
        # A segment that is mostly removed documents would cost more to read than to copy.
        self.segments = [
            segment if 2 * segment.live.sum() >= len(segment.live) else self.merge([segment])
            for segment in self.segments
            if segment.live.any()
        ]

    def add(self, segment: Any) -> None:
        """Take in a segment without removed documents; equal ids are replaced."""
        self.remove(segment.ids.to_list())
        self.segments.append(segment)
        self.documents += len(segment.ids)
        while len(self.segments) > 1 and self.segments[-2].size <= 2 * self.segments[-1].size:
            self.segments[-2:] = [self.merge(self.segments[-2:])]

    def compact(self) -> Any:
        """Merge everything into the canonical segment."""
        if len(self.segments) != 1 or not self.segments[0].live.all():
            self.segments = [self.merge(self.segments)]
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
        names = []
        for name, array in self.compact().arrays().items():
            with atomic_write(folder / f"{name}.npy") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
            names.append(f"{name}.npy")
        return names


def mapped_arrays(folder: Path, kinds: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """The arrays of a folder, mapped into memory; `kinds`: name -> (dtype, number of axes).

    Raises DamagedError where one is missing or is of another kind.
    """
    arrays = {}
    for name, (dtype, axes) in kinds.items():
        path = folder / f"{name}.npy"
        try:
            array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise DamagedError(str(error), where=str(path)) from None
        if array.ndim != axes or array.dtype != dtype:
            form = "in one row" if axes == 1 else f"with {axes} axes"
            raise DamagedError(f"holds no {dtype} {form}", where=str(path))
        arrays[name] = array
    return arrays


def check_edges(folder: Path, arrays: Mapping[str, np.ndarray], pairs: Mapping[str, str]) -> None:
    """Raise DamagedError unless each array of offsets ascends from 0 to the length of its data."""
    for offsets, data in pairs.items():
        edges = arrays[offsets]
        if not len(edges) or edges[0] != 0 or edges[-1] != len(arrays[data]):
            raise DamagedError(f"does not fit {data}", where=str(folder / f"{offsets}.npy"))
        if np.any(edges[1:] < edges[:-1]):
            raise DamagedError("does not ascend", where=str(folder / f"{offsets}.npy"))
