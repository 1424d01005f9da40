"""gzip and zstd, unpacked while they are read, with limits on what comes out.

Both stay in the reading process: they are streamed, each read gives at most what was asked for,
and the memory behind it is that of the window (gzip 32 KB, zstd at most `MAX_WINDOW`).
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

from tilth.documents.formats import common
from tilth.documents.formats.common import Refused

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# What the format asks every reader to manage is 8 MB; `zstd --long` writes 128 MB.
MAX_WINDOW = 1 << 27
# Endings of compressed files, and what is left of the name without them.
ENDINGS = {".gz": "", ".zst": "", ".tgz": ".tar", ".tzst": ".tar"}


def compression_of(head: bytes) -> str | None:
    """`gzip` or `zstd`, by the first bytes; None for neither."""
    if head.startswith(GZIP):
        return "gzip"
    return "zstd" if head.startswith(ZSTD) else None


def name_of_content(name: str) -> str:
    """What a file is called once it is unpacked. Some programs unpack a file and leave its name."""
    for ending, rest in ENDINGS.items():
        if name.lower().endswith(ending):
            return name[: -len(ending)] + rest
    return name


def unpacked(file: BinaryIO, compression: str | None, size: int) -> BinaryIO:
    """The content of a stream of `size` bytes; raises Refused where it grows too much or breaks."""
    if compression is None:
        return file
    kind = Gunzip if compression == "gzip" else Unzstd
    return cast(BinaryIO, io.BufferedReader(kind(file, size), 1 << 18))


class _Unpacked(io.RawIOBase):
    """Counts what comes out. What is whole before a damage is given first, so that it is read."""

    kind = ""

    def __init__(self, size: int) -> None:
        self._limit = max(common.FREE_BYTES, common.MAX_RATIO * size)
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        if self._read > self._limit:
            what = f"{self.kind}: more than {self._limit} bytes from a small file"
            raise Refused("too large", what)
        return len(data)

    def _next(self, size: int) -> bytes:
        raise NotImplementedError


class Gunzip(_Unpacked):
    """A gzip file's content."""

    kind = "gzip"

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(size)
        self._file = gzip.GzipFile(fileobj=file, mode="rb")

    def _next(self, size: int) -> bytes:
        try:
            return self._file.read1(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Refused("damaged", f"gzip: {error}") from None


class Unzstd(_Unpacked):
    """A zstd file's content: frames one after the other."""

    kind = "zstd"

    def __init__(self, file: BinaryIO, size: int) -> None:
        import zstandard

        super().__init__(size)
        self._frames = ZstdFrames(file)
        self._error = zstandard.ZstdError
        self._reader = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
            cast(BinaryIO, self._frames), read_across_frames=True
        )

    def _next(self, size: int) -> bytes:
        try:
            data = self._reader.read(size)
        except self._error as error:
            raise Refused("damaged", f"zstd: {error}") from None
        # The library takes the end of the file for the end of the content.
        if not data and not self._frames.is_whole:
            raise Refused("damaged", "zstd: the file ends before its content does")
        return data


class ZstdFrames:
    """Passes a zstd file on and follows its frames and blocks: is it whole? (RFC 8878, 3.1)."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._state, self._wanted = "magic", 4
        self._field = b""
        self._skip = 0
        self._checksum = 0

    @property
    def is_whole(self) -> bool:
        """Whether what was read so far ends where a frame ends."""
        return self._state == "magic" and not self._field and not self._skip

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            part = data[position : position + self._wanted - len(self._field)]
            position += len(part)
            self._field += part
            if len(self._field) == self._wanted:
                number, self._field = int.from_bytes(self._field, "little"), b""
                self._take(number)
        return data

    def _take(self, number: int) -> None:
        if self._state == "magic":
            skippable = number >> 4 == 0x184D2A5
            self._go("skippable", 4) if skippable else self._go("descriptor", 1)
        elif self._state == "skippable":
            self._skip = number
            self._go("magic", 4)
        elif self._state == "descriptor":
            single = number >> 5 & 1
            content_size = (single, 2, 4, 8)[number >> 6]
            self._skip = (1 - single) + (0, 1, 2, 4)[number & 3] + content_size
            self._checksum = 4 * (number >> 2 & 1)
            self._go("block", 3)
        else:
            # A block that repeats one byte holds only that byte.
            self._skip = 1 if number >> 1 & 3 == 1 else number >> 3
            if number & 1:
                self._skip += self._checksum
                self._go("magic", 4)

    def _go(self, state: str, wanted: int) -> None:
        self._state, self._wanted = state, wanted
