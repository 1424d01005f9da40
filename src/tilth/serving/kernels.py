"""Compiled loops of the model runner, for float32 on a processor.

A step that decodes one token a sequence does little work in each of many small operations, and
most of its time is the calling of them. Here a layer has four calls between its products instead of
some forty, and where sequences only decode, one with them (`layer`). A product reads its matrix
from one end to the other, and fetches the next part of it while it multiplies: up to 8 rows take
little longer than the memory does. The results are those of the same formulas in torch up to
rounding; `model_runner`, `compiled` and `products` are the callers, and go through torch on other
devices and in other precisions.

Rows are tokens. `places`: the slot of each row in the cache. Sequences that decode have one row
each, first in the row, and read their cache by blocks: `blocks[starts[i]:]` are those of row i.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

# A matrix (out, in) lies in panels (ceil(out / PANEL), in, PANEL), zeros behind its end. A tile of
# the result, TALL rows of PANEL numbers, stays in 12 registers of LANES numbers while it is summed.
LANES, PANEL, TALL = 8, 24, 4
# Rows that take a panel in turn before the next one: as many as stay in the processor's cache.
TOGETHER = 48


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


def _tile(tall: int) -> Callable[..., None]:
    """found[to : to + tall, begin : begin + PANEL] += x[first : first + tall] times panel `number`,
    for compiled loops.

    Written as the instructions that are meant: of a plain loop the compiler keeps the sums in
    memory. Beside each column that is multiplied, `step` numbers of the panels are fetched from
    place `ahead` on, so that the next tiles find them in the processor's cache.
    """

    def instructions(context: Any, code: Any, signature: Any, given: Any) -> Any:
        x, panels, found = (context.make_array(kind)(context, code, value)
                            for kind, value in zip(signature.args[:3], given[:3]))  # fmt: skip
        first, number, to, begin, ahead, step = given[3:]
        whole, short, byte = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
        lanes = ir.VectorType(ir.FloatType(), LANES)
        nothing = ir.Constant(lanes, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(short, LANES), [0] * LANES)
        multiply_add = cgutils.get_or_insert_function(
            code.module, ir.FunctionType(lanes, [lanes] * 3), f"llvm.fmuladd.v{LANES}f32"
        )
        fetch = cgutils.get_or_insert_function(
            code.module, ir.FunctionType(ir.VoidType(), [byte, short, short, short]),
            "llvm.prefetch.p0",
        )  # fmt: skip

        def at(pointer: Any, *places: Any) -> Any:
            for place in places:
                pointer = code.gep(pointer, [place])
            return pointer

        def row(array: Any, number: Any, more: int) -> Any:
            wide = cgutils.unpack_tuple(code, array.shape)[1]
            return at(array.data, code.mul(code.add(number, whole(more)), wide))

        def vectors(pointer: Any) -> list[Any]:
            return [code.bitcast(at(pointer, whole(lane)), lanes.as_pointer())
                    for lane in range(0, PANEL, LANES)]  # fmt: skip

        size = cgutils.unpack_tuple(code, x.shape)[1]
        panel = at(panels.data, code.mul(code.mul(number, size), whole(PANEL)))
        sums: list[tuple[Any, list[tuple[Any, Any]]]] = []
        for more in range(tall):
            places = vectors(at(row(found, to, more), begin))
            totals = [(place, cgutils.alloca_once(code, lanes)) for place in places]
            for place, total in totals:
                code.store(code.load(place, align=4), total)
            sums.append((row(x, first, more), totals))
        with cgutils.for_range(code, size) as column:
            coming = at(panels.data, ahead, code.mul(column.index, step))
            # To be read, and to stay near.
            code.call(fetch, [code.bitcast(coming, byte), short(0), short(2), short(1)])
            weights = vectors(at(panel, code.mul(column.index, whole(PANEL))))
            weights = [code.load(place, align=4) for place in weights]
            for numbers, totals in sums:
                value = code.load(at(numbers, column.index))
                alone = code.insert_element(nothing, value, short(0))
                same = code.shuffle_vector(alone, nothing, everywhere)
                for weight, (_, total) in zip(weights, totals):
                    code.store(code.call(multiply_add, [same, weight, code.load(total)]), total)
        for _, totals in sums:
            for place, total in totals:
                code.store(code.load(total), place, align=4)
        return context.get_dummy_value()

    @intrinsic
    def tile(typing, x, panels, found, first, number, to, begin, ahead, step):  # type: ignore[no-untyped-def]
        kinds = (x, panels, found, first, number, to, begin, ahead, step)
        # Only arrays in one piece; numba says that there is no such function for others.
        whole = all(kind.layout == "C" and kind.dtype == numba.float32 for kind in kinds[:3])
        return (numba.void(*kinds), instructions) if whole else None

    return tile


_four, _three, _two, _one = _tile(4), _tile(3), _tile(2), _tile(1)


@numba.njit(cache=True, nogil=True, fastmath=True)
def product(x: np.ndarray, panels: np.ndarray, found: np.ndarray) -> None:
    """found (rows, out) += x (rows, in) weight', of a weight (out, in) that lies in panels.

    What a row gets does not depend on the others, to the last bit.
    """
    rows, size = x.shape
    outputs = found.shape[1]
    edge = np.empty((TALL, PANEL), np.float32)
    for top in range(0, rows, TOGETHER):
        bottom = min(rows, top + TOGETHER)
        # The tiles of a panel fetch the next one between them; what few rows leave, the processor
        # foresees by itself.
        step = min(8, PANEL // ((bottom - top + TALL - 1) // TALL))
        for number in range(len(panels)):
            begin, ahead = number * PANEL, (number + 1) * PANEL * size
            wide = min(PANEL, outputs - begin)
            for first in range(top, bottom, TALL):
                tall = min(TALL, bottom - first)
                made, to, left = found, first, begin
                if wide < PANEL:
                    made, to, left = edge, 0, 0
                    for row in range(tall):
                        for i in range(wide):
                            edge[row, i] = found[first + row, begin + i]
                if tall == 4:
                    _four(x, panels, made, first, number, to, left, ahead, step)
                elif tall == 3:
                    _three(x, panels, made, first, number, to, left, ahead, step)
                elif tall == 2:
                    _two(x, panels, made, first, number, to, left, ahead, step)
                else:
                    _one(x, panels, made, first, number, to, left, ahead, step)
                if wide < PANEL:
                    for row in range(tall):
                        for i in range(wide):
                            found[first + row, begin + i] = edge[row, i]
                ahead += step * size


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
    heads may be empty. qkv, out, up and down lie in panels; everything else as in `attend_last` and
    `turn_and_keep`.
    """
    rows, width = x.shape
    size = keys.shape[2]
    normed = np.empty((rows, width), np.float32)
    rms_norm(x, before_attention, epsilon, normed)
    mixed = np.zeros((rows, heads + 2 * key_heads, size), np.float32)
    flat = mixed.reshape(rows, -1)
    if len(bias):
        flat[:] = bias
    product(normed, qkv, flat)
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
    product(seen, out, x)
    rms_norm(x, before_inner, epsilon, normed)
    inner = np.zeros((rows, 2 * down.shape[1]), np.float32)
    product(normed, up, inner)
    gated = np.empty((rows, down.shape[1]), np.float32)
    gate(inner, gated)
    product(gated, down, x)
