"""Words as filters for English web text count them: chunks between white space, cut by affixes.

The order is spaCy's (its documentation, "How spaCy's tokenizer works"): an exception is taken as it
stands; else marks are cut off at the start and the end, one each at a time, and the rest is looked
up again; what is left is cut at marks between letters or digits, unless it is a web address. Last,
neighbours that together are an exception are put together. Punctuation marks are words too.

The rules are written anew here, with the exceptions of `tilth.signals.english`; the aim is the same
decision of a rule for nearly every document, not the same cut of every string. For English; words
of languages without blanks come out as long runs.

Text lies in a buffer that may be written to and is readable for `PADDING` bytes behind the text,
with the flags of `words_characters` for each byte.
"""

from __future__ import annotations

import numba
import numpy as np

from tilth.signals.kernels import decode
from tilth.signals.words_affixes import (
    FIRSTS,
    LONGEST,
    REJOIN,
    bytes_hash,
    exception_at,
    exception_of,
    filtered,
    infix_end,
    inner,
    is_address,
    prefix_end,
    suffix_start,
)
from tilth.signals.words_characters import (
    AFFIXES,
    CONTINUED,
    DIGIT,
    INNER,
    LETTER,
    LOWER,
    PUNCTUATION,
    SENTENCE_MARK,
    SPACE,
    SUFFIX,
    VISIBLE,
)

PADDING = 16
# Zeros of one type: a plain 0 as an argument would compile the function once more.
ZERO, ANY, ALL = np.int64(0), np.uint64(0), np.uint64(0xFFFFFFFF)

# Columns of a token, and its kinds.
START, STOP, SIZE, KIND = 0, 1, 2, 3
LETTERED, WORD, MARKS, ENDING, GAP = 1, 2, 4, 8, 16


@inner
def add_token(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int,
    tokens: np.ndarray, hashes: np.ndarray, count: int,
) -> int:  # fmt: skip
    some, every, size = ANY, ALL, ZERO
    for place in range(at, stop):
        some |= flags[place]
        every &= flags[place]
        size += flags[place] & CONTINUED == 0
    hashes[count] = bytes_hash(text, at, stop)
    return set_token(at, stop, size, some, every, tokens, count)


@inner
def set_token(
    at: int, stop: int, size: int, some: np.uint64, every: np.uint64, tokens: np.ndarray, count: int
) -> int:
    kind = LETTERED if some & LETTER else ZERO
    kind |= WORD if some & VISIBLE else ZERO
    kind |= MARKS if every & PUNCTUATION else ZERO
    kind |= ENDING if size == 1 and some & SENTENCE_MARK else ZERO
    tokens[count, START], tokens[count, STOP] = at, stop
    tokens[count, SIZE], tokens[count, KIND] = size, kind
    return count + 1


@inner
def add_exception(
    text: np.ndarray, flags: np.ndarray, at: int, value: np.uint64,
    tokens: np.ndarray, hashes: np.ndarray, count: int,
) -> int:  # fmt: skip
    for part in range(np.int64(value & np.uint64(0x7F))):
        size = np.int64((value >> np.uint64(8 * part + 8)) & np.uint64(0xFF))
        count = add_token(text, flags, at, at + size, tokens, hashes, count)
        at += size
    return count


@inner
def cut_inside(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int,
    tokens: np.ndarray, hashes: np.ndarray, count: int,
) -> int:  # fmt: skip
    """Tokens of a chunk without affixes that is no exception."""
    some, every, size = ANY, ALL, ZERO
    for place in range(at, stop):
        some |= flags[place]
        every &= flags[place]
        size += flags[place] & CONTINUED == 0
    if not some & INNER:
        hashes[count] = bytes_hash(text, at, stop)
        return set_token(at, stop, size, some, every, tokens, count)
    begin, place, checked = at, at, False
    while place < stop:
        end = place
        if flags[place] & INNER and not flags[place] & CONTINUED:
            end = infix_end(text, flags, place, at, stop)
        if end == place or place == at:
            place = max(end, place + 1)
            continue
        if not checked:
            if is_address(text, flags, at, stop):
                break
            checked = True
        if place > begin:
            count = add_token(text, flags, begin, place, tokens, hashes, count)
        count = add_token(text, flags, place, end, tokens, hashes, count)
        begin = place = end
    if begin < stop:
        count = add_token(text, flags, begin, stop, tokens, hashes, count)
    return count


@inner
def rejoin(
    text: np.ndarray, flags: np.ndarray, table: np.ndarray,
    tokens: np.ndarray, hashes: np.ndarray, first: int, count: int,
) -> int:  # fmt: skip
    """Put neighbours together that are an exception as one string, the longest first.

    What is kept is written from `first` on, never beyond what was read: linear for any chunk.
    """
    place = kept = first
    while place < count:
        best = place
        value = np.uint64(0)
        if place < count - 1 and filtered(table, np.int64(FIRSTS), hashes[place]):
            at = np.int64(tokens[place, START])
            other = place + 1
            while other < count and tokens[other, STOP] - at <= LONGEST:
                found = exception_at(text, at, np.int64(tokens[other, STOP]), table)
                if found & np.uint64(REJOIN):
                    best, value = other, found
                other += 1
        parts = np.int64(value & np.uint64(0x7F))
        if best > place and parts <= best - place + 1:
            at = np.int64(tokens[place, START])
            kept = add_exception(text, flags, at, value, tokens, hashes, kept)
            place = best + 1
            continue
        if kept < place:
            for column in range(4):
                tokens[kept, column] = tokens[place, column]
            hashes[kept] = hashes[place]
        kept += 1
        place += 1
    return kept


