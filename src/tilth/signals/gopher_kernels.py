"""Repeated lines, paragraphs and n-grams as Gopher's rules count them, and its marks and lines.

From Rae et al. 2021, "Scaling language models", appendix A1.1, in the reading of the public
filters: characters of the text, n-grams of `tilth.signals.words`. Equal hashes are taken for equal
texts.
"""

from __future__ import annotations

import numpy as np

from tilth.signals.kernels import GOLDEN, SEED, mixed
from tilth.signals.words import KIND, LETTERED, SIZE, WORD
from tilth.signals.words_affixes import bytes_hash, inner, is_ellipsis
from tilth.signals.words_characters import CONTINUED, LINE_MARK, SPACE

SHORT_LINE = 30
USED = np.uint64(1 << 40)


@inner
def room_for(count: int) -> int:
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@inner
def slot_of(key: np.uint64, last: np.uint64, entries: np.ndarray) -> int:
    """Where a key lies, or has its free place; `entries` holds (key, count)."""
    slot = (key >> np.uint64(16)) & last
    while entries[slot, 0] != 0 and entries[slot, 0] != key:
        slot = (slot + np.uint64(1)) & last
    return np.int64(slot)


@inner
def repeats(
    keys: np.ndarray, sizes: np.ndarray, count: int, entries: np.ndarray
) -> tuple[int, int]:
    """How many items are equal to an earlier one, and their characters."""
    size = room_for(count)
    entries[:size] = 0
    number = total = 0
    for item in range(count):
        slot = slot_of(keys[item], np.uint64(size - 1), entries)
        if entries[slot, 0] != 0:
            number += 1
            total += sizes[item]
        entries[slot, 0] = keys[item]
    return number, total


@inner
def count_words(
    tokens: np.ndarray, hashes: np.ndarray, count: int, stop_words: np.ndarray, row: np.ndarray
) -> None:
    """Tokens, words, their characters, tokens with a letter, different stop words."""
    words = characters = lettered = 0
    seen = np.int64(0)
    for token in range(count):
        kind, size = tokens[token, KIND], tokens[token, SIZE]
        if kind & WORD:
            words += 1
            characters += size
        lettered += kind & LETTERED != 0
        if 2 <= size <= 4:
            for number in range(len(stop_words)):
                if hashes[token] == stop_words[number]:
                    seen |= 1 << number
    row[0], row[1], row[2], row[3] = count, words, characters, lettered
    while seen:
        row[4] += seen & 1
        seen >>= 1


@inner
def count_marks(text: np.ndarray, size: int, row: np.ndarray) -> None:
    """Hash signs, and ellipses: one character, or each three full stops of a run."""
    dots = 0
    for place in range(size):
        code = text[place]
        if code == 46:
            dots += 1
            if dots == 3:
                row[1] += 1
                dots = 0
            continue
        dots = 0
        row[0] += code == 35
        if code == 0xE2:
            row[1] += is_ellipsis(text, place)


@inner
def look_at_line(text: np.ndarray, at: int, stop: int, row: np.ndarray) -> None:
    """Count a line, given without white space at its ends: lines, bullets, ellipses at the end."""
    row[0] += 1
    if at < stop:
        row[1] += text[at] == 45 or (
            text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA2
        )
    if stop - at >= 3:
        dots = text[stop - 1] == 46 and text[stop - 2] == 46 and text[stop - 3] == 46
        row[2] += dots or is_ellipsis(text, stop - 3)


