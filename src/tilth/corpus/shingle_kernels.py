"""Words, shingles and MinHash over the bytes of an Arrow text column, compiled.

What near-duplicates compare:

- A *word* is a maximal run of letters, marks and numbers (Unicode categories L, M and N) that
  begins with a letter or a number, in lower case. Lower case is taken code point by code point,
  and only where it is one code point again. Nothing else is evened out: a letter with a combining
  mark is not the same as the composed letter.
- In scripts that are written without blanks (`UNSPACED`: Thai, Lao, Myanmar, Khmer, kana, Han and
  the like) each letter is a word, with the marks that follow it.
- A *shingle* is a run of so many words; a text is the set of its shingles. Words, shingles and
  whole texts are compared by hashes of 64 bits or more; equal hashes are taken for equal.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numba
import numpy as np
import pyarrow as pa

# First and last code points of scripts whose words are not parted by blanks.
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x312F),  # marks of repetition, Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),  # more Bopomofo and Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xA9E0, 0xA9FF),  # more Myanmar
    (0xAA60, 0xAADF),  # more Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0xFF66, 0xFF9F),  # narrow Katakana
    (0x1AFF0, 0x1B16F),  # old kana
    (0x20000, 0x3347F),  # Han
)
OTHER, JOINED, MARK, ALONE = 0, 1, 2, 3
KIND_SHIFT = 24
CODE_MASK = (1 << KIND_SHIFT) - 1
# Above this code point there are only tags, variation selectors and private use.
TABLE_SIZE = 0x33480

# The two multipliers are the odd constants of splitmix64 and the golden ratio in 64 bits.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)
SEED = np.uint64(0x243F6A8885A308D3)
LARGEST = np.uint32(0xFFFFFFFF)


@functools.cache
def character_table() -> np.ndarray:
    """Kind and lower case of each code point below `TABLE_SIZE`, by this Python's Unicode."""
    # Whole strings to arrays: every process that compares texts makes this table.
    codes = np.arange(min(TABLE_SIZE, sys.maxunicode), dtype="<u4")
    letters = codes.tobytes().decode("utf-32-le", "surrogatepass")
    major = np.frombuffer("".join(map(unicodedata.category, letters)).encode("ascii"), "S1")[::2]
    lower = "".join(_lowered(letters[at : at + 256]) for at in range(0, len(letters), 256))
    folded = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kinds = np.select([major == b"M", (major == b"L") | (major == b"N")], [MARK, JOINED], OTHER)
    for first, last in UNSPACED:
        here = slice(first, last + 1)
        kinds[here][major[here] == b"L"] = ALONE
    return read_only((kinds << KIND_SHIFT | folded).astype(np.uint32))


def _lowered(letters: str) -> str:
    """Each letter in lower case where that is one letter again, else as it is."""
    lower = letters.lower()
    if len(lower) == len(letters):
        return lower
    return "".join(two if len(two := one.lower()) == 1 else one for one in letters)


def read_only(array: np.ndarray) -> np.ndarray:
    """The array, read-only: a kernel compiles once for that and once more for writable ones."""
    array.flags.writeable = False
    return array


