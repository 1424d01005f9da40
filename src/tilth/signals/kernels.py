"""Passes over the bytes of an Arrow text column, without a Python object for each document.

What signals count, the same everywhere:

- A *word* is a maximal run of letters, marks and numbers (Unicode categories L, M and N) that
  begins with a letter or a number. So "don't" is two words, and a run of Chinese characters is one.
- A *line* ends with "\\n"; an empty last line is none. Its text is taken without white space at
  both ends (U+0009-U+000D, U+0020, U+0085 and the category Z).
- A *paragraph* is a maximal run of lines that are not blank.

Bytes that are not valid UTF-8 (Arrow does not hold them) count as other characters.
"""

from __future__ import annotations

import functools
import sys
import unicodedata

import numba
import numpy as np
import pyarrow as pa

LETTER, MARK, NUMBER, UPPER, SPACE, CONTROL, BULLET = 1, 2, 4, 8, 16, 32, 64
WORD_START = LETTER | NUMBER
WORD = LETTER | MARK | NUMBER

# Above this code point there are only tags, variation selectors and private use.
TABLE_SIZE = 0x33480
BULLETS = "\u2022\u2023\u2043\u204c\u204d\u2219\u25aa\u25ab\u25a0\u25a1\u25cb\u25cf\u25e6\u25fe"

# The two multipliers are the odd constants of splitmix64 and the golden ratio in 64 bits.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX = np.uint64(0xBF58476D1CE4E5B9)
SEED = np.uint64(0x243F6A8885A308D3)


@functools.cache
def character_classes() -> np.ndarray:
    """Flags of each code point below `TABLE_SIZE`, by this Python's Unicode version."""
    by_category = {"Lu": LETTER | UPPER, "Lt": LETTER | UPPER, "Cc": CONTROL}
    by_major = {"L": LETTER, "M": MARK, "N": NUMBER, "Z": SPACE}
    flags = {}
    table = np.zeros(TABLE_SIZE, dtype=np.uint8)
    for code in range(min(TABLE_SIZE, sys.maxunicode)):
        category = unicodedata.category(chr(code))
        if category not in flags:
            flags[category] = by_category.get(category, by_major.get(category[0], 0))
        table[code] = flags[category]
    for code in (9, 10, 11, 12, 13, 0x85):
        table[code] = SPACE
    for bullet in BULLETS:
        table[ord(bullet)] |= BULLET
    return table


