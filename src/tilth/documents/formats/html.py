"""HTML files: the visible text, parsed in a child process with limits on memory and CPU time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.formats.common import Piece, option, read_all
from tilth.documents.formats.decode import unify_line_ends
from tilth.documents.formats.parser import PerThread, ask

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

_child = PerThread("tilth.documents.formats.html_text:visible_text")
_of_this_thread = _child.local
_article_child = PerThread("tilth.documents.formats.html_article:article_text")


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: what a reader of the page would see, or its article (option `html`)."""
    data = read_all(unit, stream)
    text, metadata = parse(data, article=option(unit, "html") == "article")
    yield Piece(data, text, metadata)


def parse(
    data: bytes, charset: str | None = None, *, article: bool = False
) -> tuple[str, dict[str, Any]]:
    """(visible text, metadata) of a page, or the text of its article: see `html_article`.

    Raises Refused where the parser reaches a limit, StartError where no parser runs at all: that
    says nothing of the page.
    """
    page = ask(_article_child() if article else _child(), data, charset=charset)
    text, _ = unify_line_ends(page["text"])
    metadata: dict[str, Any] = {"article": page["article"]} if article else {}
    if page["title"]:
        metadata["title"] = page["title"]
    if page["language"]:
        metadata["declared_language"] = page["language"]
    if page["encoding"] != "utf-8":
        metadata["encoding"] = page["encoding"]
    if page["damage"]:
        metadata["damage"] = page["damage"]
    return text, metadata