@inner
def count_pieces(
    text: np.ndarray, flags: np.ndarray, size: int, keys: np.ndarray, sizes: np.ndarray,
    paragraphs: np.ndarray, paragraph_sizes: np.ndarray, entries: np.ndarray,
    row: np.ndarray, ends: np.ndarray,
) -> None:  # fmt: skip
    """What lies between line feeds: repeated lines and paragraphs to `row`, FineWeb's to `ends`.

    Runs of line feeds part Gopher's lines, so an empty one is counted at the start and at the end.
    FineWeb leaves out lines of white space.
    """
    first, last = np.int64(0), size
    while first < size and flags[first] & SPACE:
        first += 1
    while last > first and flags[last - 1] & SPACE:
        last -= 1
    lines = blocks = marked = short = feeds = visible = np.int64(0)
    all_visible, in_block = True, False
    at = np.int64(0)
    while at <= size:
        stop, characters, blank = at, 0, True
        while stop < size and text[stop] != 10:
            characters += flags[stop] & CONTINUED == 0
            blank = blank and flags[stop] & SPACE != 0
            stop += 1
        feeds += stop < size
        if stop == at:
            in_block = False
            if (at == 0 or at == size) and size:
                keys[lines], sizes[lines] = SEED | np.uint64(1), 0
                lines += 1
                all_visible = False
        else:
            keys[lines], sizes[lines] = bytes_hash(text, at, stop), characters
            begin, end = max(at, first), min(stop, last)
            if begin < end:
                key = keys[lines]
                if begin > at or end < stop:
                    key, characters = bytes_hash(text, begin, end), 0
                    for place in range(begin, end):
                        characters += flags[place] & CONTINUED == 0
                if not in_block:
                    paragraphs[blocks], paragraph_sizes[blocks] = SEED, -1
                    blocks += 1
                    in_block = True
                paragraphs[blocks - 1] = mixed(paragraphs[blocks - 1] * GOLDEN + key)
                paragraph_sizes[blocks - 1] += characters + 1
            if blank:
                all_visible = False
            else:
                visible += 1
                marked += flags[stop - 1] & LINE_MARK != 0
                short += sizes[lines] <= SHORT_LINE
            # A line of white space only is marked, to be left out below.
            keys[lines] = keys[lines] & ~np.uint64(2) | np.uint64(2 if blank else 0)
            lines += 1
        at = stop + 1
    row[0] = lines
    row[1], row[2] = repeats(keys, sizes, lines, entries)
    row[3] = max(blocks, 1)
    row[4], row[5] = repeats(paragraphs, paragraph_sizes, blocks, entries)
    repeated = np.int64(row[2])
    if not all_visible:
        left = np.int64(0)
        for line in range(lines):
            if sizes[line] and keys[line] & np.uint64(2) == 0:
                keys[left], sizes[left] = keys[line], sizes[line]
                left += 1
        _, repeated = repeats(keys, sizes, left, entries)
    ends[0], ends[1], ends[2], ends[3], ends[4] = visible, marked, short, repeated, feeds


@inner
def count_grams(
    tokens: np.ndarray, hashes: np.ndarray, count: int, ends: np.ndarray, places: np.ndarray,
    keys: np.ndarray, ids: np.ndarray, entries: np.ndarray, row: np.ndarray,
) -> None:  # fmt: skip
    """Characters in the top 2- to 4-gram with its blanks, then in repeated 5- to 10-grams.

    An n-gram can only be repeated where both (n-1)-grams in it are, so each length looks at the
    places that the length before left over, and is named by the numbers of these two.
    """
    ends[0] = 0
    for token in range(count):
        ends[token + 1] = ends[token] + tokens[token, SIZE]
        places[token], keys[token] = token, hashes[token]
    left = count
    for n in range(1, 11):
        size = room_for(left)
        entries[:size] = 0
        for item in range(left):
            slot = slot_of(keys[item], np.uint64(size - 1), entries)
            entries[slot, 0] = keys[item]
            entries[slot, 1] += np.uint64(1)
            ids[item] = slot
        if n > 4:
            row[n - 2] = _later(places, ids, left, entries, ends, n)
        elif n > 1 and count >= n:
            row[n - 2] = _top(places, ids, left, entries, ends, n)
        kept = 0
        for item in range(left - 1):
            if places[item + 1] != places[item] + 1:
                continue
            if entries[ids[item], 1] > 1 and entries[ids[item + 1], 1] > 1:
                keys[kept] = mixed(np.uint64(ids[item]) << np.uint64(32) | np.uint64(ids[item + 1]))
                places[kept] = places[item]
                kept += 1
        left = kept


@inner
def _top(
    places: np.ndarray, ids: np.ndarray, count: int, entries: np.ndarray, ends: np.ndarray, n: int
) -> int:
    """Characters of all places of the most frequent n-gram; of equally frequent ones the first."""
    size, most = ends[n], np.uint64(1)
    for item in range(count):
        often = entries[ids[item], 1]
        if often > most:
            most = often
            size = ends[places[item] + n] - ends[places[item]]
    return (size + n - 1) * np.int64(most)


@inner
def _later(
    places: np.ndarray, ids: np.ndarray, count: int, entries: np.ndarray, ends: np.ndarray, n: int
) -> int:
    """Characters of n-grams seen before; behind one, the search goes on after its last word."""
    covered = reached = 0
    for item in range(count):
        place = places[item]
        if place < reached or entries[ids[item], 1] < 2:
            continue
        if entries[ids[item], 1] & USED:
            covered += ends[place + n] - ends[place]
            reached = place + n
        else:
            entries[ids[item], 1] |= USED
    return covered
