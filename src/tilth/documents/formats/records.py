"""Records: JSON Lines and JSON. One object, one document; Parquet rows go the same way.

The text stands in the column that was asked for, else in the first of `TEXT_COLUMNS` that is
there. A column of HTML, by its name or by its first letters, goes through the HTML reader. Other
columns that hold one value go to the metadata, those of an object `metadata` too; lists, objects
and texts of more than `LONG` characters are left out. What the reader notes stands apart, in
`metadata.reader`, since a column may have any name: `left_out` (the columns), `damage`,
`line_ends`. A column `reader` becomes `reader_`.

A record's position is the number of its line (or item, or row) in the whole file, from 0, so it
does not depend on where a large file was cut.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from tilth.documents.document import Problem
from tilth.documents.formats import html
from tilth.documents.formats.code import read as read_code
from tilth.documents.formats.common import (
    MAX_DOCUMENT_BYTES,
    Piece,
    Refused,
    option,
    read_all,
    read_each_line,
)
from tilth.documents.formats.decode import decode, unify_line_ends, without_surrogates
from tilth.documents.formats.magic import looks_like_html
from tilth.errors import MissingExtra
from tilth.sandbox.child import StartError

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

TEXT_COLUMNS = ("text", "content", "raw_content", "body", "html", "raw_html")
HTML_COLUMNS = frozenset(("html", "raw_html"))
LONG = 10_000
READER = "reader"
_Found = TypeVar("_Found")


def text_column(asked: str | None, columns: Mapping[str, Any]) -> str:
    """The column of `columns` that holds the text: the one asked for, or the first that is known.

    Raises Refused, with the columns that there are, where none of these is a str.
    """
    for name in (asked,) if asked else TEXT_COLUMNS:
        if isinstance(columns.get(name), str):
            return name
    there = ", ".join(sorted(columns)[:20]) or "none"
    what = f"no text in a column {asked!r}" if asked else "no column holds the text"
    raise Refused("no text column", f"{what}; columns: {there}; name one by text_column")


def piece_of(unit: Unit, record: Mapping[str, Any], position: int, raw: bytes) -> Piece:
    """A record as a document. Raises Refused where it has no text that can be read."""
    column = text_column(option(unit, "text_column"), record)
    text, lone = without_surrogates(record[column])
    metadata, notes = _other_columns(record, column)
    form = "record"
    if column in HTML_COLUMNS or looks_like_html(text):
        form = "html"
        text, found = html.parse(text.encode("utf-8"), "utf-8")
        for name, value in found.items():
            taken = name == "damage" or metadata.get(name) is not None
            (notes if taken else metadata)[name] = value
    text, line_ends = unify_line_ends(text)
    if line_ends != "lf":
        notes["line_ends"] = line_ends
    add_damage(notes, lone)
    limit = option(unit, "max_document_bytes", MAX_DOCUMENT_BYTES)
    if len(raw) > limit:
        raise Refused("too large", f"more than {limit} bytes")
    return Piece(raw, text, metadata, position, form, notes)


def add_damage(notes: dict[str, Any] | None, count: int) -> None:
    """Count further characters that could not be decoded."""
    if notes is not None and count:
        notes["damage"] = notes.get("damage", 0) + count


def key_of(column: str) -> str:
    """The column's name in the metadata: its own, unless the reader's notes stand there."""
    return column + "_" if column.rstrip("_") == READER else column


def one_record(
    unit: Unit, place: str, position: int, make: Callable[[], _Found]
) -> _Found | Problem:
    """What `make` gives, or a Problem: a record that cannot be read costs only itself."""
    try:
        return make()
    except Refused as refused:
        return Problem(unit.source, refused.reason, place + refused.detail, position)
    except (StartError, MissingExtra, OSError, MemoryError):  # of the machine, not of the record
        raise
    except Exception as error:
        detail = f"{place}{type(error).__name__}: {error}"
        return Problem(unit.source, "damaged", detail[:300], position)


def _other_columns(record: Mapping[str, Any], column: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(metadata, the reader's notes)."""
    metadata: dict[str, Any] = {}
    left_out = []
    columns = dict(record)
    inner = columns.get("metadata")
    if isinstance(inner, dict):
        del columns["metadata"]
        columns = {**inner, **columns}
    for name, value in columns.items():
        if name == column:
            continue
        if isinstance(value, (list, dict)) or (isinstance(value, str) and len(value) > LONG):
            left_out.append(name)
        else:
            metadata[key_of(name)] = value
    return metadata, {"left_out": sorted(left_out)} if left_out else {}


