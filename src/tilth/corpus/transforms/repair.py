"""Unicode and encoding repair with ftfy (Speer 2019, "ftfy", version 5.5 and later).

Repairs what went wrong between bytes and text: mojibake (UTF-8 read as a one-byte encoding), C1
controls that were meant as Windows-1252, control characters and terminal escapes, line ends (to
"\\n"), and the Unicode normal form. What an author may have meant stays unless asked for: curly
quotes, ligatures, full-width letters, HTML entities.

Use it first, on any text that people typed, scanned or exported. Not on documents *about* broken
encodings, whose examples it would repair. A line is repaired as a whole, so one with two different
damages may stay as it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.transforms.base import Edit, Edited, identity
from tilth.documents.document import Span
from tilth.errors import UsageError, nearest

NORMAL_FORMS: tuple[str, ...] = ("NFC", "NFD", "NFKC", "NFKD", "none")

# Characters that no repair concerns; other text is looked at line by line.
PLAIN = r"\t\n\x0c\x20-\x7e"
# Beside these, text without mojibake and in its normal form is sound: all C0 and C1 controls, line
# and paragraph separators, byte order marks and what else ftfy counts as a control character.
SUSPECT = re.compile(
    "[\x00-\x08\x0b\x0d-\x1f\x7f-\x9f\u2028\u2029\u206a-\u206f\ufeff\ufff9-\ufffc]"
)


class Repair(Edit):
    """Unicode and encoding repair; spans say line by line which bytes changed.

    `mojibake`, `control_characters`, `line_ends`, `normalization` ("NFC", "none", ...) are done
    unless switched off; `quotes` (to straight ones), `ligatures`, `width` and `entities` (HTML, in
    lines without "<") only where switched on.
    """

    name = "repair"
    version = 1

    def __init__(
        self,
        *,
        mojibake: bool = True,
        control_characters: bool = True,
        line_ends: bool = True,
        normalization: str = "NFC",
        quotes: bool = False,
        ligatures: bool = False,
        width: bool = False,
        entities: bool = False,
    ) -> None:
        if normalization not in NORMAL_FORMS:
            raise UsageError(
                f"no normalization is called {normalization!r}",
                hint=nearest(normalization, NORMAL_FORMS),
            )
        self.mojibake, self.control_characters = mojibake, control_characters
        self.line_ends, self.normalization = line_ends, normalization
        self.quotes, self.ligatures = quotes, ligatures
        self.width, self.entities = width, entities

    def parameters(self) -> dict[str, Any]:
        return {
            "mojibake": self.mojibake,
            "control_characters": self.control_characters,
            "line_ends": self.line_ends,
            "normalization": self.normalization,
            "quotes": self.quotes,
            "ligatures": self.ligatures,
            "width": self.width,
            "entities": self.entities,
        }

    @property
    def _form(self) -> Any:
        return None if self.normalization == "none" else self.normalization

    @cached_property
    def _config(self) -> Any:
        import ftfy

        return ftfy.TextFixerConfig(
            unescape_html="auto" if self.entities else False,
            remove_terminal_escapes=self.control_characters,
            fix_encoding=self.mojibake,
            fix_c1_controls=self.mojibake,
            fix_latin_ligatures=self.ligatures,
            fix_character_width=self.width,
            uncurl_quotes=self.quotes,
            fix_line_breaks=self.line_ends,
            remove_control_chars=self.control_characters,
            normalization=self._form,
            explain=False,
        )

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        pattern = f"[^{PLAIN}]" + ("|&" if self.entities else "")
        return pc.match_substring_regex(batch.column("text"), pattern)

    def edit(self, text: str) -> list[Edited]:
        if self._is_sound(text):
            return identity(text)
        import ftfy

        result: list[str] = []
        spans: list[Span] = []
        at = parent_at = 0
        for line in _lines(text):
            fixed = line if self._is_sound(line) else ftfy.fix_text(line, self._config)
            at, parent_at = add_line(spans, line, fixed, at, parent_at)
            result.append(fixed)
        return [Edited("".join(result), spans)]

    def _is_sound(self, text: str) -> bool:
        """Whether ftfy would certainly change nothing; most text ends here."""
        if self.entities and "&" in text:
            return False
        if text.isascii():
            return SUSPECT.search(text) is None
        if self.quotes or self.ligatures or self.width or SUSPECT.search(text):
            return False
        if self._form is not None and not unicodedata.is_normalized(self._form, text):
            return False
        if not self.mojibake:
            return True
        from ftfy.badness import is_bad

        # The search is slow, and mojibake is never ASCII.
        return not any(is_bad(line) for line in text.split("\n") if not line.isascii())


def _lines(text: str) -> list[str]:
    """Lines with their "\\n"; other line ends are part of a line until they are repaired."""
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])


def add_line(spans: list[Span], old: str, new: str, at: int, parent_at: int) -> tuple[int, int]:
    """Add the spans of one rewritten line; returns the offsets behind it.

    What the two lines have in common at their ends is verbatim. Between them one span of unequal
    sides stands for the change; where its sides happen to be equally long there is none, since
    equal sides mean equal bytes.
    """
    size, parent_size = len(new.encode()), len(old.encode())
    prefix = suffix = 0
    if old == new:
        prefix = size
    else:
        head = _common(old, new)
        tail = _common(old[head:][::-1], new[head:][::-1])
        prefix, suffix = len(new[:head].encode()), len(new[len(new) - tail :].encode())
    _extend(spans, at, parent_at, prefix)
    changed, parent_changed = size - prefix - suffix, parent_size - prefix - suffix
    if changed and parent_changed and changed != parent_changed:
        start, parent_start = at + prefix, parent_at + prefix
        spans.append(Span(start, start + changed, parent_start, parent_start + parent_changed))
    _extend(spans, at + size - suffix, parent_at + parent_size - suffix, suffix)
    return at + size, parent_at + parent_size


def _common(left: str, right: str) -> int:
    """How many characters two texts share at their beginning."""
    pairs = enumerate(zip(left, right))
    return next((at for at, (one, other) in pairs if one != other), min(len(left), len(right)))


def _extend(spans: list[Span], at: int, parent_at: int, size: int) -> None:
    """A verbatim span, joined to the last one where that is verbatim and ends here."""
    if size == 0:
        return
    start, parent_start = at, parent_at
    if spans and spans[-1].stop == at and spans[-1].parent_stop == parent_at:
        last = spans[-1]
        if last.stop - last.start == last.parent_stop - last.parent_start:
            start, parent_start = last.start, last.parent_start
            spans.pop()
    spans.append(Span(start, at + size, parent_start, parent_at + size))
