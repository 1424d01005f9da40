"""The reading process's side of a walk: asks the child for more frames as they are needed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tilth.documents.containers.frames import Frame, unpack
from tilth.documents.formats.common import (
    MAX_DOCUMENT_BYTES,
    MAX_LINE_BYTES,
    Refused,
)
from tilth.documents.formats.parser import PerThread, ask

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

# Cutting a large table reads all of it in one call.
PARTS_SECONDS = 900.0

_walker = PerThread("tilth.documents.containers.walk:advance")
_cutter = PerThread("tilth.documents.containers.csv_rows:parts")
_tokens = itertools.count()


class Frames:
    """The frames of a unit as the child finds them.

    Raises Refused where the walk cannot go on, then `broken` is true; OSError for the file.
    """

    def __init__(self, unit: Unit) -> None:
        self._iterator = self._of(unit)
        self.broken = False

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> Frame:
        return next(self._iterator)

    def _of(self, unit: Unit) -> Iterator[Frame]:
        job = {
            "token": f"{os.getpid()} {next(_tokens)}",
            "path": unit.path,
            "source": unit.source,
            "format": unit.format,
            "start": unit.start,
            "stop": unit.stop,
            **settings(dict(unit.options)),
        }
        done, over = 0, False
        while not over:
            try:
                data = ask(_walker(), b"", job=job, done=done)
            except Refused as refused:
                self.broken = True
                detail = refused.detail.replace(unit.path, unit.source)
                raise Refused(refused.reason, detail) from None
            done, over, frames = unpack(data)
            for header, body in frames:
                if header["kind"] == "error":
                    raise OSError(header["number"], header["detail"])
                if header["kind"] == "refused":
                    self.broken = True
                    raise Refused(header["reason"], header["detail"])
                yield header, body


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a unit that a walk depends on, all said."""
    limits = {"max_document_bytes": MAX_DOCUMENT_BYTES, "max_line_bytes": MAX_LINE_BYTES}
    names = ("compression", "columns", "dialect", "first_row", *limits)
    return {**limits, **{name: options[name] for name in names if name in options}}


def content_of(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The frames of the member that was opened, up to its end. Raises Refused if it is broken."""
    for header, body in frames:
        if header["kind"] == "close":
            if "reason" in header:
                raise Refused(header["reason"], header["detail"])
            return
        yield header, body


def parts_of_table(path: str, part_bytes: int, options: dict[str, Any]) -> dict[str, Any]:
    """Where a large table may be cut, see `csv_rows.parts`."""
    job = {"path": path, "part_bytes": part_bytes, **settings(options), **options}
    found: dict[str, Any] = ask(_cutter(), b"", cpu=PARTS_SECONDS, job=job)
    return found
