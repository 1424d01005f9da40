"""The one pass over texts behind `tilth.signals.web_rules`."""

from __future__ import annotations

import numba
import numpy as np

from tilth.signals.c4_kernels import keep_line, without_citations
from tilth.signals.gopher_kernels import (
    count_grams,
    count_marks,
    count_pieces,
    count_words,
    look_at_line,
    repeats,
    room_for,
)
from tilth.signals.words import PADDING, cut_line, fill
from tilth.signals.words_affixes import character_end
from tilth.signals.words_characters import BREAK, CITATION, SPACE

WORD_COUNTS = ("tokens", "words", "word_characters", "lettered", "stop_words")
MARK_COUNTS = ("hashes", "ellipses")
LINE_COUNTS = ("lines", "bullets", "ellipsis_ends")
PIECE_COUNTS = (
    "pieces", "repeated_pieces", "repeated_piece_characters",
    "paragraphs", "repeated_paragraphs", "repeated_paragraph_characters",
)  # fmt: skip
GRAM_COUNTS = tuple(f"gram_{n}" for n in range(2, 11))
C4_COUNTS = (
    "kept", "sentences", "lorem_ipsum", "braces",
    "kept_characters", "kept_tokens", "kept_marked", "kept_short",
)  # fmt: skip
END_COUNTS = ("visible", "marked", "short", "repeated_characters", "feeds")
COUNTS = (
    "characters", *WORD_COUNTS, *MARK_COUNTS, *LINE_COUNTS, *PIECE_COUNTS, *GRAM_COUNTS,
    *C4_COUNTS, *END_COUNTS, "kept_repeated_characters",
)  # fmt: skip
MARKS_AT = 1 + len(WORD_COUNTS)
LINES_AT = MARKS_AT + len(MARK_COUNTS)
PIECES_AT = LINES_AT + len(LINE_COUNTS)
GRAMS_AT = PIECES_AT + len(PIECE_COUNTS)
C4_AT = GRAMS_AT + len(GRAM_COUNTS)
ENDS_AT = C4_AT + len(C4_COUNTS)
WIDTH = len(COUNTS)


@numba.njit(cache=True, nogil=True)
def count_web_rules(
    offsets: np.ndarray, data: np.ndarray, characters: np.ndarray, table: np.ndarray,
    stop_words: np.ndarray, simple: bool,
) -> np.ndarray:  # fmt: skip
    """One row of `COUNTS` for each text."""
    counts = np.zeros((len(offsets) - 1, WIDTH), dtype=np.int64)
    most = np.int64(0)
    for row in range(len(offsets) - 1):
        most = max(most, offsets[row + 1] - offsets[row])
    # A line without its citations is copied behind the text, and its tokens behind the others.
    # Pages that are not used are never made.
    size = 2 * (most + PADDING)
    text, flags = np.empty(size, dtype=np.uint8), np.empty(size, dtype=np.uint32)
    tokens, hashes = np.empty((size, 4), dtype=np.int32), np.empty(size, dtype=np.uint64)
    tails, found = np.empty(most + 1, dtype=np.int32), np.zeros(3, dtype=np.int64)
    ends, places = np.empty(most + 2, dtype=np.int32), np.empty(most + 2, dtype=np.int32)
    keys, ids = np.empty(most + 2, dtype=np.uint64), np.empty(most + 2, dtype=np.int32)
    lines, sizes = np.empty(most + 2, dtype=np.uint64), np.empty(most + 2, dtype=np.int32)
    entries = np.empty((room_for(most + 2), 2), dtype=np.uint64)
    for row in range(len(offsets) - 1):
        count = counts[row]
        size = offsets[row + 1] - offsets[row]
        count[0] = fill(data, offsets[row], offsets[row + 1], characters, text, flags)
        count_pieces(
            text, flags, size, keys, places, lines, sizes, entries,
            count[PIECES_AT:GRAMS_AT], count[ENDS_AT:],
        )  # fmt: skip
        count_marks(text, size, count[MARKS_AT:LINES_AT])
        known = at = np.int64(0)
        while at < size:
            stop = at
            while stop < size and not flags[stop] & BREAK:
                stop += 1
            first = known
            known = cut_line(
                text, flags, at, stop, table, simple, tokens, hashes, first, tails, found
            )  # fmt: skip
            begin, end = at, stop
            while begin < end and flags[begin] & SPACE:
                begin += 1
            while end > begin and flags[end - 1] & SPACE:
                end -= 1
            look_at_line(text, begin, end, count[LINES_AT:PIECES_AT])
            chunks, longest, from_token, to_token = found[0], found[1], first, known
            if found[2] & CITATION:
                copied = without_citations(text, flags, begin, end, size + PADDING)
                if copied:
                    begin, end, from_token = size + PADDING, copied, known
                    to_token = cut_line(
                        text, flags, begin, end, table, simple, tokens, hashes, known, tails, found
                    )  # fmt: skip
            keep_line(
                text, flags, begin, end, chunks, longest, tokens, from_token, to_token, simple,
                lines, sizes, count[C4_AT:ENDS_AT],
            )  # fmt: skip
            at = stop
            if at < size:
                carriage_return = text[at] == 13
                at = character_end(flags, at, size)
                if carriage_return and at < size and text[at] == 10:
                    at += 1
        _, count[WIDTH - 1] = repeats(lines, sizes, count[C4_AT], entries)
        count_words(tokens, hashes, known, stop_words, count[1:MARKS_AT])
        count_grams(tokens, hashes, known, ends, places, keys, ids, entries, count[GRAMS_AT:C4_AT])
    return counts
