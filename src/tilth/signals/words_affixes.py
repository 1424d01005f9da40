"""Where marks are cut off a chunk of text, and which chunks are exceptions or web addresses.

The compiled rules behind `tilth.signals.words`, which says in which order they are asked. Positions
are bytes of a buffer with the flags of `words_characters` for each byte.
"""

from __future__ import annotations

import numba
import numpy as np

from tilth.signals.kernels import GOLDEN, SEED, mixed
from tilth.signals.words_characters import (
    ALPHABETIC,
    BEFORE_STOP,
    CONTINUED,
    CURRENCY,
    DIGIT,
    HOST,
    LETTER,
    LOWER,
    PREFIX,
    QUOTE,
    SUFFIX,
    SYMBOL,
    UPPER,
)

# For functions that only other compiled ones call: the callers' compiled code holds them, so they
# need neither a file of their own nor a way in from Python, which would take half as long again.
inner = numba.njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

# The exceptions as one array: two bit filters (of all keys, of first words), keys, values. A value
# holds how many words there are, whether the rules alone would cut the string otherwise, and the
# bytes of each word.
SLOTS = 4096
FILTER_WORDS = 1024
FIRSTS, KEYS, VALUES = FILTER_WORDS, 2 * FILTER_WORDS, 2 * FILTER_WORDS + SLOTS
REJOIN = 0x80
LONGEST = 24
UNIT = np.uint64(0xD6E8FEB86659FD93)
LONGEST_UNIT = 8


@numba.njit(cache=True, nogil=True)
def bytes_hash(text: np.ndarray, at: int, stop: int) -> np.uint64:
    """A hash of bytes, eight at a time; never 0."""
    value = SEED ^ np.uint64(stop - at)
    place, end = np.uint64(at), np.uint64(stop)
    eight = np.uint64(8)
    while place < end:
        word = np.uint64(0)
        for byte in range(8):
            shift = np.uint64(8 * byte)
            word |= np.uint64(text[place + np.uint64(byte)]) << shift
        if end - place < eight:
            word &= (np.uint64(1) << (eight * (end - place))) - np.uint64(1)
        value = (value ^ word) * GOLDEN
        value ^= value >> np.uint64(29)
        place += eight
    return mixed(value)


@inner
def filtered(table: np.ndarray, first: int, key: np.uint64) -> bool:
    """Whether a key may be in the bit filter that begins at `first`."""
    word = table[np.uint64(first) + ((key >> np.uint64(6)) & np.uint64(FILTER_WORDS - 1))]
    return (word >> (key & np.uint64(63))) & np.uint64(1) != np.uint64(0)


@inner
def exception_of(table: np.ndarray, key: np.uint64) -> np.uint64:
    """The value of a key, 0 where it is none."""
    if not filtered(table, np.int64(0), key):
        return np.uint64(0)
    last = np.uint64(SLOTS - 1)
    slot = (key >> np.uint64(20)) & last
    while table[np.uint64(KEYS) + slot] != 0:
        if table[np.uint64(KEYS) + slot] == key:
            return table[np.uint64(VALUES) + slot]
        slot = (slot + np.uint64(1)) & last
    return np.uint64(0)


@inner
def exception_at(text: np.ndarray, at: int, stop: int, table: np.ndarray) -> np.uint64:
    # Longer strings are never hashed, so that stripping marks from a long chunk stays linear.
    if stop <= at or stop - at > LONGEST:
        return np.uint64(0)
    return exception_of(table, bytes_hash(text, at, stop))


@inner
def character_end(flags: np.ndarray, at: int, stop: int) -> int:
    at += 1
    while at < stop and flags[at] & CONTINUED:
        at += 1
    return at


@inner
def character_start(flags: np.ndarray, stop: int, first: int) -> int:
    """Where the character begins that ends before `stop`."""
    stop -= 1
    while stop > first and flags[stop] & CONTINUED:
        stop -= 1
    return stop


@inner
def is_ellipsis(text: np.ndarray, at: int) -> bool:
    return text[at] == 0xE2 and text[at + 1] == 0x80 and text[at + 2] == 0xA6


