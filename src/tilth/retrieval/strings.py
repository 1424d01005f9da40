"""Many sorted strings in two arrays, so that they can be mapped from disk and searched at once."""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np

# Lone surrogates may stand in ids; with this they come back, in the order of code points.
CODING = ("utf-8", "surrogatepass")


class SortedStrings:
    """Different strings in the order of their code points, which is that of their UTF-8 bytes.

    `data` (uint8) holds the bytes one after another, `offsets` (int64) where string i starts; its
    last entry is the length of `data`. Both are read-only.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self.data, self.offsets = data, offsets
        data.setflags(write=False)
        offsets.setflags(write=False)

    @classmethod
    def of(cls, strings: Iterable[str]) -> SortedStrings:
        """From strings that are sorted already, each there once."""
        return cls(*_joined(strings))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, place: int) -> str:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.data[self.offsets[place] : self.offsets[place + 1]].tobytes().decode(*CODING)

    def take(self, places: np.ndarray) -> list[str]:
        """The strings of several places."""
        view = memoryview(self.data)
        starts, stops = self.offsets[places].tolist(), self.offsets[places + 1].tolist()
        return [str(view[start:stop], *CODING) for start, stop in zip(starts, stops)]

    def to_list(self) -> list[str]:
        return self.take(np.arange(len(self)))

    def find(self, strings: Iterable[str]) -> np.ndarray:
        """Where each string stands, int64; -1 where it does not."""
        return _find(self.data, self.offsets, *_joined(strings))

    def insertion_place(self, string: str) -> int:
        """How many strings come before this one."""
        return int(_place(self.data, self.offsets, *_joined([string]), 0))


def _joined(strings: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [string.encode(*CODING) for string in strings]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(part) for part in encoded], out=offsets[1:])
    data = np.frombuffer(b"".join(encoded), np.uint8)
    offsets.setflags(write=False)
    return data, offsets


@numba.njit(cache=True, nogil=True)
def _compare(data: np.ndarray, start: int, stop: int, other: np.ndarray, at: int, end: int) -> int:
    """-1, 0 or 1: the first piece of bytes comes before, equals or comes after the second."""
    while start < stop and at < end:
        if data[start] != other[at]:
            return -1 if data[start] < other[at] else 1
        start += 1
        at += 1
    return (start < stop) - (at < end)


@numba.njit(cache=True, nogil=True)
def _place(
    data: np.ndarray, offsets: np.ndarray, wanted: np.ndarray, borders: np.ndarray, number: int
) -> int:
    """The first place whose string is not before wanted string `number`."""
    low, high = 0, len(offsets) - 1
    at, end = borders[number], borders[number + 1]
    while low < high:
        middle = (low + high) >> 1
        if _compare(data, offsets[middle], offsets[middle + 1], wanted, at, end) < 0:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True)
def _find(
    data: np.ndarray, offsets: np.ndarray, wanted: np.ndarray, borders: np.ndarray
) -> np.ndarray:
    found = np.empty(len(borders) - 1, np.int64)
    for number in range(len(found)):
        place = _place(data, offsets, wanted, borders, number)
        at, end = borders[number], borders[number + 1]
        equal = place < len(offsets) - 1 and (
            _compare(data, offsets[place], offsets[place + 1], wanted, at, end) == 0
        )
        found[number] = place if equal else -1
    return found
