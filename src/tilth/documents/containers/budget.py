"""What a walk may cost, and streams that keep to it."""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any, BinaryIO, cast

from tilth.documents.formats import common
from tilth.documents.formats.common import Refused

MAX_MEMBERS = 1_000_000
# An archive in an archive counts one more.
MAX_DEPTH = 4
# A ZIP archive inside another file lies in memory while it is read.
NESTED_BYTES = 128_000_000
FREE_BYTES = 64_000_000
LONGEST_NAME = 4096
_DRIVE = re.compile(r"[A-Za-z]:")


class Exhausted(Refused):
    """A limit of the whole walk was reached: nothing more is read of this file."""


class Budget:
    """The limits of one file, over all that lies in it at any depth."""

    def __init__(self, size: int) -> None:
        self.limit = max(FREE_BYTES, common.MAX_RATIO * size)
        self._bytes = self._members = 0
        self._names: set[bytes] = set()

    def spend(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self.limit:
            raise Exhausted("too large", f"unpacks to more than {self.limit} bytes")

    def member(self) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise Exhausted("too large", f"more than {MAX_MEMBERS} members")

    def name(self, source: str) -> str:
        """The source, with a number where the archive holds the same name twice."""
        number, name = 1, source
        while (
            key := hashlib.blake2b(name.encode("utf-8"), digest_size=12).digest()
        ) in self._names:
            number += 1
            name = f"{source} ({number})"
        self._names.add(key)
        return name


class Metered(io.RawIOBase):
    """A stream whose bytes are paid for; raises Refused beyond `limit` bytes of its own."""

    def __init__(self, stream: Any, budget: Budget, limit: int | None = None) -> None:
        self._stream, self._budget, self._limit = stream, budget, limit
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Filled as far as it goes, so that a look at the beginning shows all of it.
        filled = 0
        while filled < len(buffer):
            data = self._stream.read(len(buffer) - filled)
            if not data:
                break
            buffer[filled : filled + len(data)] = data
            filled += len(data)
        self._read += filled
        self._budget.spend(filled)
        if self._limit is not None and self._read > self._limit:
            raise Refused("too large", f"more than {self._limit} bytes from a small member")
        return filled


def buffered(stream: io.RawIOBase) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(stream, 1 << 16))


def in_memory(stream: BinaryIO) -> BinaryIO:
    """A stream that can be read from any place. Raises Refused where it is too large for that."""
    data = stream.read(NESTED_BYTES + 1)
    if len(data) > NESTED_BYTES:
        raise Refused("too large", f"an archive of more than {NESTED_BYTES} bytes inside a file")
    return io.BytesIO(data)


def safe_name(name: str) -> str:
    """The name of a member as a relative path. Raises Refused where it leads out of the archive."""
    path = printable(name.replace("\\", "/"))
    if len(path) > LONGEST_NAME:
        raise Refused("unsafe name", f"a name of more than {LONGEST_NAME} characters")
    if path.startswith("/") or _DRIVE.match(path) or ".." in path.split("/"):
        raise Refused("unsafe name", "its name leads out of the archive")
    return "/".join(part for part in path.split("/") if part not in ("", ".")) or "unnamed"


def printable(name: str) -> str:
    """A name that UTF-8 can hold: bytes of other encodings become `\\xNN`."""
    data = name.encode("utf-8", "surrogateescape" if _is_escaped(name) else "replace")
    return data.decode("utf-8", "backslashreplace").replace("\0", "")


def _is_escaped(name: str) -> bool:
    return all(not "\ud800" <= c <= "\udfff" or "\udc80" <= c <= "\udcff" for c in name)


def is_hidden(name: str) -> bool:
    """Whether a member, or a folder around it, is one that programs leave behind for themselves."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
