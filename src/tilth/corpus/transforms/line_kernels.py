"""Lines of many texts as hashes, compiled: what stands in several documents is found by them.

A line ends with "\\n" and is compared without ASCII white space at both ends; with `fold_digits`
every run of digits counts as one. Blank lines have hash 0. Equal hashes are taken for equal lines.
"""

from __future__ import annotations

import numba
import numpy as np

# The two multipliers are the odd constants of splitmix64 and the golden ratio in 64 bits.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)


@numba.njit(cache=True, nogil=True, inline="always")
def _mixed(value: np.uint64) -> np.uint64:
    """A hash of 64 bits whose bits depend on all bits of the value; never 0."""
    value = (value ^ (value >> np.uint64(30))) * MIX
    value = (value ^ (value >> np.uint64(27))) * GOLDEN
    return (value ^ (value >> np.uint64(31))) | np.uint64(1)


@numba.njit(cache=True, nogil=True)
def hash_lines(
    offsets: np.ndarray, data: np.ndarray, keys: np.ndarray, fold_digits: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(first, hashes, starts, texts): text i has the lines `first[i]:first[i + 1]`.

    `hashes` depend on the line and on its text's key, `starts` are offsets in `data`; `texts` are
    hashes of each whole text with its key.
    """
    rows = len(offsets) - 1
    count = rows
    for at in range(offsets[0], offsets[rows]):
        count += data[at] == 10
    first = np.zeros(rows + 1, dtype=np.int64)
    hashes, starts = np.zeros(count, dtype=np.uint64), np.zeros(count, dtype=np.int64)
    texts = np.zeros(rows, dtype=np.uint64)
    n = 0
    for row in range(rows):
        at, stop = offsets[row], offsets[row + 1]
        text = keys[row]
        while at < stop:
            starts[n] = at
            value = so_far = keys[row]
            blank, digit = True, False
            while at < stop and data[at] != 10:
                byte = np.uint64(data[at])
                text = (text ^ byte) * GOLDEN
                at += 1
                space = byte == 32 or 9 <= byte <= 13
                if blank and space:
                    continue
                is_digit = bool(fold_digits and 48 <= byte <= 57)
                if is_digit and digit:
                    continue
                digit = is_digit
                so_far = (so_far ^ (np.uint64(48) if is_digit else byte)) * GOLDEN
                if not space:
                    # White space at the end counts only when something visible follows it.
                    value, blank = so_far, False
            if not blank:
                hashes[n] = _mixed(value)
            at += 1
            text = (text ^ np.uint64(10)) * GOLDEN
            n += 1
        first[row + 1] = n
        texts[row] = _mixed(text + np.uint64(stop - offsets[row]))
    return first, hashes[:n].copy(), starts[:n].copy(), texts
