"""What all readers share: a Piece, a refusal, the limits, and streams that keep to them."""

from __future__ import annotations

import errno
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

MAX_DOCUMENT_BYTES = 256_000_000
MAX_LINE_BYTES = 64_000_000
# What is compressed may grow by so much; text seldom shrinks below a fiftieth.
MAX_RATIO = 200
FREE_BYTES = 16_000_000
# Errors that tell something of the file; others, as too many open files, tell of the machine.
# Libraries that find a file damaged raise an OSError without a number.
_OF_THE_FILE = {None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}


@dataclass(slots=True)
class Piece:
    """One document as a reader found it: `raw` names it, `format` "" means that of the unit.

    notes: for records, what the reader has to say, apart from the columns, which may have any name.
    unit: the member of an archive that it was found in; None where it is the unit itself.
    """

    raw: bytes
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    position: int = 0
    format: str = ""
    notes: dict[str, Any] | None = None
    unit: Unit | None = None


class Refused(Exception):
    """This document cannot be read: `reason` is one of a Problem's words, `detail` for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def is_of_the_file(error: OSError) -> bool:
    """Whether it would come again for this file on any machine, so that it may be a Problem."""
    return error.errno in _OF_THE_FILE


def option(unit: Unit, name: str, default: Any = None) -> Any:
    """The value of an option of the unit."""
    for key, value in unit.options:
        if key == name:
            return value
    return default


def read_all(unit: Unit, stream: BinaryIO) -> bytes:
    """The whole stream as one document's bytes. Raises Refused beyond `max_document_bytes`."""
    limit = option(unit, "max_document_bytes", MAX_DOCUMENT_BYTES)
    parts: list[bytes] = []
    size = 0
    while data := stream.read(1 << 18):
        parts.append(data)
        size += len(data)
        if size > limit:
            raise Refused("too large", f"more than {limit} bytes")
    return b"".join(parts)


def read_each_line(unit: Unit, stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines with their end; None for each that is longer than `max_line_bytes`."""
    limit = option(unit, "max_line_bytes", MAX_LINE_BYTES)
    while line := stream.readline(limit + 1):
        if len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(1 << 20)
        yield None


class Slice(io.RawIOBase):
    """Bytes `start` to `stop` of a file."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        file.seek(start)
        self._file, self._left = file, stop - start

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)
