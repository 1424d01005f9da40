"""Project Gutenberg's headers and footers, as the SPGC strips them (Gerlach & Font-Clos 2020).

"A standardized Project Gutenberg corpus for statistical analysis of natural language and
quantitative linguistics" scans the lines of a book once. A line that opens like a header's empties
what was kept so far, while that is less than 600 lines; one that opens like a footer's ends the
book, once 100 lines are kept; notices between parts are dropped. The phrases are an own selection
(`header_markers`), not the authors' list.

The scan as published may erase real text (a line such as "Produced by" inside the first chapters),
never strips a book of fewer than 100 lines, and a wrong hit is silent. So `guard`, on by default:
phrases that others write too count only near a line that only Project Gutenberg writes; a footer's
sure phrase counts at once; and where more would go than a header and a footer ever hold, the
document stays whole and its metadata say so.

Use it on plain texts that may come from Project Gutenberg; other texts are not touched. Not for
other libraries' headers. The plain two-marker expression (`markers`) is the baseline.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.transforms.base import Edit, Edited, identity
from tilth.corpus.transforms.header_markers import (
    ENDS,
    NOTICE_ENDS,
    NOTICE_STARTS,
    STARTS,
    WEAK_ENDS,
    WEAK_STARTS,
)
from tilth.documents.document import Span
from tilth.errors import UsageError, nearest

METHODS = ("spgc", "markers", "none")
HEADER_LINES = 600
BODY_LINES = 100
# With the guard, how many lines may lie between a header's line and the next weaker one.
NEAR_LINES = 60

LEADING = " \t*\ufeff"
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_LONGEST = max(map(len, STARTS + WEAK_STARTS + ENDS + WEAK_ENDS + NOTICE_STARTS + NOTICE_ENDS))
# Some line opens as only Project Gutenberg's do. RE2 and `re` agree on this much syntax.
SURE = f"(?im)^[{LEADING}]*(?:{'|'.join(map(re.escape, STARTS + ENDS))})"
_SURE = re.compile(SURE, re.ASCII)
_START = re.compile(r"(?i)\*{3} ?start of th(?:e|is) project gutenberg[^*]{0,300}\*{3}[^\n]*\n?")
_END = re.compile(r"(?im)^[^\n]*\*{3} ?end of th(?:e|is) project gutenberg")


class StripHeaders(Edit):
    """Drop Project Gutenberg's header and footer; see the module for the methods.

    `method`: "spgc", "markers" or "none". `guard` as above, with its limits: a document that would
    lose more than `most_lines` lines, or more than `largest_share` of its lines, is left whole.
    Metadata get `{"headers": {"removed_lines": n}}` or `{"headers": {"refused_lines": n}}`.
    """

    name = "headers"
    version = 1

    def __init__(
        self,
        *,
        method: str = "spgc",
        guard: bool = True,
        most_lines: int = 1000,
        largest_share: float = 0.95,
    ) -> None:
        if method not in METHODS:
            raise UsageError(
                f"no method of headers is called {method!r}", hint=nearest(method, METHODS)
            )
        if not 0 < largest_share <= 1 or most_lines < 1:
            raise UsageError("largest_share must lie in (0, 1], most_lines be positive")
        self.method, self.guard = method, guard
        self.most_lines, self.largest_share = most_lines, largest_share

    def parameters(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "guard": self.guard,
            "most_lines": self.most_lines,
            "largest_share": self.largest_share,
        }

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        if self.method == "none":
            return pa.array([False] * batch.num_rows, pa.bool_())
        return pc.match_substring_regex(batch.column("text"), SURE)

    def edit(self, text: str) -> list[Edited]:
        if self.method == "none" or not _SURE.search(text):
            return identity(text)
        lines = text.split("\n")
        kept = two_markers(text) if self.method == "markers" else scan(lines, guard=self.guard)
        kept = _without_blank_ends(lines, kept)
        total = len(lines) - (lines[-1] == "")
        removed = total - len(kept)
        if removed == 0:
            return identity(text)
        too_many = removed > self.most_lines or removed > self.largest_share * total
        if self.guard and (too_many or not kept):
            return [identity(text)[0]._replace(metadata={"headers": {"refused_lines": removed}})]
        return [_keep(lines, kept, {"headers": {"removed_lines": removed}})]


def opening(line: str) -> str:
    """How a line opens, as the lists of phrases are written."""
    return line.lstrip(LEADING)[:_LONGEST].translate(_LOWER)


def scan(lines: Sequence[str], *, guard: bool) -> list[int]:
    """Numbers of the lines that the SPGC's scan keeps; `guard` as in the module."""
    kept: list[int] = []
    started = in_notice = False
    skip_to = 0
    for number, line in enumerate(lines):
        phrase = opening(line)
        if phrase.startswith(ENDS + WEAK_ENDS):
            sure = guard and started and phrase.startswith(ENDS)
            if sure or len(kept) >= BODY_LINES:
                break
        if number < skip_to:
            continue
        if phrase.startswith(STARTS) and len(kept) < HEADER_LINES:
            kept.clear()
            started = True
            skip_to = _marker_stop(lines, number)
            continue
        near = started and len(kept) < NEAR_LINES if guard else len(kept) < HEADER_LINES
        if near and phrase.startswith(WEAK_STARTS):
            kept.clear()
            continue
        if phrase.startswith(NOTICE_STARTS):
            in_notice = True
        elif phrase.startswith(NOTICE_ENDS):
            in_notice = False
        elif not in_notice:
            kept.append(number)
    return kept