def text_buffers(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """(offsets, bytes) of the column `text`: document i is `bytes[offsets[i]:offsets[i + 1]]`."""
    column = batch.column("text")
    if column.type != pa.large_string():
        column = column.cast(pa.large_string())
    if column.null_count:
        column = column.fill_null("")
    _, offsets, data = column.buffers()
    if offsets is None or len(column) == 0:
        return np.zeros(len(column) + 1, dtype=np.int64), np.zeros(0, dtype=np.uint8)
    starts = np.frombuffer(offsets, dtype=np.int64)[column.offset :][: len(column) + 1]
    values = np.frombuffer(data, dtype=np.uint8) if data else np.zeros(0, dtype=np.uint8)
    return starts, values


@numba.njit(cache=True, nogil=True, inline="always")
def decode(data: np.ndarray, at: int, stop: int) -> tuple[int, int]:
    """(code point, its bytes) at a position; a stray byte is code point -1."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first >= 0xC0 and at + 1 < stop:
        second = np.int64(data[at + 1]) & 0x3F
        if first < 0xE0:
            return (first & 0x1F) << 6 | second, 2
        if at + 2 < stop:
            third = np.int64(data[at + 2]) & 0x3F
            if first < 0xF0:
                return (first & 0x0F) << 12 | second << 6 | third, 3
            if at + 3 < stop:
                fourth = np.int64(data[at + 3]) & 0x3F
                return (first & 0x07) << 18 | second << 12 | third << 6 | fourth, 4
    return -1, 1


@numba.njit(cache=True, nogil=True, inline="always")
def class_of(code: int, table: np.ndarray) -> int:
    return np.int64(table[code]) if 0 <= code < len(table) else 0


@numba.njit(cache=True, nogil=True, inline="always")
def mixed(value: np.uint64) -> np.uint64:
    """A hash of 64 bits whose low bits depend on all bits of the value; never 0."""
    value = (value ^ (value >> np.uint64(30))) * MIX
    value = (value ^ (value >> np.uint64(27))) * GOLDEN
    return (value ^ (value >> np.uint64(31))) | np.uint64(1)


LENGTH_COUNTS = ("characters", "words", "word_characters", "lines", "longest_line")


@numba.njit(cache=True, nogil=True)
def count_lengths(offsets: np.ndarray, data: np.ndarray, table: np.ndarray) -> np.ndarray:
    """One row of `LENGTH_COUNTS` for each document."""
    counts = np.zeros((len(offsets) - 1, 5), dtype=np.int64)
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        characters = words = word_characters = lines = line = longest = 0
        inside = False
        while at < stop:
            code, size = decode(data, at, stop)
            at += size
            characters += 1
            if code == 10:
                lines += 1
                longest = max(longest, line)
                line = 0
                inside = False
                continue
            line += 1
            kind = class_of(code, table)
            if inside:
                inside = kind & WORD != 0
            elif kind & WORD_START:
                inside = True
                words += 1
            word_characters += inside
        counts[row, 0], counts[row, 1], counts[row, 2] = characters, words, word_characters
        counts[row, 3], counts[row, 4] = lines + (line > 0), max(longest, line)
    return counts


SYMBOL_COUNTS = (
    "visible", "alphabetic", "letters", "upper", "numbers", "damaged",
    "words", "hashes", "ellipses", "lines", "bullet_lines", "ellipsis_lines",
)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def count_symbols(offsets: np.ndarray, data: np.ndarray, table: np.ndarray) -> np.ndarray:
    """One row of `SYMBOL_COUNTS` for each document; lines that are blank are not counted."""
    counts = np.zeros((len(offsets) - 1, 12), dtype=np.int64)
    for row in range(len(offsets) - 1):
        count = counts[row]
        at, stop = offsets[row], offsets[row + 1]
        inside = ends_in_ellipsis = False
        blank = True
        dots = 0
        while at < stop:
            code, size = decode(data, at, stop)
            at += size
            if code == 10:
                count[11] += ends_in_ellipsis
                blank, inside, ends_in_ellipsis, dots = True, False, False, 0
                continue
            kind = class_of(code, table)
            dots = dots + 1 if code == 46 else 0
            if inside:
                inside = kind & WORD != 0
            elif kind & WORD_START:
                inside = True
                count[6] += 1
            if kind & SPACE:
                continue
            if blank:
                blank = False
                count[9] += 1
                listed = (code == 42 or code == 45) and at < stop and data[at] in (9, 32)
                count[10] += listed or kind & BULLET != 0
            count[0] += 1
            count[1] += kind & (LETTER | MARK) != 0
            count[2] += kind & LETTER != 0
            count[3] += kind & UPPER != 0
            count[4] += kind & NUMBER != 0
            count[5] += kind & CONTROL != 0 or code == 0xFFFD or code < 0
            count[7] += code == 35
            count[8] += code == 0x2026 or dots == 3
            ends_in_ellipsis = code == 0x2026 or dots >= 3
        count[11] += ends_in_ellipsis
    return counts


@numba.njit(cache=True, nogil=True)
def _hash_units(
    data: np.ndarray, at: int, stop: int, table: np.ndarray, words: np.ndarray, ends: np.ndarray,
    lines: np.ndarray, line_sizes: np.ndarray, paragraphs: np.ndarray, paragraph_sizes: np.ndarray,
) -> tuple[int, int, int]:  # fmt: skip
    """Hashes of the words, of the lines that are not blank and of the paragraphs; how many.

    `ends` gets the sums of the words' bytes: `ends[i + 1] - ends[i]` is word i. Hashes are made
    byte by byte as in FNV-1a, and mixed at the end; equal hashes are taken for equal texts.
    """
    n_words = n_lines = n_paragraphs = 0
    in_word = in_paragraph = False
    first = last = word_start = -1
    word = line = line_so_far = SEED
    ends[0] = 0
    while at <= stop:
        code, size, kind = 10, 1, SPACE
        if at < stop:
            code, size = decode(data, at, stop)
            kind = class_of(code, table)
        if in_word:
            if kind & WORD == 0:
                words[n_words] = mixed(word)
                ends[n_words + 1] = ends[n_words] + at - word_start
                n_words += 1
                in_word = False
        elif kind & WORD_START:
            in_word, word, word_start = True, SEED, at
        if code != 10:
            if first < 0 and kind & SPACE == 0:
                first, line_so_far = at, SEED
            for place in range(at, at + size):
                byte = np.uint64(data[place])
                word = (word ^ byte) * GOLDEN
                line_so_far = (line_so_far ^ byte) * GOLDEN
            if kind & SPACE == 0:
                # White space at the end is hashed only when something visible follows it.
                line, last = line_so_far, at + size
        elif first < 0:
            in_paragraph = False
        else:
            lines[n_lines], line_sizes[n_lines] = mixed(line), last - first
            if not in_paragraph:
                paragraphs[n_paragraphs], paragraph_sizes[n_paragraphs] = SEED, 0
                n_paragraphs += 1
                in_paragraph = True
            paragraph = n_paragraphs - 1
            paragraphs[paragraph] = mixed(paragraphs[paragraph] * GOLDEN + lines[n_lines])
            paragraph_sizes[paragraph] += last - first
            n_lines += 1
            first = -1
        at += size
    return n_words, n_lines, n_paragraphs


@numba.njit(cache=True, nogil=True)
def _count_equal(hashes: np.ndarray, earlier: np.ndarray, total: np.ndarray) -> None:
    """For each hash, how many equal ones come before it, and how many there are in all."""
    size = 4
    while size < 2 * len(hashes):
        size *= 2
    last = np.uint64(size - 1)
    # A key and its count lie side by side, since a look at memory is what this costs. A key is
    # never 0.
    entries = np.zeros((size, 2), dtype=np.uint64)
    for number in range(len(hashes)):
        slot = (hashes[number] >> np.uint64(16)) & last
        while entries[slot, 0] != 0 and entries[slot, 0] != hashes[number]:
            slot = (slot + np.uint64(1)) & last
        entries[slot, 0] = hashes[number]
        earlier[number] = entries[slot, 1]
        entries[slot, 1] += np.uint64(1)
        total[number] = slot
    for number in range(len(hashes)):
        total[number] = entries[total[number], 1]


@numba.njit(cache=True, nogil=True)
def _repeated(hashes: np.ndarray, sizes: np.ndarray) -> tuple[int, int]:
    """How many items are equal to an earlier one, and their bytes."""
    earlier, total = np.empty(len(hashes), dtype=np.int64), np.empty(len(hashes), dtype=np.int64)
    _count_equal(hashes, earlier, total)
    number = size = 0
    for item in range(len(hashes)):
        if earlier[item]:
            number += 1
            size += sizes[item]
    return number, size


@numba.njit(cache=True, nogil=True)
def _repeated_grams(words: np.ndarray, ends: np.ndarray, covered: np.ndarray) -> None:
    """Bytes of words in the top 2- to 4-gram, then in repeated 5- to 10-grams.

    An n-gram can only be repeated where both (n-1)-grams in it are, so each length looks at the
    places that the length before left over.
    """
    places = np.arange(max(len(words) - 1, 0))
    grams = words[: len(places)].copy()
    earlier, total = np.empty(len(places), dtype=np.int64), np.empty(len(places), dtype=np.int64)
    for n in range(2, 11):
        for number in range(len(places)):
            grams[number] = mixed(grams[number] * GOLDEN + words[places[number] + n - 1])
        _count_equal(grams, earlier, total)
        if n <= 4:
            covered[n - 2] = _top_bytes(places, grams, total, ends, n)
        else:
            covered[n - 2] = _later_bytes(places, earlier, ends, n)
        left = 0
        for number in range(len(places) - 1):
            place = places[number]
            if places[number + 1] == place + 1 and total[number] > 1 and total[number + 1] > 1:
                places[left], grams[left] = place, grams[number]
                left += 1
        if left == 0:
            return
        places, grams = places[:left], grams[:left]


@numba.njit(cache=True, nogil=True)
def _top_bytes(
    places: np.ndarray, grams: np.ndarray, total: np.ndarray, ends: np.ndarray, n: int
) -> int:
    """Bytes of words inside the most frequent n-gram; of equally frequent ones the longest."""
    best, most, longest = np.uint64(0), 1, 0
    for number in range(len(places)):
        count = total[number]
        if count > 1 and count >= most:
            size = ends[places[number] + n] - ends[places[number]]
            if count > most or size > longest:
                best, most, longest = grams[number], count, size
    covered = reached = 0
    for number in range(len(places)):
        if grams[number] == best:
            stop = places[number] + n
            covered += ends[stop] - ends[max(places[number], reached)]
            reached = stop
    return covered


@numba.njit(cache=True, nogil=True)
def _later_bytes(places: np.ndarray, earlier: np.ndarray, ends: np.ndarray, n: int) -> int:
    """Bytes of words inside n-grams that occurred before; each byte once."""
    covered = reached = 0
    for number in range(len(places)):
        if earlier[number]:
            stop = places[number] + n
            covered += ends[stop] - ends[max(places[number], reached)]
            reached = stop
    return covered


REPETITION_COUNTS = (
    "lines", "line_bytes", "repeated_lines", "repeated_line_bytes",
    "paragraphs", "repeated_paragraphs", "repeated_paragraph_bytes", "word_bytes",
    "top_2gram", "top_3gram", "top_4gram",
    "duplicate_5gram", "duplicate_6gram", "duplicate_7gram",
    "duplicate_8gram", "duplicate_9gram", "duplicate_10gram",
)  # fmt: skip


@numba.njit(cache=True, nogil=True)
def count_repetition(offsets: np.ndarray, data: np.ndarray, table: np.ndarray) -> np.ndarray:
    """One row of `REPETITION_COUNTS` for each document; n-grams of words, in bytes of words."""
    counts = np.zeros((len(offsets) - 1, 17), dtype=np.int64)
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    # Words and lines are parted by at least one byte. Pages that are not used are never made.
    most = longest // 2 + 2
    words, ends = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int64)
    lines, line_sizes = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int64)
    blocks, block_sizes = np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.int64)
    for row in range(len(offsets) - 1):
        count = counts[row]
        n_words, n_lines, n_blocks = _hash_units(
            data, offsets[row], offsets[row + 1], table,
            words, ends, lines, line_sizes, blocks, block_sizes,
        )  # fmt: skip
        count[0], count[1] = n_lines, line_sizes[:n_lines].sum()
        count[2], count[3] = _repeated(lines[:n_lines], line_sizes[:n_lines])
        count[4] = n_blocks
        count[5], count[6] = _repeated(blocks[:n_blocks], block_sizes[:n_blocks])
        count[7] = ends[n_words]
        _repeated_grams(words[:n_words], ends[: n_words + 1], count[8:])
    return counts
