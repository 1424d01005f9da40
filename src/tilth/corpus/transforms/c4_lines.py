"""What C4 keeps of a web page: lines that read like sentences (Raffel et al. 2020).

"Exploring the limits of transfer learning", section 2.2, line rules only, in the reading of the
public filters: a line must end with an end mark or a quote, have three words and none of more than
1,000 characters, and speak neither of JavaScript nor of cookies and terms of use; citation marks
such as [12] are taken out. Whole pages are dropped by rules over the signal `web_rules` (its rule
set `c4`), whose `c4_characters` are those that this transform leaves.

Use it on crawled pages. Not on verse, lists, tables or code, whose lines end without a mark, nor on
languages with other end marks.
"""

from __future__ import annotations

import re
from typing import Any

from tilth.corpus.transforms.base import Edit, Edited
from tilth.documents.document import Span

END_MARKS = (".", "?", "!", '"', "'")
CITATION = re.compile(r"\[[0-9]*\]|\[edit\]|\[citation needed\]")
PHRASES = (
    "javascript", "terms of use", "privacy policy", "cookie policy", "uses cookies",
    "use of cookies", "use cookies",
)  # fmt: skip


class C4Lines(Edit):
    """Keep lines as C4 does, joined by line feeds; a page may become empty, and then says so.

    `least_words` in a line, `longest_word` in characters: 3 and 1,000 in C4. `citations`: take
    citation marks out. Metadata get `{"c4_lines": {"removed_lines": n}}` where a line went.
    """

    name = "c4_lines"
    version = 1

    def __init__(
        self, least_words: int = 3, longest_word: int = 1000, citations: bool = True
    ) -> None:
        self.least_words, self.longest_word, self.citations = least_words, longest_word, citations

    def parameters(self) -> dict[str, Any]:
        return {
            "least_words": self.least_words,
            "longest_word": self.longest_word,
            "citations": self.citations,
        }

    def edit(self, text: str) -> list[Edited]:
        parts: list[str] = []
        spans: list[Span] = []
        at = size = removed = 0
        for raw in text.splitlines(keepends=True):
            kept = self.pieces(raw)
            removed += not kept
            if kept and parts:
                parts.append("\n")
                size += 1
            for start, piece in kept:
                if not parts:
                    start += len(piece) - len(piece.lstrip())
                    piece = piece.lstrip()
                begin, length = at + _size(raw[:start]), _size(piece)
                if length:
                    spans.append(Span(size, size + length, begin, begin + length))
                    parts.append(piece)
                    size += length
            at += _size(raw)
        metadata = {"c4_lines": {"removed_lines": removed}} if removed else {}
        return [Edited("".join(parts), spans, metadata)]

    def pieces(self, raw: str) -> list[tuple[int, str]]:
        """What stays of a line: (character where it begins in the line, text); none if it goes."""
        line = raw.strip()
        words = line.split()
        if any(len(word) > self.longest_word for word in words):
            return []
        first = len(raw) - len(raw.lstrip())
        found = [(first, line)]
        if self.citations and "[" in line:
            ends = [0, *(end for mark in CITATION.finditer(line) for end in mark.span()), len(line)]
            found = [(first + a, line[a:b]) for a, b in zip(ends[::2], ends[1::2]) if a < b]
            line = "".join(piece for _, piece in found)
        if not line.endswith(END_MARKS) or line.endswith("...") or len(words) < self.least_words:
            return []
        lower = line.lower()
        return [] if any(phrase in lower for phrase in PHRASES) else found


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8"))
