"""HTML files: the visible text, parsed in a child process with limits on memory and time."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.formats.common import Piece, Refused, read_all
from tilth.documents.formats.decode import unify_line_ends
from tilth.errors import DataError, LimitError
from tilth.sandbox.child import Child

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

MEMORY = 1 << 30
SECONDS = 20.0

# A child dies with the thread that started it, so each thread has its own.
_of_this_thread = threading.local()


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: what a reader of the page would see."""
    data = read_all(unit, stream)
    text, metadata = parse(data)
    yield Piece(data, text, metadata)


def parse(data: bytes, charset: str | None = None) -> tuple[str, dict[str, Any]]:
    """(visible text, metadata) of a page. Raises Refused where the parser reaches a limit.

    Raises StartError where no parser runs at all: that says nothing of the page.
    """
    try:
        page = _child().call(data, charset=charset)
    except LimitError as error:
        raise Refused("parser limit", error.what) from None
    except DataError as error:
        raise Refused("damaged", error.what) from None
    text, _ = unify_line_ends(page["text"])
    metadata: dict[str, Any] = {}
    if page["title"]:
        metadata["title"] = page["title"]
    if page["language"]:
        metadata["declared_language"] = page["language"]
    if charset is None and page["encoding"] != "utf-8":
        metadata["encoding"] = page["encoding"]
    if page["damage"]:
        metadata["damage"] = page["damage"]
    return text, metadata


def _child() -> Child:
    child = getattr(_of_this_thread, "child", None)
    if child is None:
        child = Child(
            "tilth.documents.formats.html_text:visible_text", memory=MEMORY, seconds=SECONDS
        )
        _of_this_thread.child = child
        atexit.register(child.close)
    return child
