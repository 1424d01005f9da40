"""Compiled loops of the model runner, for float32 on a processor.

A step that decodes one token a sequence does little work in each of many small operations, and
most of its time is the calling of them. Here a layer has four calls between its products instead of
some forty, and where few sequences decode, one with them (`layer`): a product of few rows reads its
matrix once from one end to the other, and takes as long as the memory does. The results are those
of the same formulas in torch up to rounding; `model_runner`, `compiled` and `products` are the
callers, and go through torch on other devices and in other precisions.

Rows are tokens. `places`: the slot of each row in the cache. Sequences that decode have one row
each, first in the row, and read their cache by blocks: `blocks[starts[i]:]` are those of row i.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath=True)
def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float, found: np.ndarray) -> None:
    """x / sqrt(mean(x squared) + epsilon) * weight, row by row, into `found` (rows, width)."""
    rows, width = x.shape
    for row in range(rows):
        total = np.float32(0)
        for i in range(width):
            total += x[row, i] * x[row, i]
        factor = np.float32(1 / math.sqrt(total / width + epsilon))
        for i in range(width):
            found[row, i] = x[row, i] * factor * weight[i]


@numba.njit(cache=True, nogil=True, fastmath=True)
def turn_and_keep(
    mixed: np.ndarray, heads: int, key_heads: int, cos: np.ndarray, sin: np.ndarray,
    places: np.ndarray, keys: np.ndarray, values: np.ndarray,
) -> None:  # fmt: skip
    """Turn queries and keys by their positions, in place, and put keys and values into a cache.

    mixed (rows, heads + 2 key heads, head): queries, keys, values. cos and sin (rows, head / 2).
    keys and values (slots, key heads, head).
    """
    half = mixed.shape[2] // 2
    for row in range(len(mixed)):
        for head in range(heads + key_heads):
            for i in range(half):
                a, b = mixed[row, head, i], mixed[row, head, half + i]
                mixed[row, head, i] = a * cos[row, i] - b * sin[row, i]
                mixed[row, head, half + i] = b * cos[row, i] + a * sin[row, i]
        slot = places[row]
        for head in range(key_heads):
            for i in range(2 * half):
                keys[slot, head, i] = mixed[row, heads + head, i]
                values[slot, head, i] = mixed[row, heads + key_heads + head, i]


@numba.njit(cache=True, nogil=True, fastmath=True)
def powers(x: np.ndarray, shift: float) -> None:
    """exp(x - shift) in place, within 2e-7 of it, relatively; for differences of at most 88.

    2 to the n and a polynomial (Cephes), since a call of the C library's function for each number
    keeps the loop from being done eight numbers at a time.
    """
    bits = x.view(np.int32)
    for i in range(len(x)):
        # Below -87 it is nothing in float32.
        y = max(x[i] - shift, np.float32(-87))
        whole = np.floor(y * np.float32(1.44269504) + np.float32(0.5))
        y -= whole * np.float32(0.693359375)
        y += whole * np.float32(2.12194440e-4)
        near = np.float32(1.9875691500e-4)
        near = near * y + np.float32(1.3981999507e-3)
        near = near * y + np.float32(8.3334519073e-3)
        near = near * y + np.float32(4.1665795894e-2)
        near = near * y + np.float32(1.6666665459e-1)
        near = near * y + np.float32(5.0000001201e-1)
        x[i] = near * y * y + y + np.float32(1)
        bits[i] += np.int32(whole) << 23


@numba.njit(cache=True, nogil=True, fastmath=True)
def exponentials(x: np.ndarray) -> None:
    """exp(x - max(x)) in place."""
    highest = x[0]
    for i in range(len(x)):
        highest = max(highest, x[i])
    powers(x, highest)


@numba.njit(cache=True, nogil=True, fastmath=True)
def attend_last(
    mixed: np.ndarray, heads: int, keys: np.ndarray, values: np.ndarray,
    blocks: np.ndarray, starts: np.ndarray, lengths: np.ndarray, block: int,
    scale: float, window: int, found: np.ndarray,
) -> None:  # fmt: skip
    """Attention of the last token of each sequence to all that its cache holds, into `found`.

    The first rows of mixed (rows, heads..., head) are the queries, one a sequence; lengths: keys of
    each. window: how many positions a token sees, 0 for all. found (sequences, heads x head).
    """
    size, shared = keys.shape[2], heads // keys.shape[1]
    scores = np.empty((heads, lengths.max()), np.float32)
    # All heads of a key before the next key, in the order in which they lie in memory: reading the
    # cache is what takes the time.
    for row in range(len(lengths)):
        length = lengths[row]
        first = max(0, length - window) if window else 0
        for at in range(first, length):
            slot = blocks[starts[row] + at // block] * block + at % block
            for head in range(heads):
                total = np.float32(0)
                for i in range(size):
                    total += mixed[row, head, i] * keys[slot, head // shared, i]
                scores[head, at] = total * np.float32(scale)
        for head in range(heads):
            shares = scores[head, first:length]
            exponentials(shares)
            total = np.float32(0)
            for at in range(len(shares)):
                total += shares[at]
            for at in range(len(shares)):
                shares[at] /= total
        made = found[row]
        made[:] = 0
        for at in range(first, length):
            slot = blocks[starts[row] + at // block] * block + at % block
            for head in range(heads):
                share, begin = scores[head, at], head * size
                for i in range(size):
                    made[begin + i] += share * values[slot, head // shared, i]


@numba.njit(cache=True, nogil=True, fastmath=True)
def product(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, residual: np.ndarray, found: np.ndarray
) -> None:
    """found (rows, out) = residual + x (rows, in) weight' (out, in) + bias. `bias` and `residual`
    may be empty, and `found` may be `residual`."""
    rows, size = x.shape
    for out in range(len(weight)):
        line = weight[out]
        plus = bias[out] if len(bias) else np.float32(0)
        # Two at a time: more rows share what was read, and their sums still fit into registers.
        for row in range(0, rows - 1, 2):
            first, second = x[row], x[row + 1]
            one = two = np.float32(0)
            for i in range(size):
                number = line[i]
                one += first[i] * number
                two += second[i] * number
            if len(residual):
                one += residual[row, out]
                two += residual[row + 1, out]
            found[row, out] = one + plus
            found[row + 1, out] = two + plus
        if rows % 2:
            last = x[rows - 1]
            one = np.float32(0)
            for i in range(size):
                one += last[i] * line[i]
            if len(residual):
                one += residual[rows - 1, out]
            found[rows - 1, out] = one + plus


@numba.njit(cache=True, nogil=True, fastmath=True)
def gate(inner: np.ndarray, found: np.ndarray) -> None:
    """silu of the first half of each row of inner times its second half, into `found`."""
    rows, size = found.shape
    for row in range(rows):
        made = found[row]
        for i in range(size):
            # Above 80 the 1 below is nothing against it, and it is still a number.
            made[i] = min(-inner[row, i], np.float32(80))
        powers(made, np.float32(0))
        for i in range(size):
            made[i] = inner[row, size + i] * inner[row, i] / (np.float32(1) + made[i])


@numba.njit(cache=True, nogil=True, fastmath=True)
def layer(
    x: np.ndarray, before_attention: np.ndarray, qkv: np.ndarray, bias: np.ndarray,
    query_norm: np.ndarray, key_norm: np.ndarray, out: np.ndarray, before_inner: np.ndarray,
    up: np.ndarray, down: np.ndarray, scale: float, window: int, epsilon: float, heads: int,
    key_heads: int, cos: np.ndarray, sin: np.ndarray, places: np.ndarray, keys: np.ndarray,
    values: np.ndarray, blocks: np.ndarray, starts: np.ndarray, lengths: np.ndarray, block: int,
) -> None:  # fmt: skip
    """A whole layer, in place, over x (rows, width): the last token of as many sequences.

    Norms before both blocks, a gated inner layer with silu, a bias of qkv only (or empty); norms of
    heads may be empty. Everything else as in `attend_last` and `turn_and_keep`.
    """
    rows, width = x.shape
    size, none = keys.shape[2], np.empty((0, 0), np.float32)
    normed = np.empty((rows, width), np.float32)
    rms_norm(x, before_attention, epsilon, normed)
    mixed = np.empty((rows, heads + 2 * key_heads, size), np.float32)
    product(normed, qkv, bias, none, mixed.reshape(rows, -1))
    if len(query_norm):
        for row in range(rows):
            rms_norm(mixed[row, :heads], query_norm, epsilon, mixed[row, :heads])
            both = heads + key_heads
            rms_norm(mixed[row, heads:both], key_norm, epsilon, mixed[row, heads:both])
    turn_and_keep(mixed, heads, key_heads, cos, sin, places, keys, values)
    seen = np.empty((rows, heads * size), np.float32)
    attend_last(
        mixed, heads, keys, values, blocks, starts, lengths, block, scale, window, seen
    )  # fmt: skip
    empty = np.empty(0, np.float32)
    product(seen, out, empty, x, x)
    rms_norm(x, before_inner, epsilon, normed)
    inner = np.empty((rows, len(up)), np.float32)
    product(normed, up, empty, none, inner)
    gated = np.empty((rows, len(up) // 2), np.float32)
    gate(inner, gated)
    product(gated, down, empty, x, x)
