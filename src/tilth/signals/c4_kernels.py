"""C4's decision about each line of a text, and the numbers of the text that is left.

From Raffel et al. 2020, "Exploring the limits of transfer learning", section 2.2, in the reading of
the public filters: line by line in the order of the questions below.
"""

from __future__ import annotations

import numpy as np

from tilth.signals.gopher_kernels import SHORT_LINE
from tilth.signals.words import ENDING, GAP, KIND, MARKS
from tilth.signals.words_affixes import bytes_hash, inner
from tilth.signals.words_characters import ANCHOR, CONTINUED, DIGIT, LINE_MARK, SPACE

LONGEST_WORD = 1000
LEAST_WORDS = 3
LOREM_IPSUM, JAVASCRIPT, BRACE, POLICY = 1, 2, 4, 8
# Columns of a row of counts.
KEPT, SENTENCES, LOREM, BRACES, CHARACTERS, TOKENS, MARKED, SHORT = 0, 1, 2, 3, 4, 5, 6, 7


def _phrase(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


_LOREM_IPSUM, _JAVASCRIPT = _phrase("lorem ipsum"), _phrase("javascript")
_PRIVACY, _TERMS = _phrase("privacy policy"), _phrase("terms of use")
_COOKIE_POLICY, _COOKIES = _phrase("cookie policy"), _phrase("cookies")
_USE, _USES, _USE_OF = _phrase("use "), _phrase("uses "), _phrase("use of ")
_EDIT, _NEEDED = _phrase("edit]"), _phrase("citation needed]")


@inner
def says(text: np.ndarray, at: int, first: int, stop: int, phrase: np.ndarray) -> bool:
    """Whether the phrase, written in lower case, stands at a place, in any case of letters."""
    if at < first or at + len(phrase) > stop:
        return False
    for place in range(len(phrase)):
        code = text[at + place]
        if 65 <= code <= 90:
            code += 32
        if code != phrase[place]:
            return False
    return True


@inner
def phrases_in(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> int:
    """Which of the phrases and marks stand in a line; each is looked for at a rare letter."""
    found = 0
    for place in range(at, stop):
        if not flags[place] & ANCHOR:
            continue
        code = text[place] | 32
        if code == 123:
            found |= BRACE
        elif code == 112:
            if text[place - 2] == 32 and says(text, place - 7, at, stop, _LOREM_IPSUM):
                found |= LOREM_IPSUM
        elif code == 106:
            if says(text, place, at, stop, _JAVASCRIPT):
                found |= JAVASCRIPT
        elif code == 118:
            if says(text, place - 3, at, stop, _PRIVACY):
                found |= POLICY
        elif code == 102:
            if says(text, place - 7, at, stop, _TERMS):
                found |= POLICY
        elif says(text, place - 3, at, stop, _COOKIE_POLICY):
            found |= POLICY
        elif says(text, place - 3, at, stop, _COOKIES):
            used = says(text, place - 7, at, stop, _USE) or says(text, place - 8, at, stop, _USES)
            if used or says(text, place - 10, at, stop, _USE_OF):
                found |= POLICY
    return found


@inner
def stands(text: np.ndarray, at: int, stop: int, phrase: np.ndarray) -> bool:
    """Whether the phrase stands at a place letter by letter."""
    if at + len(phrase) > stop:
        return False
    same = True
    for place in range(len(phrase)):
        same = same and text[at + place] == phrase[place]
    return same


@inner
def citation_end(text: np.ndarray, flags: np.ndarray, at: int, stop: int) -> int:
    """Where a citation mark such as [12] or [edit] ends; `at` where there is none."""
    end = at + 1
    while end < stop and flags[end] & DIGIT:
        end += 1
    if end < stop and text[end] == 93:
        return end + 1
    if stands(text, at + 1, stop, _EDIT):
        return at + 1 + len(_EDIT)
    if stands(text, at + 1, stop, _NEEDED):
        return at + 1 + len(_NEEDED)
    return at


@inner
def without_citations(text: np.ndarray, flags: np.ndarray, at: int, stop: int, to: int) -> int:
    """Copy a line to behind the text without its citations; where the copy ends, 0 without any."""
    end, some = to, False
    while at < stop:
        if text[at] == 91:
            behind = citation_end(text, flags, at, stop)
            if behind > at:
                at, some = behind, True
                continue
        text[end], flags[end] = text[at], flags[at]
        end += 1
        at += 1
    return end if some else 0


@inner
def sentences(tokens: np.ndarray, first: int, count: int, simple: bool) -> int:
    """How many sentences tokens make: one begins at each word after an end mark."""
    starts = np.int64(count > first)
    ended = False
    for token in range(first, count):
        kind = tokens[token, KIND]
        if simple:
            starts += ended
            ended = kind & ENDING != 0
            continue
        if ended and ((kind & GAP and token > first) or not kind & (MARKS | ENDING)):
            starts += 1
            ended = False
        ended = ended or kind & ENDING != 0
    return starts


@inner
def keep_line(
    text: np.ndarray, flags: np.ndarray, at: int, stop: int, chunks: int, longest: int,
    tokens: np.ndarray, first: int, count: int, simple: bool,
    keys: np.ndarray, sizes: np.ndarray, row: np.ndarray,
) -> None:  # fmt: skip
    """Decide about one line and count it if it is kept.

    The line is given without citations and without white space at its ends, as far as that was
    there before they were taken out; `chunks` and `longest` (characters of the longest chunk) are
    those of the line with them. Its tokens are those from `first` to `count`. Kept lines are hashed
    to `keys` and `sizes`.
    """
    if longest > LONGEST_WORD or stop <= at:
        return
    last = text[stop - 1]
    if last != 46 and last != 63 and last != 33 and last != 34 and last != 39:
        return
    if stop - at >= 3 and last == 46 and text[stop - 2] == 46 and text[stop - 3] == 46:
        return
    if chunks < LEAST_WORDS:
        return
    said = phrases_in(text, flags, at, stop)
    # Each question has a column of its own: a page is dropped by the condition, not here.
    row[LOREM] += said & LOREM_IPSUM != 0
    if said & JAVASCRIPT:
        return
    row[BRACES] += said & BRACE != 0
    if said & POLICY:
        return
    row[SENTENCES] += sentences(tokens, first, count, simple)
    row[TOKENS] += count - first
    kept = np.int64(row[KEPT])
    # The text that is left has no white space at its start.
    while kept == 0 and at < stop and flags[at] & SPACE:
        at += 1
    characters = 0
    for place in range(at, stop):
        characters += flags[place] & CONTINUED == 0
    keys[kept], sizes[kept] = bytes_hash(text, at, stop), characters
    row[KEPT] += 1
    row[CHARACTERS] += characters
    row[MARKED] += flags[stop - 1] & LINE_MARK != 0
    row[SHORT] += characters <= SHORT_LINE
