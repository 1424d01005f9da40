"""The child's side of a walk: what comes next in a file, at any depth.

The walk is a generator of frames that lives from call to call. Where the child was replaced, the
walk begins anew and passes over the frames that were handed over before: it is a pure function of
the file.
"""

from __future__ import annotations

import io
import itertools
import lzma
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import TarError
from typing import Any, BinaryIO, cast

from tilth.documents.containers import csv_rows, tar_members, warc_records, zip_members
from tilth.documents.containers.budget import (
    MAX_DEPTH,
    Budget,
    Exhausted,
    Metered,
    buffered,
)
from tilth.documents.containers.frames import Frame, answer, pack
from tilth.documents.formats import EXTENSIONS
from tilth.documents.formats.child_limits import cpu_limited
from tilth.documents.formats.common import Refused, Slice
from tilth.documents.formats.compression import compression_of, name_of_content, unpacked
from tilth.documents.formats.decode import mark_of
from tilth.documents.formats.magic import magic_of

# An answer ends when it has grown to so much, or has taken so long.
ANSWER_BYTES = 4_000_000
ANSWER_SECONDS = 1.0
HEAD_BYTES = 1 << 13
CHUNK_BYTES = 1 << 18
# Formats with a limit on their lines, not on the file.
LINES = (".jsonl", ".ndjson", ".json")
# What the libraries raise for damaged bytes.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, TarError, EOFError, OSError, ValueError,
          KeyError, IndexError, OverflowError, NotImplementedError, RuntimeError)  # fmt: skip


@dataclass
class _Walk:
    token: str
    done: int
    frames: Iterator[Frame | None]


_current: _Walk | None = None


@cpu_limited
def advance(data: bytes, *, job: dict[str, Any], done: int) -> bytes:
    """The child's function: the next frames of a walk after the first `done` ones."""
    global _current
    if _current is None or (_current.token, _current.done) != (job["token"], done):
        frames = walk(job)
        for _ in itertools.islice(frames, done):
            pass
        _current = _Walk(job["token"], done, frames)
    found: list[bytes] = []
    size, end, over = 0, time.process_time() + ANSWER_SECONDS, True
    for frame in _current.frames:
        _current.done += 1
        if frame is not None:
            found.append(pack(frame))
            size += len(found[-1])
        if size >= ANSWER_BYTES or time.process_time() > end:
            over = False
            break
    done = _current.done
    if over:
        _current = None
    return answer(done, over, found)


def walk(job: dict[str, Any]) -> Iterator[Frame | None]:
    """All frames of a file; None stands where something was passed over, so that time is seen."""
    try:
        with open(job["path"], "rb") as file:
            size = job["stop"] - job["start"]
            budget = Budget(size)
            stream: BinaryIO = file
            if job["format"] != "zip" or job.get("compression"):
                piece = cast(BinaryIO, io.BufferedReader(Slice(file, job["start"], job["stop"])))
                stream = unpacked(piece, job.get("compression"), size)
            yield from Walker(job, budget).content(job["format"], stream, job["source"], 1)
    except Refused as refused:
        yield {"kind": "refused", "reason": refused.reason, "detail": refused.detail}, b""
    except OSError as error:
        number, detail = error.errno, error.strerror or ""
        yield {"kind": "error", "number": number, "detail": detail}, b""


def problem(source: str, reason: str, detail: str = "", position: int = 0) -> Frame:
    return {
        "kind": "problem", "source": source, "reason": reason, "detail": detail,
        "position": position,
    }, b""  # fmt: skip


class Walker:
    """Frames of content of any kind; `job` holds the settings of the unit."""

    def __init__(self, job: dict[str, Any], budget: Budget) -> None:
        self.job, self.budget = job, budget

    def content(
        self, form: str, stream: BinaryIO, source: str, depth: int
    ) -> Iterator[Frame | None]:
        """What lies in a file that is walked through."""
        if form == "zip":
            return zip_members.members(self, stream, source, depth)
        if form == "tar":
            return tar_members.members(self, stream, source, depth)
        if form == "warc":
            return warc_records.records(self.job, stream)
        return csv_rows.frames(self.job, stream, form)

    def member(
        self, stream: Any, source: str, name: str, size: int, limit: int | None, depth: int
    ) -> Iterator[Frame | None]:
        """One member: its bytes, its rows or records, or what lies in it; `size` packed."""
        opened = False
        source = self.budget.name(f"{source}!{name}")
        try:
            content = buffered(Metered(stream, self.budget, limit))
            if compression := compression_of(_head(content)):
                content = buffered(Metered(unpacked(content, compression, size), self.budget))
                name = name_of_content(name)
            form = _walked(name, _head(content))
            if form in ("zip", "tar"):
                if depth >= MAX_DEPTH:
                    raise Refused("parser limit", f"archives in {MAX_DEPTH} archives")
                yield from self.content(form, content, source, depth + 1)
                return
            opened = True
            yield {"kind": "open", "source": source, "name": name, "format": form}, b""
            if form:
                yield from self.content(form, content, source, depth)
            else:
                yield from self._bytes(content, name)
            yield {"kind": "close"}, b""
        except Exhausted as refused:
            yield _failed(opened, source, refused.reason, refused.detail)
            raise
        except Refused as refused:
            yield _failed(opened, source, refused.reason, refused.detail)
        except MemoryError:
            yield _failed(opened, source, "parser limit", "needs too much memory")
        except DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk, not of the member
            detail = str(error) or "its content breaks off"
            yield _failed(opened, source, "damaged", detail[:300])

    def _bytes(self, content: BinaryIO, name: str) -> Iterator[Frame]:
        limit = self.job["max_document_bytes"]
        size = 0
        while data := content.read(CHUNK_BYTES):
            size += len(data)
            if size > limit and not name.lower().endswith(LINES):
                raise Refused("too large", f"more than {limit} bytes")
            yield {"kind": "data"}, data


def _head(content: BinaryIO) -> bytes:
    head: bytes = content.peek(HEAD_BYTES)[:HEAD_BYTES]  # type: ignore[attr-defined]
    return head


def _failed(opened: bool, source: str, reason: str, detail: str) -> Frame:
    if opened:
        return {"kind": "close", "reason": reason, "detail": detail}, b""
    return problem(source, reason, detail)


def _walked(name: str, head: bytes) -> str:
    """The format, if it is one that is walked through; else ""."""
    told = magic_of(head)
    if told in ("zip", "tar", "warc"):
        return told
    stem, dot, extension = name.rpartition("/")[2].lower().rpartition(".")
    form = EXTENSIONS.get(dot + extension) if stem else None
    is_text = mark_of(head)[0] is not None or b"\0" not in head
    return form if form in ("csv", "tsv", "warc") and head and is_text else ""