def read_lines(unit: Unit, stream: BinaryIO) -> Iterator[Piece | Problem]:
    """JSON Lines: a document for each line; blank lines are passed over, bad ones listed."""
    first = option(unit, "first_line", 0)
    found = False
    for number, line in enumerate(read_each_line(unit, stream), start=first):
        if line is not None:
            if number == 0:
                line = line.removeprefix(b"\xef\xbb\xbf")
            line = line.strip(b" \t\r\n")
            if not line:
                continue
        found = True
        make = functools.partial(_piece_of_line, unit, line, number)
        yield one_record(unit, f"line {number + 1}: ", number, make)
    # A whole file of blank lines is listed; a part of a file may be blank.
    if not found and unit.start == 0 and unit.stop == os.path.getsize(unit.path):
        yield Problem(unit.source, "empty", "no record")


def _piece_of_line(unit: Unit, line: bytes | None, number: int) -> Piece:
    if line is None:
        raise Refused("too large", "longer than max_line_bytes")
    record, damage = _parse(line)
    piece = piece_of(unit, record, number, line)
    add_damage(piece.notes, damage)
    return piece


def _parse(data: bytes) -> tuple[dict[str, Any], int]:
    """(the object, damage). Raises Refused where it is not one JSON object."""
    text, encoding, damage = decode(data, "utf-8")
    if encoding != "utf-8":
        raise Refused("encoding", f"JSON must be UTF-8, not {encoding}")
    try:
        record = json.loads(text)
    except ValueError as error:
        raise Refused("damaged", f"not JSON: {error}") from None
    except RecursionError:
        raise Refused("damaged", "JSON that is nested too deeply") from None
    if not isinstance(record, dict):
        raise Refused("damaged", f"a JSON {type(record).__name__}, not an object")
    return record, damage


def require_text(asked: str | None, records: Iterable[Mapping[str, Any]]) -> None:
    """Raises Refused where none of the records has a text: one problem says more than thousands."""
    first = None
    for record in records:
        try:
            text_column(asked, record)
            return
        except Refused as refused:
            first = first or refused
    if first is not None:
        raise first


def first_records(head: bytes) -> Iterator[dict[str, Any]]:
    """The objects among the whole lines of a JSON Lines file's first bytes."""
    for line in head.split(b"\n")[:-1]:
        with contextlib.suppress(Refused):
            yield _parse(line.removeprefix(b"\xef\xbb\xbf").strip())[0]


def read_json(unit: Unit, stream: BinaryIO) -> Iterator[Piece | Problem]:
    """A list of objects: a document for each; one object: one document.

    Other JSON, and one object without a text, is data or configuration: it is read as code.
    """
    data = read_all(unit, stream)
    text, _, damage = decode(data)
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Refused("damaged", f"not JSON: {error}") from None
    except RecursionError:
        raise Refused("damaged", "JSON that is nested too deeply") from None
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        require_text(option(unit, "text_column"), value)
        for number, item in enumerate(value):
            make = functools.partial(_piece_of_item, unit, item, number)
            yield one_record(unit, f"item {number + 1}: ", number, make)
        return
    if isinstance(value, dict):
        try:
            piece = piece_of(unit, value, 0, data)
        except Refused as refused:
            if refused.reason != "no text column" or option(unit, "text_column"):
                raise
        else:
            add_damage(piece.notes, damage)
            yield piece
            return
    yield from read_code(unit, io.BytesIO(data))


def _piece_of_item(unit: Unit, item: dict[str, Any], number: int) -> Piece:
    return piece_of(unit, item, number, json.dumps(item, sort_keys=True).encode("ascii"))


def line_parts(stream: BinaryIO, part_bytes: int) -> Iterator[tuple[int, int, int, str]]:
    """Cut JSON Lines at line ends: (start, stop, first line, SHA-256) of parts of >= part_bytes.

    A pure function of the content: what is added at the end changes the last part only.
    """
    start = position = first = lines = 0
    state = hashlib.sha256()
    while data := stream.read(1 << 20):
        at = 0
        while at < len(data):
            # The first line end that makes the part long enough, if it is here.
            end = data.find(b"\n", at + max(0, start + part_bytes - 1 - position))
            stop = end + 1 if end >= 0 else len(data)
            state.update(memoryview(data)[at:stop])
            lines += data.count(b"\n", at, stop)
            position += stop - at
            at = stop
            if end >= 0:
                yield start, position, first, state.hexdigest()
                start, first, state = position, lines, hashlib.sha256()
    if position > start:
        yield start, position, first, state.hexdigest()
