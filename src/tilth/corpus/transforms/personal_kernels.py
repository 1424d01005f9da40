"""Where personal data may stand: one pass over the bytes of many texts, compiled.

Most texts have no such place, and those that have one are looked at only around it. A place is an
"@" between letters, a run with many digits, or a run of hexadecimal digits and colons.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

AT, NUMBER, COLONS = 0, 1, 2
# What a run with digits holds besides.
PLUS, DOTS = 1, 2

# Bytes: of names before an "@"; that may stand between the digits of a number.
_LOCAL, _LETTER, _DIGIT, _BETWEEN, _HEX = 1, 2, 4, 8, 16
# How far apart the digits of one number may lie: an IBAN may have eight letters.
_GAP = 10
_LEAST_DIGITS = 7


@functools.cache
def byte_classes() -> np.ndarray:
    """Flags of each byte; read-only."""
    table = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        letter = chr(byte) if byte < 128 else ""
        table[byte] = (
            _LOCAL * (letter.isalnum() or letter in "._%+'-" or byte >= 128)
            | _LETTER * letter.isalnum()
            | _DIGIT * letter.isdigit()
            | _HEX * (letter in "0123456789abcdefABCDEF:." and letter != "")
            # No-break spaces, hyphens and dashes are the last bytes of a longer character.
            | _BETWEEN * (letter.isupper() or (letter != "" and letter in " ()./-+"))
            | _BETWEEN * (byte in (0xC2, 0xA0, 0xE2, 0x80, 0x91, 0x93, 0xAF))
        )
    table.flags.writeable = False
    return table


@numba.njit(cache=True, nogil=True)
def places(
    offsets: np.ndarray, data: np.ndarray, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(rows, kinds, flags, starts, stops) of all places, in order; offsets in `data`."""
    count = len(offsets) - 1
    # No two places are nearer than four bytes, but for runs of "@". Unused pages are never made.
    most = (offsets[count] - offsets[0]) // 2 + count + 1
    rows, kinds = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.uint8)
    flags = np.empty(most, dtype=np.uint8)
    starts, stops = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    n = 0
    for row in range(count):
        begin, stop = offsets[row], offsets[row + 1]
        first: int = -1
        last: int = -1
        hex_first: int = -1
        digits = dots = colons = 0
        seen = np.uint8(0)
        for at in range(begin, stop + 1):
            byte = data[at] if at < stop else np.uint8(10)
            kind = table[byte]
            inside = byte == 64 and begin < at < stop - 1
            if inside and table[data[at - 1]] & _LOCAL and table[data[at + 1]] & _LETTER:
                rows[n], kinds[n], flags[n] = row, AT, 0
                starts[n], stops[n] = at, at + 1
                n += 1
            if kind & _HEX:
                if hex_first < 0:
                    hex_first, colons = at, 0
                colons += byte == 58
            elif hex_first >= 0:
                if colons >= 3 and at - hex_first >= 9:
                    rows[n], kinds[n], flags[n] = row, COLONS, 0
                    starts[n], stops[n] = hex_first, at
                    n += 1
                hex_first = -1
            if kind & _DIGIT:
                if first < 0:
                    first, digits, dots, seen = at, 0, 0, np.uint8(0)
                digits += 1
                last = at
            elif first >= 0:
                if kind & _BETWEEN and at - last < _GAP:
                    dots += byte == 46
                    if byte == 43:
                        seen |= np.uint8(PLUS)
                else:
                    if digits >= _LEAST_DIGITS or (dots >= 3 and digits >= 5):
                        if dots >= 3:
                            seen |= np.uint8(DOTS)
                        rows[n], kinds[n], flags[n] = row, NUMBER, seen
                        starts[n], stops[n] = first, last + 1
                        n += 1
                    first = -1
    return rows[:n].copy(), kinds[:n].copy(), flags[:n].copy(), starts[:n].copy(), stops[:n].copy()
