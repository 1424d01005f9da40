"""From paths to units of work: what is read, in which format, in which pieces.

A unit is what one worker reads at a time: a file, some lines of a large JSON Lines file, some rows
of a large CSV file, some row groups of a large Parquet file. Planning reads every file once, for
its digest; a unit's options and digest say all that its documents depend on, apart from the version
of the readers.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tilth.documents.document import Problem
from tilth.documents.formats import RECORDS, WALKED
from tilth.documents.formats.common import MAX_DOCUMENT_BYTES, MAX_LINE_BYTES, Refused, Slice
from tilth.documents.formats.compression import compression_of, name_of_content, unpacked
from tilth.documents.formats.records import first_records, line_parts, require_text
from tilth.documents.sniff import HEAD_BYTES, format_of
from tilth.documents.walk import Found, find
from tilth.errors import UsageError, nearest
from tilth.types import Progress, silent

PART_BYTES = 8_000_000
# What of a page becomes text.
HTML = ("text", "article")


@dataclass(frozen=True)
class Unit:
    """A piece of work, small and picklable.

    path: the file, absolute; never part of a result. source: what the file is called. size: bytes
    of the piece. sha256: of the bytes that the piece covers. start, stop: bytes of a file (JSON
    Lines), row groups (Parquet), else the whole. part: number of the piece in its file. group: of
    its documents, "" where each record is a group of its own. options: (name, JSON value), sorted.
    """

    path: str
    source: str
    size: int
    sha256: str
    format: str
    start: int
    stop: int
    part: int
    group: str
    options: tuple[tuple[str, Any], ...] = ()


def plan(
    paths: Sequence[str | Path] | str | Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    part_bytes: int = PART_BYTES,
    text_column: str | None = None,
    group_by: str | None = None,
    html: str = "text",
    max_document_bytes: int = MAX_DOCUMENT_BYTES,
    max_line_bytes: int = MAX_LINE_BYTES,
    progress: Progress = silent,
) -> tuple[list[Unit], list[Problem]]:
    """Units of all files below `paths`, by source, and what cannot be read, with reasons.

    Folders are read with all that is in them, see `walk.py` for names, globs, hidden files and
    links. `text_column` names the text of records, `group_by` a key of the metadata whose equal
    values are never parted by a split. `html` is "text" (all that a reader of a page would see) or
    "article" (its main text, by trafilatura). Files that are one document and records of more than
    `max_document_bytes`, and lines of more than `max_line_bytes`, are listed, not cut. Raises
    UsageError for a path that does not exist; never for what is in a file.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    if html not in HTML:
        raise UsageError(f"html cannot be {html!r}", hint=nearest(html, HTML))
    settings: dict[str, Any] = {"text_column": text_column or None, "group_by": group_by or None}
    if max_document_bytes != MAX_DOCUMENT_BYTES:
        settings["max_document_bytes"] = max_document_bytes
    if max_line_bytes != MAX_LINE_BYTES:
        settings["max_line_bytes"] = max_line_bytes
    if html != "text":
        settings["html"] = html
    options = {name: value for name, value in settings.items() if value is not None}
    files, problems = find(paths, include, exclude)
    units: list[Unit] = []
    for done, file in enumerate(files, start=1):
        try:
            units.extend(_units(file, options, part_bytes, max_document_bytes))
        except Refused as refused:
            problems.append(Problem(file.source, refused.reason, refused.detail))
        except OSError as error:
            problems.append(Problem(file.source, "unreadable", error.strerror or ""))
        progress("list", done, len(files))
    return units, sorted(problems, key=lambda problem: problem.source)


def _units(
    file: Found, options: dict[str, Any], part_bytes: int, max_document_bytes: int
) -> Iterator[Unit]:
    with open(file.path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        head = stream.read(HEAD_BYTES)
        if not head:
            raise Refused("empty")
        name = name_of_content(file.source)
        compression = compression_of(head)
        if compression is not None:
            head = _head_of_content(stream, compression)
            options = {**options, "compression": compression}
        form = format_of(name, head)
        group = "" if form in RECORDS else file.source
        if form == "parquet":
            if compression is not None:
                raise Refused("unknown format", f"Parquet inside {compression}: unpack it first")
            yield from _parquet_units(file, group, options, part_bytes)
            return
        if form == "jsonl":
            require_text(options.get("text_column"), first_records(head))
        stream.seek(0)
        if form == "jsonl" and compression is None:
            yield from _line_units(file, stream, group, options, part_bytes)
            return
        if form in ("csv", "tsv") and compression is None and size > part_bytes:
            found = _table_units(file, stream, form, options, part_bytes)
            if found:
                yield from found
                return
            stream.seek(0)
        # What is streamed has a limit on each record or member.
        if form != "jsonl" and form not in WALKED and size > max_document_bytes:
            raise Refused("too large", f"{size} bytes, more than {max_document_bytes}")
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    yield Unit(
        file.path, file.source, size, sha256, form, 0, size, 0, group, _sorted(options)
    )  # fmt: skip


def _head_of_content(stream: BinaryIO, compression: str) -> bytes:
    """The first bytes of the content; of a damaged file what there is."""
    stream.seek(0)
    head = b""
    try:
        content = unpacked(stream, compression, HEAD_BYTES)
        while len(head) < HEAD_BYTES and (data := content.read1(HEAD_BYTES - len(head))):  # type: ignore[attr-defined]
            head += data
    except Refused:
        if not head:
            raise
    if not head:
        raise Refused("empty")
    return head


def _table_units(
    file: Found, stream: BinaryIO, form: str, options: dict[str, Any], part_bytes: int
) -> list[Unit]:
    """Units of a large table, cut between records; none where it cannot be cut."""
    from tilth.documents.containers.walking import parts_of_table

    found = parts_of_table(file.path, part_bytes, {**options, "format": form})
    units = []
    for part, (start, stop, row) in enumerate(found["parts"]):
        stream.seek(start)
        piece = cast(BinaryIO, Slice(stream, start, stop))
        place = {
            **options, "columns": found["columns"], "dialect": found["dialect"], "first_row": row,
        }  # fmt: skip
        sha256 = hashlib.file_digest(cast(Any, io.BufferedReader(cast(Any, piece))), "sha256")
        units.append(
            Unit(
                file.path, file.source, stop - start, sha256.hexdigest(), form, start, stop, part,
                "", _sorted(place),
            )
        )  # fmt: skip
    return units


def _line_units(
    file: Found, stream: BinaryIO, group: str, options: dict[str, Any], part_bytes: int
) -> Iterator[Unit]:
    for part, (start, stop, line, sha256) in enumerate(line_parts(stream, part_bytes)):
        place = {**options, "first_line": line} if line else options
        yield Unit(
            file.path, file.source, stop - start, sha256, "jsonl", start, stop, part, group,
            _sorted(place),
        )  # fmt: skip


def _parquet_units(
    file: Found, group: str, options: dict[str, Any], part_bytes: int
) -> Iterator[Unit]:
    from tilth.documents.formats.parquet import row_group_parts

    parts = enumerate(row_group_parts(file.path, part_bytes, options.get("text_column")))
    for part, (start, stop, size, sha256) in parts:
        yield Unit(
            file.path, file.source, size, sha256, "parquet", start, stop, part, group,
            _sorted(options),
        )  # fmt: skip


def _sorted(options: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(options.items()))
