"""The passage of a document that answers a query best, with the query's words marked.

The window of at most `width` characters in which the distinct query terms weigh most (the idea of
query-biased summaries: Tombros and Sanderson 1998), then as many matches as possible, then the
first. It begins at a sentence or line if one begins near, else at a word.

When: to show people why a document was found. Not a ranking of passages: for that, index them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tilth.corpus.sentences import sentence_spans
from tilth.lookup import construct
from tilth.retrieval import ANALYZERS

_LINE_START = re.compile(r"\n\s*")
_WORD_START = re.compile(r"\s+(?=\S)")
_WORD_STOP = re.compile(r"(?<=\S)(?=\s)")


def best_passage(
    text: str,
    query: str,
    analyzer: str | Any = "words",
    width: int = 240,
    idf: Mapping[str, float] | None = None,
) -> tuple[int, int, list[tuple[int, int]]]:
    """(start, stop, matches) in characters of the text; matches ascend and do not overlap.

    `idf` gives the weights of terms, 1 for those it does not have. Where no term of the query
    stands in the text, the passage is its beginning and there are no matches.
    """
    if isinstance(analyzer, str):
        analyzer = construct("analyzer", ANALYZERS, analyzer, {})
    wanted = set(analyzer.terms(query))
    weights = {term: 1.0 if idf is None else idf.get(term, 1.0) for term in wanted}
    matches = sorted(analyzer.spans(text, wanted), key=lambda piece: (piece[1], piece[2]))
    first, last = _best_window(matches, weights, width)
    if not matches:
        # The first letter, wherever it stands: a passage of blanks would show nothing.
        first = len(text) - len(text.lstrip()) if text.strip() else 0
        last = first + 1
    start, stop = _placed(text, first, last, width)
    inside = [(a, b) for _, a, b in matches if a >= start and b <= stop]
    return start, stop, _joined(inside)


def _best_window(
    matches: list[tuple[str, int, int]], weights: Mapping[str, float], width: int
) -> tuple[int, int]:
    """From the start of the first match of the best window to the end of its last; (0, 0) if none.

    For each match as the last, the window takes in the matches before it that fit.
    """
    best, window = (0.0, 0), (0, 0)
    counts: dict[str, int] = {}
    left, total = 0, 0.0
    for right, (term, _, stop) in enumerate(matches):
        counts[term] = counts.get(term, 0) + 1
        if counts[term] == 1:
            total += weights[term]
        while left < right and stop - matches[left][1] > width:
            gone = matches[left][0]
            counts[gone] -= 1
            if counts[gone] == 0:
                total -= weights[gone]
            left += 1
        # Rounded, since a running sum of weights that come and go drifts.
        value = (round(total, 9), right - left + 1)
        if value > best:
            best, window = value, (matches[left][1], stop)
    return window


def _placed(text: str, first: int, last: int, width: int) -> tuple[int, int]:
    """A passage of at most `width` characters around [first, last), at borders where possible."""
    width = max(width, 1)
    last = min(last, first + width)
    low = max(0, last - width)
    if low == 0:
        start = min(first, len(text) - len(text.lstrip()))
    else:
        # One character more, so that a border right at `low` is seen.
        part = text[low - 1 : first + 1]
        lines = [match.end() for match in _LINE_START.finditer(part)]
        sentences = [begin for begin, _ in sentence_spans(part)]
        borders = [low - 1 + begin for begin in lines + sentences if begin > 0]
        borders = [border for border in borders if border <= first]
        if borders:
            start = max(borders)
        else:
            # A third of the room that is left comes before the first match.
            near = max(low, first - (width - (last - first)) // 3)
            match = _WORD_START.search(text, near - 1, first + 1)
            start = match.end() if match and match.end() <= first else near
    stop = min(len(text), start + width)
    if stop < len(text) and not text[stop].isspace():
        ends = [match.start() for match in _WORD_STOP.finditer(text, max(start, last), stop)]
        stop = ends[-1] if ends else stop
    while stop > max(start, last) and text[stop - 1].isspace():
        stop -= 1
    return start, stop


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping spans as one: an identifier and its parts, neighbouring bigrams."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined
