"""Bytes to text: which encoding, and how much of it did not fit.

Light on purpose: the child process that parses HTML uses it too.
"""

from __future__ import annotations

import codecs
import re

REPLACEMENT = "\ufffd"

# UTF-32 comes first: its mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_FIRST_OF_MARKS = frozenset(mark[0] for mark, _ in MARKS)

_SURROGATES = re.compile("[\ud800-\udfff]")


def mark_of(data: bytes) -> tuple[str | None, int]:
    """The encoding that a byte order mark names, and how long the mark is."""
    # Asked for every record, and few have one.
    if not data or data[0] not in _FIRST_OF_MARKS:
        return None, 0
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding, len(mark)
    return None, 0


def decode(data: bytes, declared: str | None = None) -> tuple[str, str, int]:
    """(text, encoding, damage): damage counts how often U+FFFD had to stand in for bytes.

    A byte order mark decides; then valid UTF-8; then the declared encoding; then UTF-8 where more
    of it is valid than not, else Windows-1252 (it holds the letters of Latin-1).
    """
    encoding, skip = mark_of(data)
    if encoding is not None:
        text, damage = _replacing(data[skip:], encoding)
        return text, encoding, damage
    try:
        return data.decode("utf-8"), "utf-8", 0
    except UnicodeDecodeError:
        pass
    if declared is not None and declared != "utf-8":
        text, damage = _replacing(data, declared)
        return text, declared, damage
    text, damage = _replacing(data, "utf-8")
    valid = len(text) - len(text.encode("ascii", "ignore")) - damage
    if declared == "utf-8" or valid >= damage:
        return text, "utf-8", damage
    text, damage = _replacing(data, "cp1252")
    return text, "cp1252", damage


def _replacing(data: bytes, encoding: str) -> tuple[str, int]:
    """Decode with U+FFFD for what does not fit; those that stood there already are not counted."""
    try:
        return data.decode(encoding), 0
    except UnicodeDecodeError:
        pass
    text = data.decode(encoding, "replace")
    return text, text.count(REPLACEMENT) - data.decode(encoding, "ignore").count(REPLACEMENT)


def without_surrogates(text: str) -> tuple[str, int]:
    """Text that UTF-8 can hold: lone surrogates become U+FFFD, and their number."""
    if text.isascii():
        return text, 0
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.subn(REPLACEMENT, text)
    return text, 0


def unify_line_ends(text: str) -> tuple[str, str]:
    """(text with `\\n` only, what it had: `lf`, `crlf`, `cr` or `mixed`)."""
    if "\r" not in text:
        return text, "lf"
    crlf = text.count("\r\n")
    kinds = {"crlf": crlf, "cr": text.count("\r") - crlf, "lf": text.count("\n") - crlf}
    found = [kind for kind, count in kinds.items() if count]
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, found[0] if len(found) == 1 else "mixed"