def text_buffers(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, bytes) of texts: text i is `bytes[offsets[i]:offsets[i + 1]]`; both read-only."""
    column = texts.cast(pa.large_string())
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return read_only(np.zeros(len(column) + 1, np.int64)), read_only(np.zeros(0, np.uint8))
    starts = np.frombuffer(offsets, dtype=np.int64)[column.offset :][: len(column) + 1]
    values = np.frombuffer(data, dtype=np.uint8) if data else np.zeros(0, dtype=np.uint8)
    return read_only(starts), read_only(values)


@numba.njit(cache=True, nogil=True, inline="always")
def _mixed(value: np.uint64) -> np.uint64:
    """A hash of 64 bits whose bits depend on all bits of the value; never 0."""
    value = (value ^ (value >> np.uint64(30))) * MIX
    value = (value ^ (value >> np.uint64(27))) * GOLDEN
    return (value ^ (value >> np.uint64(31))) | np.uint64(1)


@numba.njit(cache=True, nogil=True, inline="always")
def _decoded(data: np.ndarray, at: int, stop: int) -> tuple[int, int]:
    """(code point, its bytes) where the first byte is not ASCII; a stray byte is 0."""
    first = np.int64(data[at])
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    if first < 0xC0 or at + size > stop:
        return 0, 1
    code = int(first & (0xFF >> (size + 1)))
    for place in range(at + 1, at + size):
        code = code << 6 | int(np.int64(data[place]) & 0x3F)
    return code, int(size)


@numba.njit(cache=True, nogil=True)
def _hash_words(
    data: np.ndarray, at: int, stop: int, table: np.ndarray, words: np.ndarray
) -> int:  # fmt: skip
    """Hashes of the words of one text; how many. Letter by letter as in FNV-1a, then mixed."""
    count = 0
    inside = alone = False
    word = SEED
    while at < stop:
        byte = np.int64(data[at])
        if byte < 0x80:
            entry = table[byte]
            at += 1
        else:
            code, size = _decoded(data, at, stop)
            entry = table[code] if code < len(table) else np.uint32(0)
            at += size
        kind = entry >> np.uint32(KIND_SHIFT)
        if inside and (kind in (OTHER, ALONE) or (alone and kind == JOINED)):
            words[count] = _mixed(word)
            count += 1
            inside, word = False, SEED
        if inside or kind & JOINED:
            word = (word ^ np.uint64(entry & np.uint32(CODE_MASK))) * GOLDEN
            if not inside:
                inside, alone = True, kind == ALONE
    if inside:
        words[count] = _mixed(word)
        count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _sequence(words: np.ndarray, prints: np.ndarray) -> None:
    """128 bits that depend on every word and on their order."""
    first, second = SEED, GOLDEN
    for word in words:
        first = (first ^ word) * GOLDEN
        second = (second + word) * MIX
        second = second << np.uint64(29) | second >> np.uint64(35)
    prints[0] = _mixed(first + np.uint64(len(words)))
    prints[1] = _mixed(second)


@numba.njit(cache=True, nogil=True)
def _room_for(count: int) -> int:
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@numba.njit(cache=True, nogil=True)
def _distinct_shingles(
    words: np.ndarray, shingle: int, seen: np.ndarray, shingles: np.ndarray
) -> int:
    """The different shingles of a text in order of appearance; how many. `seen` is room."""
    grams = len(words) - shingle + 1
    if grams <= 0:
        return 0
    size = _room_for(grams)
    seen[:size] = 0
    last = np.uint64(size - 1)
    count = 0
    for start in range(grams):
        value = SEED
        for place in range(start, start + shingle):
            value = value * GOLDEN + words[place]
        value = _mixed(value)
        slot = (value >> np.uint64(8)) & last
        while seen[slot] != 0 and seen[slot] != value:
            slot = (slot + np.uint64(1)) & last
        if seen[slot] == 0:
            seen[slot] = value
            shingles[count] = value
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _smallest(
    shingles: np.ndarray, factors: np.ndarray, terms: np.ndarray, lanes: np.ndarray
) -> None:
    """`lanes[j]` = the smallest `factors[j] * x + terms[j]` modulo 2^32 over all shingles."""
    lanes[:] = LARGEST
    count = len(shingles)
    for start in range(0, count, 4):
        # Four at a time, the last ones repeated: so the lanes are loaded less often.
        first = np.uint32(shingles[start] >> np.uint64(32))
        second = np.uint32(shingles[min(start + 1, count - 1)] >> np.uint64(32))
        third = np.uint32(shingles[min(start + 2, count - 1)] >> np.uint64(32))
        fourth = np.uint32(shingles[min(start + 3, count - 1)] >> np.uint64(32))
        for j in range(len(lanes)):
            factor, term = factors[j], terms[j]
            one, two = np.uint32(factor * first + term), np.uint32(factor * second + term)
            three, four = np.uint32(factor * third + term), np.uint32(factor * fourth + term)
            lanes[j] = min(lanes[j], one, two, three, four)


@numba.njit(cache=True, nogil=True)
def _longest(offsets: np.ndarray) -> int:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@numba.njit(cache=True, nogil=True)
def sketch(
    offsets: np.ndarray, data: np.ndarray, table: np.ndarray, shingle: int,
    factors: np.ndarray, terms: np.ndarray, bands: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """For each text: 128 bits of its words, how many shingles it has, a key for each band.

    Keys have 32 bits: texts that meet by chance are told apart when they are compared.
    """
    rows = len(offsets) - 1
    prints = np.zeros((rows, 2), dtype=np.uint64)
    sizes = np.zeros(rows, dtype=np.int64)
    keys = np.zeros((rows, bands), dtype=np.uint32)
    # Words are parted by at least one byte, or have three. Pages that are not used are never made.
    most = _longest(offsets) // 2 + 1
    words, shingles = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.uint64)
    seen = np.empty(_room_for(most), dtype=np.uint64)
    lanes = np.empty(len(factors), dtype=np.uint32)
    width = len(factors) // bands
    for row in range(rows):
        count = _hash_words(data, offsets[row], offsets[row + 1], table, words)
        _sequence(words[:count], prints[row])
        sizes[row] = _distinct_shingles(words[:count], shingle, seen, shingles)
        if sizes[row] == 0:
            continue
        _smallest(shingles[: sizes[row]], factors, terms, lanes)
        for band in range(bands):
            key = SEED
            for lane in range(band * width, (band + 1) * width):
                key = _mixed(key * GOLDEN + np.uint64(lanes[lane]))
            keys[row, band] = key >> np.uint64(32)
    return prints, sizes, keys


@numba.njit(cache=True, nogil=True)
def shingle_sets(
    offsets: np.ndarray, data: np.ndarray, table: np.ndarray, shingle: int
) -> tuple[np.ndarray, np.ndarray]:
    """(starts, shingles): text i has `shingles[starts[i]:starts[i + 1]]`, each once."""
    rows = len(offsets) - 1
    starts = np.zeros(rows + 1, dtype=np.int64)
    most = _longest(offsets) // 2 + 1
    words, found = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.uint64)
    seen = np.empty(_room_for(most), dtype=np.uint64)
    shingles = np.empty((offsets[rows] - offsets[0]) // 2 + rows + 1, dtype=np.uint64)
    for row in range(rows):
        count = _hash_words(data, offsets[row], offsets[row + 1], table, words)
        size = _distinct_shingles(words[:count], shingle, seen, found)
        shingles[starts[row] : starts[row] + size] = found[:size]
        starts[row + 1] = starts[row] + size
    return starts, shingles[: starts[rows]].copy()


@numba.njit(cache=True, nogil=True)
def similarities(
    starts: np.ndarray, shingles: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Jaccard of sets `left[i]` and `right[i]`; sets as `shingle_sets` gives them.

    Pairs with the same left side should stand together: its table is made once for them.
    """
    result = np.zeros(len(left), dtype=np.float64)
    largest = 0
    for place in left:
        largest = max(largest, starts[place + 1] - starts[place])
    entries = np.empty(_room_for(largest), dtype=np.uint64)
    last, before = np.uint64(0), -1
    for pair in range(len(left)):
        first, second = left[pair], right[pair]
        size = starts[first + 1] - starts[first]
        if first != before:
            room = _room_for(size)
            last, before = np.uint64(room - 1), first
            entries[:room] = 0
            for place in range(starts[first], starts[first + 1]):
                slot = (shingles[place] >> np.uint64(8)) & last
                while entries[slot] != 0:
                    slot = (slot + np.uint64(1)) & last
                entries[slot] = shingles[place]
        common = 0
        for place in range(starts[second], starts[second + 1]):
            slot = (shingles[place] >> np.uint64(8)) & last
            while entries[slot] != 0 and entries[slot] != shingles[place]:
                slot = (slot + np.uint64(1)) & last
            common += entries[slot] != 0
        union = size + starts[second + 1] - starts[second] - common
        result[pair] = common / union if union else 0.0
    return result
