"""Which texts are worth comparing: those that agree in all hashes of at least one band.

Locality-sensitive hashing by bands (Indyk and Motwani 1998; for MinHash as in Leskovec, Rajaraman
and Ullman 2014, chapter 3). The keys of a band are sorted, not joined: texts with equal keys form
a bucket, and stand side by side.

In a bucket of at most `largest` texts every pair is a candidate. A larger one is *crowded* (a
boilerplate that many texts share, a template): there each text is paired with the first of the
bucket and with the next `NEIGHBOURS` in the order of the following bands' keys, where texts that
agree in more bands stand together. The limit is lowered where a band would give more than
`PAIRS_EACH` pairs a text. So the number of candidates is linear in the number of texts. What may
be lost is a pair that meets in crowded buckets only; a family of copies stays connected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np

NEIGHBOURS = 4
PAIRS_EACH = 8
# Pairs are gathered to so many before those found twice are taken out.
GATHERED = 1 << 22
# Keys of several bands are held at a time.
KEY_BYTES = 1 << 28

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


@dataclass
class Crowding:
    """What the limit on buckets did, summed over bands.

    `left_out`: pairs of texts in one crowded bucket that were not made candidates there; a pair
    counts once for each such bucket, and may have been found in another.
    """

    buckets: int = 0
    largest: int = 0
    left_out: int = 0


def candidate_pairs(
    keys: Callable[[int, int], np.ndarray],
    bands: int,
    sizes: np.ndarray,
    threshold: float,
    largest: int = 64,
) -> tuple[np.ndarray, np.ndarray, Crowding]:
    """Pairs of texts (left < right) that agree in a band, each once, in order.

    keys: `keys(first, last)` gives the keys of these bands, one row a band, a column a text.
    sizes: shingles of each text; 0 = compared with none. Pairs whose sizes alone say that their
    Jaccard lies below `threshold` are left out.
    """
    crowding = Crowding()
    texts = np.flatnonzero(sizes > 0)
    step = min(bands, max(3, KEY_BYTES // (4 * max(1, len(sizes)))))
    found: list[np.ndarray] = []
    gathered = 0
    for first in range(0, bands, step):
        held = keys(first, min(first + step, bands))
        for band in range(len(held)):
            new = _pairs_of_band(held, band, texts, sizes, threshold, largest, crowding)
            found.append(new)
            gathered += len(new)
            if gathered > GATHERED:
                found = [np.unique(np.concatenate(found))]
                gathered = len(found[0]) // 2
    pairs = np.unique(np.concatenate([*found, np.zeros(0, dtype=np.uint64)]))
    return (pairs >> HALF).astype(np.int64), (pairs & LOW).astype(np.int64), crowding


def _pairs_of_band(
    keys: np.ndarray, band: int, texts: np.ndarray, sizes: np.ndarray, threshold: float,
    largest: int, crowding: Crowding,
) -> np.ndarray:  # fmt: skip
    """Pairs of one band, packed as left * 2^32 + right."""
    # A key and its text in one number: sorting it is fast, and leaves equal keys in text order.
    packed = np.sort(keys[band][texts].astype(np.uint64) << HALF | texts.astype(np.uint64))
    change = np.ones(len(packed) + 1, dtype=bool)
    change[1:-1] = packed[1:] >> HALF != packed[:-1] >> HALF
    starts = np.flatnonzero(change)
    lengths = np.diff(starts)
    limit = _limit(lengths, largest, PAIRS_EACH * len(texts))
    shared, crowded = (lengths > 1) & (lengths <= limit), lengths > limit
    members = (packed & LOW).astype(np.int64)
    pairs = _all_pairs(members, starts[:-1][shared], lengths[shared], sizes, threshold)
    if not crowded.any():
        return pairs
    long = lengths[crowded].astype(np.int64)
    crowding.buckets += len(long)
    crowding.largest = max(crowding.largest, int(long.max()))
    crowded_pairs, made = _some_pairs(keys, band, members, starts[:-1][crowded], long)
    crowding.left_out += int((long * (long - 1) // 2).sum()) - made
    left, right = crowded_pairs >> HALF, crowded_pairs & LOW
    smaller = np.minimum(sizes[left.astype(np.int64)], sizes[right.astype(np.int64)])
    larger = np.maximum(sizes[left.astype(np.int64)], sizes[right.astype(np.int64)])
    return np.concatenate([pairs, crowded_pairs[smaller / larger >= threshold]])


def _limit(lengths: np.ndarray, largest: int, most: int) -> int:
    """The size up to which all pairs of a bucket are made: together at most `most` pairs."""
    counts = np.bincount(lengths[lengths <= largest], minlength=largest + 1)
    each = np.arange(largest + 1)
    total = np.cumsum(counts * (each * (each - 1) // 2))
    return max(1, int(np.searchsorted(total, most, side="right")) - 1)


@numba.njit(cache=True, nogil=True)
def _all_pairs(
    members: np.ndarray, starts: np.ndarray, lengths: np.ndarray, sizes: np.ndarray,
    threshold: float,
) -> np.ndarray:  # fmt: skip
    total = 0
    for length in lengths:
        total += length * (length - 1) // 2
    pairs = np.empty(total, dtype=np.uint64)
    count = 0
    for bucket in range(len(starts)):
        stop = starts[bucket] + lengths[bucket]
        for first in range(starts[bucket], stop):
            left = members[first]
            for second in range(first + 1, stop):
                right = members[second]
                smaller, larger = min(sizes[left], sizes[right]), max(sizes[left], sizes[right])
                if smaller / larger >= threshold:
                    pairs[count] = np.uint64(left) << HALF | np.uint64(right)
                    count += 1
    return pairs[:count].copy()


def _some_pairs(
    keys: np.ndarray, band: int, members: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, int]:
    """Each text of a crowded bucket with its first, and with its neighbours; how many pairs."""
    bucket = np.repeat(np.arange(len(starts)), lengths)
    inside = np.arange(len(bucket)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    texts = members[np.repeat(starts, lengths) + inside]
    hubs = np.repeat(members[starts], lengths)
    following = [keys[(band + step) % len(keys)][texts] for step in (2, 1)]
    order = np.lexsort((texts, *following, bucket))
    pairs = [_packed(hubs, texts)[texts != hubs]]
    for step in range(1, NEIGHBOURS + 1):
        one, other = order[:-step], order[step:]
        same = bucket[one] == bucket[other]
        pairs.append(_packed(texts[one[same]], texts[other[same]]))
    unique = np.unique(np.concatenate(pairs))
    return unique, len(unique)


def _packed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    left, right = np.minimum(one, other), np.maximum(one, other)
    return left.astype(np.uint64) << HALF | right.astype(np.uint64)


@numba.njit(cache=True, nogil=True)
def connected(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """For each of `count` nodes the smallest node that edges left-right connect it with."""
    parents = np.arange(count)
    for edge in range(len(left)):
        one, other = left[edge], right[edge]
        while parents[one] != one:
            parents[one] = parents[parents[one]]
            one = parents[one]
        while parents[other] != other:
            parents[other] = parents[parents[other]]
            other = parents[other]
        # The smaller one stays a root, so every root is the smallest of its tree.
        if one < other:
            parents[other] = one
        else:
            parents[one] = other
    for node in range(count):
        parents[node] = parents[parents[node]]
    return parents