@inner
def cut_chunk(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int, table: np.ndarray,
    digits: bool, tokens: np.ndarray, hashes: np.ndarray, count: int, tails: np.ndarray,
) -> int:  # fmt: skip
    """Tokens of a chunk that is no exception; `tails` is room for as many ends as it has bytes."""
    first, end, suffixes = count, stop, ZERO
    value = np.uint64(0)
    while at < end:
        cut = prefix_end(text, flags, at, end)
        if cut > at:
            value = exception_at(text, cut, end, table)
            if value:
                count = add_token(text, flags, at, cut, tokens, hashes, count)
                at = cut
                break
        left = suffix_start(text, flags, cut, end, table, digits)
        if left < end:
            value = exception_at(text, at, left, table)
            if value:
                tails[suffixes] = left
                suffixes += 1
                end = left
                break
        if cut == at and left == end:
            break
        both = cut > at and left < end
        if cut > at:
            count = add_token(text, flags, at, cut, tokens, hashes, count)
            at = cut
        if left < end:
            tails[suffixes] = left
            suffixes += 1
            end = left
        # What is left after one cut was looked up above.
        if both:
            value = exception_at(text, at, end, table)
            if value:
                break
    if value:
        count = add_exception(text, flags, at, value, tokens, hashes, count)
    elif at < end:
        count = cut_inside(text, flags, at, end, tokens, hashes, count)
    while suffixes:
        suffixes -= 1
        begin = np.int64(tails[suffixes])
        end = stop if suffixes == 0 else np.int64(tails[suffixes - 1])
        count = add_token(text, flags, begin, end, tokens, hashes, count)
    # Two are the whole chunk, which is no exception.
    if count - first > 2:
        count = rejoin(text, flags, table, tokens, hashes, first, count)
    return count


@inner
def ends_in_mark(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> bool:
    """Whether a chunk whose other characters are no marks ends in one of ASCII to be cut off."""
    last = stop - 1
    if last == at or text[last] >= 0x80:
        return False
    return flags[last] & SUFFIX != 0 or (text[last] == 46 and flags[last - 1] & LOWER != 0)


@numba.njit(cache=True, nogil=True)
def cut_line(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int, table: np.ndarray, simple: bool,
    tokens: np.ndarray, hashes: np.ndarray, count: int, tails: np.ndarray, found: np.ndarray,
) -> int:  # fmt: skip
    """Add the tokens of a line and return how many there are then.

    `found` gets the number of chunks, the characters of the longest, and the flags of any of them.
    Where `simple`, each chunk is one token, and its last character says whether it ends a sentence.
    """
    chunks = longest = ZERO
    everything = ANY
    gap = ZERO
    while at < stop:
        if flags[at] & SPACE:
            start = at
            while at < stop and flags[at] & SPACE:
                at += 1
            gap = GAP if chunks and (at - start > 1 or text[start] != 32) else 0
            continue
        start, some, every, size = at, ANY, ALL, ZERO
        other, common = some, every
        while at < stop and not flags[at] & SPACE:
            other, common = some, every
            some |= flags[at]
            every &= flags[at]
            size += flags[at] & CONTINUED == 0
            at += 1
        first = count
        chunks += 1
        longest = max(longest, size)
        everything |= some
        if simple or at - start > LONGEST:
            value = np.uint64(0)
        else:
            hashes[count] = bytes_hash(text, start, at)
            value = exception_of(table, hashes[count])
        if value:
            count = add_exception(text, flags, start, value, tokens, hashes, count)
        elif simple or not some & AFFIXES:
            if simple or at - start > LONGEST:
                hashes[count] = bytes_hash(text, start, at)
            count = set_token(start, at, size, some, every, tokens, count)
            if simple and flags[at - 1] & SENTENCE_MARK:
                tokens[first, KIND] |= ENDING
        elif (
            not other & AFFIXES
            and ends_in_mark(text, flags, start, at)
            and not exception_at(text, start, at - 1, table)
        ):
            # The short way for most chunks with a mark: a word and one mark behind it.
            hashes[count] = bytes_hash(text, start, at - 1)
            count = set_token(start, at - 1, size - 1, other, common, tokens, count)
            count = add_token(text, flags, at - 1, at, tokens, hashes, count)
        else:
            digits = some & DIGIT != 0
            count = cut_chunk(
                text, flags, start, at, table, digits, tokens, hashes, count, tails
            )  # fmt: skip
        tokens[first, KIND] |= gap
    found[0], found[1], found[2] = chunks, longest, everything
    return count


@numba.njit(cache=True, nogil=True)
def fill(
    data: np.ndarray, at: int, stop: int, table: np.ndarray, text: np.ndarray, flags: np.ndarray
) -> int:
    """Copy a text to the buffer, with the flags of its bytes; how many characters it has."""
    size = stop - at
    characters = place = ZERO
    while place < size:
        byte = data[at + place]
        text[place] = byte
        characters += 1
        if byte < 0x80:
            flags[place] = table[byte]
            place += 1
            continue
        code, length = decode(data, at + place, stop)
        kind = table[code] if 0 <= code < len(table) else np.uint32(VISIBLE)
        flags[place] = kind
        for extra in range(place + 1, place + length):
            text[extra] = data[at + extra]
            flags[extra] = kind | np.uint32(CONTINUED)
        place += length
    for place in range(size, size + PADDING):
        text[place] = flags[place] = 0
    return characters
