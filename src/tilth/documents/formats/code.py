"""Source code: the file as written, and its language by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from tilth.documents.formats.common import Piece, read_all
from tilth.documents.formats.compression import name_of_content
from tilth.documents.formats.languages import language_of
from tilth.documents.formats.text import plain

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece]:
    """One document: the file. `metadata.language_of_code` says in what it is written."""
    data = read_all(unit, stream)
    text, metadata = plain(data)
    name = name_of_content(unit.source).rpartition("!")[2]
    if language := language_of(name) or ("json" if name.lower().endswith(".json") else None):
        metadata["language_of_code"] = language
    yield Piece(data, text, metadata, format="code")
