"""Passages by structure: headings, paragraphs, sentences (after Hearst 1997, and Callan 1994).

A passage is made of whole sentences (`tilth.corpus.sentences`). Paragraphs are taken together up
to `target`; one that is longer than `longest` is divided between sentences; a sentence that is
longer is divided between words, and where it has none of these, between characters. A heading
begins a passage and never ends one.

Use it before an index whose queries ask for a fact, before a question generator, and where a model
reads a few hundred words at a time. Not before training on whole documents, nor on tables and
code, whose lines are no sentences; there only blank lines part anything. Without `overlap` the
passages of a text, joined, are the text, byte for byte.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any, NamedTuple

from tilth.corpus.sentences import sentence_spans
from tilth.corpus.transforms.base import Edit, Edited, identity
from tilth.documents.document import Span
from tilth.errors import UsageError, nearest

UNITS = ("characters", "words")

_BLOCK_END = re.compile(r"\n[^\S\n]*\n\s*")
_BLANKS_TO_END = re.compile(r"\s*\Z")
# A word with the blanks behind it.
_WORD = re.compile(r"(\S+)\s*")
LONGEST_HEADING = 150
_HEADING = re.compile(r"(#{1,6})[ \t]+(\S[^\n]*?)[ \t#]*")
# A line above a row of one of these marks (Markdown and reStructuredText).
_UNDERLINED = re.compile(r"([^\n]*[^\W_][^\n]*)\n(=|-|~|\^|\"|\*)\2{2,}[ \t]*")
_LEVELS = {"=": 1, "-": 2, "~": 3, "^": 4, '"': 5, "*": 6}


class Piece(NamedTuple):
    """What is not divided: a heading or a sentence with the blanks behind it, in characters.

    size, inner: with and without the blanks at its end, in the unit of the passages.
    level, title: of a heading, 1 is the highest; else 0. paragraph: whether one begins here.
    cut: whether it is part of a sentence that was too long.
    """

    start: int
    stop: int
    size: int
    inner: int
    level: int = 0
    title: str = ""
    paragraph: bool = False
    cut: bool = False


class Passages(Edit):
    """0..n passages of each document, verbatim, with spans in their parent.

    `target` and `longest` are in `unit` ("characters" or "words"); blanks at the end of a passage
    do not count. `overlap`: a passage begins with the last sentences of the one before, as many as
    fit into so much. `language` is the one whose abbreviations `sentence_spans` knows. Metadata
    get `{"passage": {"number": from 0, "of": how many, "headings": [from the highest to the
    nearest], "cut": parts of divided sentences}}`, the last two where there are any.
    """

    name = "passages"
    version = 1

    def __init__(
        self,
        *,
        target: int = 1000,
        longest: int = 1500,
        overlap: int = 0,
        unit: str = "characters",
        language: str = "",
    ) -> None:
        if unit not in UNITS:
            raise UsageError(f"passages are not measured in {unit!r}", hint=nearest(unit, UNITS))
        if not 1 <= target <= longest or not 0 <= overlap < target:
            raise UsageError(
                f"target {target}, longest {longest}, overlap {overlap}: "
                "0 <= overlap < target <= longest must hold"
            )
        self.target, self.longest, self.overlap = target, longest, overlap
        self.unit, self.language = unit, language

    def parameters(self) -> dict[str, Any]:
        names = "target longest overlap unit language".split()
        return {name: getattr(self, name) for name in names}

    def edit(self, text: str) -> list[Edited]:
        found = pieces(text, self.longest, self.unit, self.language)
        if not found:
            return identity(text)
        groups = divide(found, self.target, self.longest, self.overlap)
        paths = _heading_paths(found)
        offsets = _byte_offsets(text, [found[first].start for first, _ in groups])
        result = []
        for number, (first, last) in enumerate(groups):
            passage = text[found[first].start : found[last - 1].stop]
            start, size = offsets[found[first].start], len(passage.encode())
            about: dict[str, Any] = {"number": number, "of": len(groups)}
            content = next((n for n in range(first, last) if not found[n].level), last - 1)
            if paths[content]:
                about["headings"] = [title for _, title in paths[content]]
            if cut := sum(piece.cut for piece in found[first:last]):
                about["cut"] = cut
            span = Span(0, size, start, start + size)
            result.append(Edited(passage, [span], {"passage": about}))
        return result


def pieces(text: str, longest: int, unit: str, language: str = "") -> list[Piece]:
    """Headings and sentences in order; together they cover the text."""
    found: list[Piece] = []
    start = 0
    ends = [match.end() for match in _BLOCK_END.finditer(text)]
    for stop in [*ends, len(text)]:
        if stop > start:
            found.extend(_of_block(text[start:stop], start, longest, unit, language))
            start = stop
    return found


def size_of(text: str, unit: str) -> int:
    return len(text) if unit == "characters" else len(text.split())


def _of_block(
    block: str, at: int, longest: int, unit: str, language: str
) -> list[Piece]:  # fmt: skip
    """The pieces of a paragraph, which may begin with headings."""
    found: list[Piece] = []

    def add(start: int, stop: int, **fields: Any) -> None:
        part = block[start:stop]
        sizes = size_of(part, unit), size_of(part.rstrip(), unit)
        found.append(Piece(at + start, at + stop, *sizes, **fields))

    start = 0
    while (heading := _heading_at(block, start)) is not None:
        level, title, stop = heading
        if size_of(block[start:stop].rstrip(), unit) > longest:
            break
        add(start, stop, level=level, title=title, paragraph=True)
        start = stop
    paragraph = True
    for begin, end in sentence_spans(block[start:], language):
        sentence = block[start + begin : start + end]
        if size_of(sentence.rstrip(), unit) <= longest:
            add(start + begin, start + end, paragraph=paragraph)
            paragraph = False
            continue
        for low, high in _cuts(sentence, longest, unit):
            add(start + begin + low, start + begin + high, paragraph=paragraph, cut=True)
            paragraph = False
    return found


def _heading_at(block: str, start: int) -> tuple[int, str, int] | None:
    """(level, title, where it ends) of a heading that begins here."""
    stop = block.find("\n", start) + 1 or len(block)
    if start == len(block) or stop - start > LONGEST_HEADING:
        return None
    if block[start] == "#" and (match := _HEADING.fullmatch(block[start:stop].rstrip("\n"))):
        return len(match[1]), match[2], _behind_blanks(block, stop)
    second = block.find("\n", stop) + 1 or len(block)
    if block[stop : stop + 1] not in _LEVELS or second - stop > LONGEST_HEADING:
        return None
    if match := _UNDERLINED.fullmatch(block[start:second].rstrip("\n")):
        return _LEVELS[match[2]], match[1].strip(), _behind_blanks(block, second)
    return None


def _behind_blanks(block: str, at: int) -> int:
    """Blanks at the end of a block belong to what stands before them."""
    return len(block) if _BLANKS_TO_END.match(block, at) else at


def _cuts(sentence: str, longest: int, unit: str) -> list[tuple[int, int]]:
    """Parts of a sentence that is too long: between words, else between characters."""
    parts: list[tuple[int, int]] = []
    start = reached = words = 0
    for match in _WORD.finditer(sentence):
        size = words + 1 if unit == "words" else match.end(1) - start
        if size > longest and reached > start:
            parts.append((start, reached))
            start, words = reached, 0
        while unit == "characters" and match.end(1) - start > longest:
            parts.append((start, start + longest))
            start += longest
        words += 1
        reached = match.end()
    parts.append((start, len(sentence)))
    return parts


def divide(
    found: list[Piece], target: int, longest: int, overlap: int = 0
) -> list[tuple[int, int]]:  # fmt: skip
    """Passages as ranges of pieces: (first, behind the last)."""
    groups: list[tuple[int, int]] = []
    ends = _paragraph_ends(found)
    sums = [0, *accumulate(piece.size for piece in found)]
    first = 0
    while first < len(found):
        begin = _overlap_begin(found, groups[-1][0], first, overlap, longest) if groups else 0
        stop = _passage_end(found, ends, sums, begin, first, target, longest)
        groups.append((begin, stop))
        first = stop
    return groups


def _passage_end(
    found: list[Piece], ends: list[int], sums: list[int],
    begin: int, first: int, target: int, longest: int,
) -> int:  # fmt: skip
    """Where the passage ends whose first new piece is `first`; it takes that one at least."""
    stop = first
    while stop < len(found):
        piece, total = found[stop], sums[stop] - sums[begin]
        if stop > first and piece.level and not found[stop - 1].level and 4 * total >= target:
            break
        enough = 2 * total >= target
        last = ends[stop]
        whole = sums[last - 1] - sums[begin] + found[last - 1].inner
        if whole <= target or (whole <= longest and not enough):
            stop = last
            continue
        if stop > first and enough and (piece.paragraph or total + piece.inner > target):
            break
        if stop > first and total + piece.inner > longest:
            break
        stop += 1
    # A heading goes with what it announces.
    if stop < len(found):
        return next((n for n in range(stop, first, -1) if not found[n - 1].level), stop)
    return stop


def _paragraph_ends(found: list[Piece]) -> list[int]:
    """For each piece, behind the last piece of its paragraph."""
    ends = [len(found)] * len(found)
    for number in range(len(found) - 2, -1, -1):
        ends[number] = number + 1 if found[number + 1].paragraph else ends[number + 1]
    return ends


def _overlap_begin(
    found: list[Piece], before: int, first: int, overlap: int, longest: int
) -> int:  # fmt: skip
    """The first piece of the passage before that the next one begins with; never all of it."""
    begin, total = first, 0
    while begin - 1 > before and not found[first].level and not found[begin - 1].level:
        total += found[begin - 1].size
        if total > overlap or total + found[first].inner > longest:
            break
        begin -= 1
    return begin


def _heading_paths(found: list[Piece]) -> list[list[tuple[int, str]]]:
    """For each piece the headings above it, from the highest to the nearest."""
    paths: list[list[tuple[int, str]]] = []
    path: list[tuple[int, str]] = []
    for piece in found:
        if piece.level:
            path = [part for part in path if part[0] < piece.level]
            path = [*path, (piece.level, piece.title)]
        paths.append(path)
    return paths


def _byte_offsets(text: str, places: list[int]) -> dict[int, int]:
    """Byte offsets of places in characters."""
    offsets: dict[int, int] = {}
    at = size = 0
    for place in sorted(places):
        size += len(text[at:place].encode())
        at = place
        offsets[place] = size
    return offsets
