"""The exceptions of a language as the array that the kernels of `tilth.signals.words` look up."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from tilth.signals.english import exceptions
from tilth.signals.words import PADDING, START, STOP, cut_line, fill
from tilth.signals.words_affixes import (
    FIRSTS,
    KEYS,
    LONGEST,
    REJOIN,
    SLOTS,
    UNIT,
    VALUES,
    bytes_hash,
)
from tilth.signals.words_characters import character_flags
from tilth.store.digest import digest_value

# After a digit these are words of their own.
UNITS = """km km\u00b2 km\u00b3 m m\u00b2 m\u00b3 dm dm\u00b2 dm\u00b3 cm cm\u00b2 cm\u00b3
mm mm\u00b2 mm\u00b3 ha \u00b5m nm yd in ft kg g mg \u00b5g t lb oz m/s km/h kmh mph hPa Pa mbar
mb MB kb KB gb GB tb TB T G M K %""".split()


@functools.cache
def english_table() -> np.ndarray:
    """The table of `tilth.signals.english`, read-only."""
    return exception_table(exceptions())


@functools.cache
def english_digest() -> str:
    """Names the exceptions and units: part of the parameters of each signal that uses them."""
    return digest_value([sorted(exceptions().items()), UNITS])


@functools.cache
def bytes_hashes(words: tuple[str, ...]) -> np.ndarray:
    """The hashes that words have as tokens, read-only."""
    hashes = np.array([_hash(word) for word in words], dtype=np.uint64)
    hashes.flags.writeable = False
    return hashes


def exception_table(words: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Strings and their words as an array of uint64; see `tilth.signals.words` for its parts."""
    table = np.zeros(VALUES + SLOTS, dtype=np.uint64)
    table.flags.writeable = False
    entries = []
    for string, parts in words.items():
        # What the rules alone would make of the string decides whether it is put together again.
        cut = words_of(string, table)
        value = len(parts) | (REJOIN if len(cut) > 1 else 0)
        for number, part in enumerate(parts):
            value |= len(part.encode()) << (8 * number + 8)
        if "".join(parts) != string or len(string.encode()) > LONGEST or len(parts) > 7:
            raise ValueError(f"no exception: {string!r}")
        entries.append((_hash(string), value, _hash(cut[0]) if len(cut) > 1 else None))
    entries += [(_hash(unit) ^ int(UNIT), 1, None) for unit in UNITS]
    table = table.copy()
    for key, value, first in entries:
        _set_bit(table, 0, key)
        if first is not None:
            _set_bit(table, FIRSTS, first)
        slot = key >> 20 & SLOTS - 1
        while table[KEYS + slot] not in (0, key):
            slot = (slot + 1) % SLOTS
        table[KEYS + slot], table[VALUES + slot] = key, value
    table.flags.writeable = False
    return table


def words_of(text: str, table: np.ndarray | None = None, simple: bool = False) -> list[str]:
    """The words of a text, for a look at single texts; signals count without making strings."""
    if table is None:
        table = english_table()
    data = _buffer(text)
    size = len(data) - PADDING
    copy, flags = np.empty(size + PADDING, np.uint8), np.empty(size + PADDING, np.uint32)
    fill(data, 0, size, character_flags(), copy, flags)
    tokens, hashes = np.empty((size + 1, 4), np.int32), np.empty(size + 1, np.uint64)
    tails, found = np.empty(size + 1, np.int32), np.empty(3, np.int64)
    count = cut_line(copy, flags, 0, size, table, simple, tokens, hashes, 0, tails, found)
    raw = data.tobytes()
    return [raw[start:stop].decode() for start, stop in tokens[:count, START : STOP + 1]]


def _buffer(text: str) -> np.ndarray:
    return np.frombuffer(text.encode() + bytes(PADDING), dtype=np.uint8)


def _hash(text: str) -> int:
    data = _buffer(text).copy()
    return int(bytes_hash(data, 0, len(data) - PADDING))


def _set_bit(table: np.ndarray, first: int, key: int) -> None:
    table[first + (key >> 6 & 1023)] |= np.uint64(1 << (key & 63))
