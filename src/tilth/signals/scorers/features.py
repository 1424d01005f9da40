"""Words and character n-grams of a text, hashed into buckets (Weinberger et al. 2009).

A text becomes a vector of unit length: bucket b that is hit c times has (1 + log c) * idf[b] before
the division. Features are words, pairs of neighbouring words, and n-grams of characters inside a
word with a blank at both ends; words are those of `tilth.signals.kernels`, all in lower case. No
vocabulary is kept, so a scorer takes one size whatever it learned from, and holds no text.

Not covered: collisions are not resolved (at 2^18 buckets a text of 1,000 features shares one bucket
in 250 with another of its features). A script without blanks is one long word: its n-grams of
characters carry it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np

from tilth.errors import UsageError
from tilth.signals.kernels import (
    GOLDEN,
    SEED,
    WORD,
    WORD_START,
    character_classes,
    class_of,
    decode,
    mixed,
)

BLANK = 32
LONGEST = 8


@dataclass(frozen=True)
class Features:
    """What is counted. `bits`: 2^bits buckets. `words`: 0 none, 1 words, 2 pairs of words too.

    `shortest`, `longest`: of the n-grams of characters; both 0 for none.
    """

    bits: int = 18
    words: int = 2
    shortest: int = 3
    longest: int = 5

    def __post_init__(self) -> None:
        if not 8 <= self.bits <= 24:
            raise UsageError(f"bits must lie from 8 to 24, not {self.bits}")
        if self.words not in (0, 1, 2):
            raise UsageError(f"words must be 0, 1 or 2, not {self.words}")
        none = self.shortest == self.longest == 0
        if not none and not 1 <= self.shortest <= self.longest <= LONGEST:
            raise UsageError(
                f"n-grams of {self.shortest} to {self.longest} characters",
                hint=f"from 1 up to {LONGEST}, or 0 and 0 for none",
            )
        if none and not self.words:
            raise UsageError("neither words nor characters are counted")

    @property
    def buckets(self) -> int:
        return 1 << self.bits

    def parameters(self) -> dict[str, Any]:
        return asdict(self)

    def count(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(how many different buckets each text hits, how many texts hit each bucket)."""
        return count_distinct(*joined(texts), character_classes(), *self._shape)

    def rows(self, texts: Sequence[str], idf: np.ndarray) -> Any:
        """The vectors of the texts, a scipy CSR matrix (texts, buckets)."""
        from scipy.sparse import csr_matrix

        offsets, data = joined(texts)
        sizes, _ = count_distinct(offsets, data, character_classes(), *self._shape)
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        columns, values = fill_rows(offsets, data, character_classes(), *self._shape, idf, starts)
        return csr_matrix((values, columns, starts), shape=(len(texts), self.buckets))

    def project(self, texts: Sequence[str], idf: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The vectors times `weights` (buckets, k): float64 (texts, k); 0 without a feature.

        `idf` and `weights` are float32 and read-only, as loaded ones are.
        """
        offsets, data = joined(texts)
        return project(offsets, data, character_classes(), *self._shape, idf, weights)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return self.bits, self.words, self.shortest, self.longest


def joined(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, bytes) of the texts in lower case, one after the other."""
    pieces = [text.lower().encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(pieces) + 1, np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return offsets, np.frombuffer(b"".join(pieces), np.uint8)


def inverse_frequency(hits: np.ndarray, texts: int) -> np.ndarray:
    """log((1 + texts) / (1 + hits)) + 1, float32 and read-only: a bucket never hit counts most."""
    idf = (np.log((1.0 + texts) / (1.0 + hits)) + 1.0).astype(np.float32)
    idf.setflags(write=False)
    return idf


def read_only(array: np.ndarray) -> np.ndarray:
    """As contiguous float32, read-only: so each kernel is compiled once."""
    array = np.ascontiguousarray(array, np.float32)
    array.setflags(write=False)
    return array


def warm() -> None:
    """Compile the loops, or load them compiled."""
    features = Features(bits=8)
    idf = inverse_frequency(features.count(["warm"])[1], 1)
    features.rows(["warm"], idf)
    features.project(["warm"], idf, read_only(np.zeros((features.buckets, 1))))


@numba.njit(cache=True, nogil=True, inline="always")
def _hit(hash: np.uint64, bits: int, counts: np.ndarray, touched: np.ndarray, found: int) -> int:
    """Count one feature; how many different buckets are hit by now."""
    bucket = np.int64(mixed(hash) >> np.uint64(64 - bits))
    if counts[bucket] == 0:
        touched[found] = bucket
        found += 1
    counts[bucket] += 1
    return found


@numba.njit(cache=True, nogil=True)
def _count_features(
    data: np.ndarray,
    at: int,
    stop: int,
    table: np.ndarray,
    bits: int,
    words: int,
    shortest: int,
    longest: int,
    counts: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Add one text's features to `counts`, list the buckets in `touched`; how many there are."""
    window = np.zeros(LONGEST, np.uint64)  # the last characters of the word, newest first
    found = filled = 0
    inside = False
    word = before = np.uint64(0)
    while at <= stop:
        code, size = (np.int64(BLANK), 1) if at == stop else decode(data, at, stop)
        at += size
        kind = class_of(code, table)
        part = kind & (WORD if inside else WORD_START) != 0
        if not part and not inside:
            continue
        if part and not inside:
            word = SEED
            window[0] = np.uint64(BLANK)
            filled = 1
        inside = part
        letter = np.uint64(code) if part else np.uint64(BLANK)
        if longest:
            for place in range(min(filled, longest - 1), 0, -1):
                window[place] = window[place - 1]
            window[0] = letter
            filled += 1
            gram = SEED
            for place in range(min(filled, longest)):
                gram = (gram ^ window[place]) * GOLDEN
                if place + 1 >= shortest:
                    found = _hit(gram ^ np.uint64(place + 1), bits, counts, touched, found)
        if part:
            word = (word ^ letter) * GOLDEN
            continue
        if words:
            word = mixed(word)
            found = _hit(word, bits, counts, touched, found)
            if words > 1 and before:
                pair = (before * GOLDEN) ^ word
                found = _hit(pair, bits, counts, touched, found)
            before = word
    return found


@numba.njit(cache=True, nogil=True)
def count_distinct(
    offsets: np.ndarray,
    data: np.ndarray,
    table: np.ndarray,
    bits: int,
    words: int,
    shortest: int,
    longest: int,
) -> tuple[np.ndarray, np.ndarray]:
    """See `Features.count`."""
    counts, touched = np.zeros(1 << bits, np.int32), np.empty(1 << bits, np.int32)
    sizes, hits = np.zeros(len(offsets) - 1, np.int64), np.zeros(1 << bits, np.int64)
    for row in range(len(offsets) - 1):
        size = _count_features(
            data, offsets[row], offsets[row + 1], table, bits, words, shortest, longest,
            counts, touched,
        )  # fmt: skip
        sizes[row] = size
        for bucket in touched[:size]:
            counts[bucket] = 0
            hits[bucket] += 1
    return sizes, hits


@numba.njit(cache=True, nogil=True)
def fill_rows(
    offsets: np.ndarray,
    data: np.ndarray,
    table: np.ndarray,
    bits: int,
    words: int,
    shortest: int,
    longest: int,
    idf: np.ndarray,
    starts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(columns, values) of the CSR matrix whose row i is `starts[i] : starts[i + 1]`."""
    counts, touched = np.zeros(1 << bits, np.int32), np.empty(1 << bits, np.int32)
    columns, values = np.empty(starts[-1], np.int32), np.empty(starts[-1])
    for row in range(len(offsets) - 1):
        size = _count_features(
            data, offsets[row], offsets[row + 1], table, bits, words, shortest, longest,
            counts, touched,
        )  # fmt: skip
        squares = 0.0
        for place in range(size):
            bucket = touched[place]
            value = (1.0 + np.log(counts[bucket])) * idf[bucket]
            squares += value * value
            counts[bucket] = 0
            columns[starts[row] + place] = bucket
            values[starts[row] + place] = value
        for place in range(starts[row], starts[row] + size):
            values[place] /= np.sqrt(squares)
    return columns, values


@numba.njit(cache=True, nogil=True)
def project(
    offsets: np.ndarray,
    data: np.ndarray,
    table: np.ndarray,
    bits: int,
    words: int,
    shortest: int,
    longest: int,
    idf: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """See `Features.project`."""
    counts, touched = np.zeros(1 << bits, np.int32), np.empty(1 << bits, np.int32)
    out = np.zeros((len(offsets) - 1, weights.shape[1]))
    for row in range(len(offsets) - 1):
        size = _count_features(
            data, offsets[row], offsets[row + 1], table, bits, words, shortest, longest,
            counts, touched,
        )  # fmt: skip
        squares = 0.0
        for bucket in touched[:size]:
            value = (1.0 + np.log(counts[bucket])) * idf[bucket]
            squares += value * value
            counts[bucket] = 0
            for column in range(weights.shape[1]):
                out[row, column] += value * weights[bucket, column]
        if squares > 0:
            for column in range(weights.shape[1]):
                out[row, column] /= np.sqrt(squares)
    return out
