"""The members of an archive, each read by its own format, in the order of the archive.

A member's documents have the source `archive.zip!folder/name`; a member of an archive inside it
`archive.zip!inner.tar!name`. What is wrong with one member costs only that one.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from tilth.documents.containers.frames import Frame
from tilth.documents.containers.walking import Frames, content_of
from tilth.documents.document import Problem
from tilth.documents.formats import FORMATS, RECORDS, WALKED
from tilth.documents.formats.common import Piece, Refused, option, read_all
from tilth.documents.formats.records import first_records, require_text
from tilth.documents.read import guarded
from tilth.documents.sniff import HEAD_BYTES, format_of
from tilth.lookup import load

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

# Settings of the archive that say nothing of its members.
_OWN = ("compression",)


def read(unit: Unit, frames: Frames) -> Iterator[Piece | Problem]:
    """Pieces of all members; each names the member as its unit."""
    found = False
    for header, _ in frames:
        found = True
        if header["kind"] == "problem":
            yield Problem(header["source"], header["reason"], header["detail"], header["position"])
            continue
        options = tuple(entry for entry in unit.options if entry[0] not in _OWN)
        source = header["source"]
        member = dataclasses.replace(
            unit, source=source, format=header["format"], group=source, options=options
        )
        content = content_of(frames)
        yield from guarded(member, _pieces(member, header["name"], content))
        _drain(content)
        if frames.broken:
            raise Refused("parser limit", "the walk broke off there; what follows was not read")
    if not found:
        raise Refused("empty", "no member")


def _drain(content: Iterator[Frame]) -> None:
    """Pass over what a reader that gave up has left; why it did is listed already."""
    try:
        for _ in content:
            pass
    except Refused:
        pass


def _pieces(unit: Unit, name: str, content: Iterator[Frame]) -> Iterator[Piece | Problem]:
    stream: Any = content
    if not unit.format:
        stream = cast(BinaryIO, io.BufferedReader(_Bytes(content), HEAD_BYTES))
        head = stream.peek(HEAD_BYTES)
        if not head:
            raise Refused("empty")
        form = format_of(name, head)
        if form in WALKED:
            raise Refused("unknown format", f"{form} inside an archive, not known by its bytes")
        unit = dataclasses.replace(unit, format=form)
        if form == "jsonl":
            require_text(option(unit, "text_column"), first_records(head))
        if form == "parquet":
            unit, stream = _parquet(unit, stream)
    if unit.format in RECORDS:
        unit = dataclasses.replace(unit, group="")
    for piece in load("format", FORMATS, unit.format)(unit, stream):
        yield piece if isinstance(piece, Problem) else dataclasses.replace(piece, unit=unit)


def _parquet(unit: Unit, stream: BinaryIO) -> tuple[Unit, BinaryIO]:
    """A Parquet file is read from its end: it lies in memory."""
    from tilth.documents.formats.parquet import group_count

    whole = io.BytesIO(read_all(unit, stream))
    return dataclasses.replace(unit, start=0, stop=group_count(whole)), whole


class _Bytes(io.RawIOBase):
    """The bytes of a member, from its frames."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Filled as far as it goes, so that a look at the beginning shows all of it.
        filled = 0
        while filled < len(buffer):
            if not self._left:
                _, body = next(self._frames, (None, b""))
                if not body:
                    break
                self._left = memoryview(body)
            part = self._left[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._left = self._left[len(part) :]
        return filled
