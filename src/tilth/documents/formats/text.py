"""Plain text, Markdown and reStructuredText: the text as it was written, and its title."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.formats.common import Piece, read_all
from tilth.documents.formats.decode import decode, unify_line_ends

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

# A title stands near the top; what comes later is a section.
TOP_LINES = 60
LONGEST_LINE = 500
_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_FRONT_TITLE = re.compile(r"title\s*:\s*(.+)", re.IGNORECASE)
_MARKDOWN_HEADING = re.compile(r" {0,3}#(?!#)[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(rf"({_PUNCTUATION})\1{{2,}}[ \t]*")


def plain(data: bytes, declared: str | None = None) -> tuple[str, dict[str, Any]]:
    """(text with `\\n` line ends, metadata): the encoding, damage and line ends where unusual."""
    text, encoding, damage = decode(data, declared)
    text, line_ends = unify_line_ends(text)
    metadata: dict[str, Any] = {}
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    if damage:
        metadata["damage"] = damage
    if line_ends != "lf":
        metadata["line_ends"] = line_ends
    return text, metadata


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: the file."""
    data = read_all(unit, stream)
    yield Piece(data, *plain(data))


def read_markdown(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: the file as written, `metadata.title` from its head or first heading."""
    yield _with_title(read_all(unit, stream), markdown_title)


def read_rst(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: the file as written, `metadata.title` from its first heading."""
    yield _with_title(read_all(unit, stream), rst_title)


def _with_title(data: bytes, title_of: Callable[[list[str]], str]) -> Piece:
    text, metadata = plain(data)
    top = text.split("\n", TOP_LINES)[:TOP_LINES]
    if title := title_of([line if len(line) <= LONGEST_LINE else "" for line in top]):
        metadata["title"] = title
    return Piece(data, text, metadata)


def markdown_title(lines: list[str]) -> str:
    """The title in the front matter, else the first heading of level one; "" without any."""
    start = 0
    if lines and lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() in ("---", "..."):
                start = number + 1
                break
            if match := _FRONT_TITLE.fullmatch(line.strip()):
                return match[1].strip().strip("\"'")
    fenced = False
    for line, following in zip(lines[start:], [*lines[start + 1 :], ""]):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif fenced:
            continue
        elif match := _MARKDOWN_HEADING.fullmatch(line):
            return match[1].strip()
        elif line.strip() and re.fullmatch(r" {0,3}=+[ \t]*", following):
            return line.strip()
    return ""


def rst_title(lines: list[str]) -> str:
    """The first line with a line of punctuation below it that is at least as long; "" if none."""
    for line, following in itertools.pairwise(lines):
        title = line.strip()
        underline = _UNDERLINE.fullmatch(following)
        if title and underline and not _UNDERLINE.fullmatch(line):
            return title if len(following.rstrip()) >= len(title) else ""
    return ""