def _marker_stop(lines: Sequence[str], number: int) -> int:
    """The line behind a start marker, which may run over up to three more lines to its "***"."""
    line = lines[number].strip()
    if line.startswith("***") and not line.endswith("***"):
        for later in range(number + 1, min(number + 4, len(lines))):
            if lines[later].rstrip().endswith("***"):
                return later + 1
    return number + 1


def two_markers(text: str) -> list[int]:
    """Numbers of the lines between `*** START OF ... ***` and `*** END OF ...`; one may lack."""
    start, stop = 0, text.count("\n") + 1
    position = 0
    if found := _START.search(text):
        position = found.end()
        start = text.count("\n", 0, position)
    if found := _END.search(text, position):
        stop = text.count("\n", 0, found.start())
    return list(range(start, stop))


def _without_blank_ends(lines: Sequence[str], kept: list[int]) -> list[int]:
    """A whole text is left alone; else blank lines at both ends go with the header and footer."""
    if len(kept) == len(lines):
        return kept if lines[-1] else kept[:-1]
    first, last = 0, len(kept)
    while first < last and not lines[kept[first]].strip():
        first += 1
    while last > first and not lines[kept[last - 1]].strip():
        last -= 1
    return kept[first:last]


def _keep(lines: Sequence[str], kept: Sequence[int], metadata: dict[str, Any]) -> Edited:
    """The kept lines as one text with one verbatim span for each run of lines."""
    runs: list[list[int]] = []
    for number in kept:
        if runs and runs[-1][1] == number:
            runs[-1][1] += 1
        else:
            runs.append([number, number + 1])
    spans: list[Span] = []
    pieces: list[str] = []
    at = parent_at = reached = 0
    for first, stop in runs:
        parent_at += len(_joined(lines, reached, first).encode())
        piece = _joined(lines, first, stop)
        size = len(piece.encode())
        if size:
            spans.append(Span(at, at + size, parent_at, parent_at + size))
        pieces.append(piece)
        at, parent_at, reached = at + size, parent_at + size, stop
    return Edited("".join(pieces), spans, metadata)


def _joined(lines: Sequence[str], first: int, stop: int) -> str:
    """Some lines as they stand in the text; only its last line has no line end."""
    text = "\n".join(lines[first:stop])
    return text + "\n" if first < stop < len(lines) else text