@inner
def prefix_end(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> int:
    """Where the mark at the start ends; `at` where there is none."""
    if text[at] == 46:
        end = at + 1
        while end < stop and text[end] == 46:
            end += 1
        return end if end > at + 1 else at
    if flags[at] & PREFIX:
        if text[at] == 43 and at + 1 < stop and flags[at + 1] & DIGIT:
            return at
        return character_end(flags, at, stop)
    if stop - at >= 2 and text[at + 1] == 36 and (text[at] == 65 or text[at] == 67):
        return at + 2
    if stop - at >= 3 and text[at] == 85 and text[at + 1] == 83 and text[at + 2] == 36:
        return at + 3
    return at


@inner
def suffix_start(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int, table: np.ndarray, digits: bool
) -> int:
    """Where the mark, the possessive or the unit at the end begins; `stop` where there is none.

    `digits`: whether there may be any, since only behind one a unit is looked for.
    """
    if stop <= at:
        return stop
    last = character_start(flags, stop, at)
    kind = flags[last]
    if kind & SUFFIX:
        # Of two ellipses at the end both are cut off, while at the start it is one at a time.
        two = last - 3 >= at and is_ellipsis(text, last) and is_ellipsis(text, last - 3)
        return last - 3 if two else last
    before = flags[last - 1] if last > at else np.uint32(0)
    if text[last] == 46:
        start = last
        while start > at and text[start - 1] == 46:
            start -= 1
        if start < last or before & BEFORE_STOP:
            return start
        if before & UPPER and last - 1 > at:
            other = character_start(flags, last, at)
            degree = other >= at + 2 and text[other - 2] == 0xC2 and text[other - 1] == 0xB0
            scale = text[other] == 67 or text[other] == 70 or text[other] == 75
            if other > at and (flags[other - 1] & UPPER or (degree and scale)):
                return last
        return stop
    if (text[last] == 115 or text[last] == 83) and last > at:
        quote = character_start(flags, last, at)
        if text[quote] == 39 or (
            text[quote] == 0xE2 and text[quote + 1] == 0x80 and text[quote + 2] == 0x99
        ):
            return quote
    if not digits:
        return stop
    if before & DIGIT and (text[last] == 43 or kind & CURRENCY):
        return last
    start = stop
    while start > at and stop - start <= LONGEST_UNIT and not flags[start - 1] & DIGIT:
        start -= 1
    unit = at < start < stop and stop - start <= LONGEST_UNIT
    if unit and exception_of(table, bytes_hash(text, start, stop) ^ UNIT):
        return start
    return stop


@inner
def infix_end(text: np.ndarray, flags: np.ndarray, at: int, first: int, stop: int) -> int:
    """Where the mark inside [first, stop) that begins at `at` ends; `at` where there is none."""
    code, kind = text[at], flags[at]
    if code == 46 and at + 1 < stop and text[at + 1] == 46:
        end = at + 2
        while end < stop and text[end] == 46:
            end += 1
        return end
    end = character_end(flags, at, stop)
    if kind & SYMBOL or is_ellipsis(text, at):
        return end
    if at == first or end == stop:
        return at
    before, after = flags[at - 1], flags[end]
    if code == 46:
        inside = before & (LOWER | QUOTE) != 0 and after & (UPPER | QUOTE) != 0
    elif code == 44:
        inside = before & after & ALPHABETIC != 0
    elif code == 43 or code == 42 or code == 94:
        inside = before & DIGIT != 0 and (after & DIGIT != 0 or text[end] == 45)
    elif code == 58 or code == 60 or code == 62 or code == 61 or code == 47:
        inside = before & (ALPHABETIC | DIGIT) != 0 and after & ALPHABETIC != 0
    else:
        if code == 45 and before & DIGIT and (after & DIGIT or text[end] == 45):
            return end
        if not before & (ALPHABETIC | DIGIT):
            return at
        # Up to three hyphens or two long dashes are one mark.
        most = 3 if code == 45 else (2 if code == 0xE2 and text[at + 2] == 0x94 else 1)
        count = 1
        while count < most and end < stop and text[end] == code:
            if code != 45 and text[end + 2] != 0x94:
                break
            end += 1 if code == 45 else 3
            count += 1
        inside = end < stop and flags[end] & ALPHABETIC != 0
    return end if inside else at


@inner
def host_at(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> bool:
    """Whether a host name, perhaps with port and path, fills the rest of the chunk."""
    label, lower, dots = at, True, 0
    while at < stop:
        if text[at] == 46:
            if at == label or not flags[label] & HOST or not flags[at - 1] & HOST:
                return False
            label, lower = at + 1, True
            dots += 1
        elif flags[at] & HOST:
            lower = lower and flags[at] & LOWER != 0
        elif text[at] == 45 or text[at] == 95:
            lower = False
        else:
            break
        at += 1
    if dots == 0 or not lower or at - label < 2:
        return False
    if at < stop and text[at] == 58:
        digits = at + 1
        while digits < stop and flags[digits] & DIGIT:
            digits += 1
        if not 2 <= digits - at - 1 <= 5:
            return False
        at = digits
    return at == stop or text[at] == 47 or text[at] == 63 or text[at] == 35


@inner
def is_address(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> bool:
    """Whether a chunk is a web or mail address; linear, since a host ends before "@" and ":"."""
    if host_at(text, flags, at, stop):
        return True
    in_scheme = True
    for place in range(at, stop - 1):
        code = text[place]
        if code == 64:
            if place > at and host_at(text, flags, place + 1, stop):
                return True
        elif in_scheme and code == 58:
            slashes = text[place + 1] == 47 and text[place + 2] == 47
            if place >= at + 2 and slashes and host_at(text, flags, place + 3, stop):
                return True
        named = code == 43 or code == 45 or code == 46 or code == 95
        in_scheme = in_scheme and (named or flags[place] & (LETTER | DIGIT) != 0)
    return False
