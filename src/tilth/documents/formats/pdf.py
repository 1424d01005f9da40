"""PDF files: the text layer, page by page, read in a child process with limits.

A file is one document. Pages are parted by a line end and a form feed; `metadata.pages` holds the
byte at which each page begins in the UTF-8 of the text, so that a place in the text can be turned
into a page (`page_at`). A file without a text layer is a Problem: nothing is recognised in images.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.formats.common import Piece, Refused, read_all
from tilth.documents.formats.decode import unify_line_ends, without_surrogates
from tilth.documents.formats.parser import PerThread, ask

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

BREAK = "\n\f"
LONGEST_FIELD = 1000

_child = PerThread("tilth.documents.formats.pdf_text:page_texts")


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: the text of all pages."""
    data = read_all(unit, stream)
    text, metadata = parse(data)
    yield Piece(data, text, metadata)


def parse(data: bytes) -> tuple[str, dict[str, Any]]:
    """(text, metadata) of a PDF file. Raises Refused: `encrypted`, `no text layer`, `damaged`,
    `parser limit`."""
    found = ask(_child(), data)
    if found.get("encrypted"):
        raise Refused("encrypted", "a PDF file that needs a password")
    if "damaged" in found:
        raise Refused("damaged", f"pdf: {found['damaged']}"[:300])
    pages = [_page(text) for text in found["pages"]]
    count, broken = len(pages), found["broken"]
    if count and len(broken) == count:
        raise Refused("damaged", f"pdf: none of its {count} pages can be opened")
    if not any(pages):
        raise Refused("no text layer", f"{count} page{'s' * (count != 1)}, all without text")
    metadata: dict[str, Any] = {"pages": starts_of(pages)}
    for name in ("title", "author"):
        if value := without_surrogates(found[name])[0].strip()[:LONGEST_FIELD]:
            metadata[name] = value
    if empty := sum(not page for page in pages):
        metadata["pages_without_text"] = empty
    if broken:
        metadata["broken_pages"] = broken
    if found["hyphens"]:
        metadata["joined_words"] = found["hyphens"]
    if found["damage"]:
        metadata["damage"] = found["damage"]
    return BREAK.join(pages), metadata


def _page(text: str) -> str:
    text, _ = unify_line_ends(without_surrogates(text)[0])
    return text.replace("\f", "\n").strip("\n")


def starts_of(pages: Sequence[str]) -> list[int]:
    """The byte at which each page begins in the UTF-8 of the joined text."""
    starts, at = [], 0
    for page in pages:
        starts.append(at)
        at += len(page.encode("utf-8")) + len(BREAK)
    return starts


def page_at(starts: Sequence[int], offset: int) -> int:
    """The page, from 1, on which this byte of the text stands."""
    return bisect.bisect_right(starts, offset)
