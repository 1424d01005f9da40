"""CSV and TSV: rows in the child. The dialect is found by trial, records by the csv module.

The file is parsed as Latin-1, which keeps every byte; each row is then decoded as a text file would
be. Files with a byte order mark of UTF-16 or UTF-32 are turned to UTF-8 first.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

from tilth.documents.containers.frames import Frame
from tilth.documents.formats.child_limits import cpu_limited
from tilth.documents.formats.common import Refused
from tilth.documents.formats.decode import REPLACEMENT, decode, mark_of

SAMPLE_BYTES = 1 << 16
SAMPLE_ROWS = 200
MAX_COLUMNS = 10_000
MAX_HEADER_BYTES = 1_000_000
ROWS_IN_FRAME = 256
FRAME_BYTES = 1_000_000
DELIMITERS = {"csv": ",;\t|", "tsv": "\t"}

# (delimiter, quote or "", escape or "")
Dialect = tuple[str, str, str]


class _TooLong(Exception):
    pass


class _Lines:
    """Lines of a stream for the csv module; raises _TooLong where a record grows too long."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._text = io.TextIOWrapper(stream, "latin-1", newline="")
        self._limit = limit
        self.record_bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._limit + 1)
        if not line:
            raise StopIteration
        self.record_bytes += len(line)
        if self.record_bytes > self._limit:
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(1 << 20)
                self.record_bytes += len(line)
            raise _TooLong
        return line


def reader_of(lines: Any, dialect: Sequence[str]) -> Any:
    """A csv reader; cells are as in the file, blanks and all."""
    delimiter, quote, escape = dialect
    return csv.reader(
        lines,
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape or None,
        doublequote=not escape,
    )


class Records:
    """(bytes, cells) of each record; None instead of cells where it is longer than the limit.

    While `alone` is true, each line is a record: nothing is known of quotes that may be open.
    """

    def __init__(self, stream: BinaryIO, dialect: Sequence[str], limit: int) -> None:
        csv.field_size_limit(limit)
        self._lines, self._dialect = _Lines(stream, limit), dialect
        self._reader = reader_of(self._lines, dialect)
        self.alone = False

    def __iter__(self) -> Records:
        return self

    def __next__(self) -> tuple[int, list[str] | None]:
        self._lines.record_bytes = 0
        cells: list[str] | None
        try:
            if self.alone:
                line = next(self._lines)
                is_open = self._dialect[1] and line.count(self._dialect[1]) % 2
                cells = None if is_open else next(reader_of([line], self._dialect))
            else:
                cells = next(self._reader)
        except (_TooLong, csv.Error):
            cells = None
        return self._lines.record_bytes, cells


def utf_8_stream(stream: BinaryIO) -> tuple[BinaryIO, str, int]:
    """(the stream behind its mark, the encoding that a mark names or "", length of the mark)."""
    head = stream.peek(4)[:4]  # type: ignore[attr-defined]
    encoding, size = mark_of(head)
    stream.read(size)
    if encoding is None or encoding == "utf-8":
        return stream, "", size
    return cast(BinaryIO, io.BufferedReader(_Transcoded(stream, encoding))), encoding, size


class _Transcoded(io.RawIOBase):
    """UTF-8 from another encoding; what does not fit becomes U+FFFD."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._stream, self._left = stream, b""
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left and not self._over:
            data = self._stream.read(1 << 16)
            self._over = not data
            self._left = self._decoder.decode(data, self._over).encode("utf-8", "replace")
        part, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def dialect_of(sample: bytes, form: str) -> Dialect:
    """The dialect under which most rows of the sample have as many cells as the first one.

    The first of equals wins: comma before others, quoted before not (in TSV the other way round).
    """
    quotes = [('"', ""), ("", "")] if form == "csv" else [("", ""), ('"', "")]
    if b'\\"' in sample:
        quotes.insert(1, ('"', "\\"))
    best, best_score = (DELIMITERS[form][0], *quotes[0]), -1.0
    for delimiter in DELIMITERS[form]:
        for quote, escape in quotes:
            rows = _sample_rows(sample, (delimiter, quote, escape))
            width = len(rows[0]) if rows else 0
            fitting = sum(len(row) == width for row in rows) / max(len(rows), 1)
            score = fitting + (width > 1)
            if score > best_score + 1e-9:
                best, best_score = (delimiter, quote, escape), score
    return best


def _sample_rows(sample: bytes, dialect: Dialect) -> list[list[str]]:
    lines = sample.decode("latin-1").splitlines(keepends=True)
    rows = []
    try:
        for row in reader_of(iter(lines), dialect):
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    # The last row may be cut, or an open quote may have swallowed the rest.
    return rows[:-1] if len(rows) > 1 and len(sample) >= SAMPLE_BYTES else rows


def header_of(cells: list[str]) -> list[str]:
    """Names for columns: none empty, none twice."""
    names: dict[str, None] = {}
    given: dict[str, int] = {}
    for number, cell in enumerate(cells, start=1):
        name = base = decode(cell.encode("latin-1"))[0].strip() or f"column_{number}"
        while name in names:
            given[base] = given.get(base, 1) + 1
            name = f"{base}_{given[base]}"
        names[name] = None
    return list(names)


class _Table:
    """A table that was opened: its dialect and columns, and what follows them."""

    def __init__(self, job: dict[str, Any], stream: BinaryIO, form: str) -> None:
        self.row, self.skipped = job.get("first_row", 0), 0
        self.encoding = ""
        limit = job["max_line_bytes"]
        if "columns" in job:
            self.columns, self.dialect = job["columns"], job["dialect"]
            self.records = Records(stream, self.dialect, limit)
            return
        stream = cast(BinaryIO, io.BufferedReader(cast(Any, stream), SAMPLE_BYTES))
        stream, self.encoding, self.skipped = utf_8_stream(stream)
        stream = cast(BinaryIO, io.BufferedReader(_Filled(stream), SAMPLE_BYTES))
        sample: bytes = stream.peek(SAMPLE_BYTES)  # type: ignore[attr-defined]
        self.dialect = dialect_of(sample, form)
        self.records = Records(stream, self.dialect, limit)
        for size, cells in self.records:
            self.skipped += size
            if cells is None or len(cells) > MAX_COLUMNS or size > MAX_HEADER_BYTES:
                raise Refused("damaged", "its first row is no row of column names")
            if cells:
                self.columns = header_of(cells)
                return
        raise Refused("empty", "no row")


class _Filled(io.RawIOBase):
    """Fills each buffer as far as it goes, so that a look at the beginning shows all of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def frames(job: dict[str, Any], stream: BinaryIO, form: str) -> Iterator[Frame | None]:
    """A frame `columns`, then `rows`: a JSON line [row, cells, encoding, damage] for each."""
    table = _Table(job, stream, form)
    width = len(table.columns)
    yield {"kind": "columns", "columns": table.columns, "encoding": table.encoding}, b""
    waiting: list[bytes] = []
    size = lost = 0
    for bytes_, cells in table.records:
        number = table.row
        table.row += 1
        if cells is None or (table.records.alone and len(cells) != width):
            # Behind a record that was too long, nothing is believed until a row fits again.
            lost += bytes_
            table.records.alone = True
            yield None
            continue
        if lost:
            yield from _rows(waiting)
            waiting, size = [], 0
            yield _lost(number - 1, lost)
            lost, table.records.alone = 0, False
        if not cells:
            continue
        line = _json([number, *_decoded(cells, table.encoding)])
        waiting.append(line)
        size += len(line)
        if len(waiting) >= ROWS_IN_FRAME or size >= FRAME_BYTES:
            yield from _rows(waiting)
            waiting, size = [], 0
    yield from _rows(waiting)
    if lost:
        yield _lost(table.row - 1, lost)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _rows(lines: list[bytes]) -> Iterator[Frame]:
    if lines:
        yield {"kind": "rows"}, b"\n".join(lines)


def _lost(row: int, size: int) -> Frame:
    detail = f"row {row + 1}: longer than max_line_bytes; {size} bytes passed over"
    return {"kind": "problem", "reason": "too large", "detail": detail, "position": row}, b""


def _decoded(cells: list[str], encoding: str) -> tuple[list[str], str, int]:
    """(cells, encoding, damage) of a row that was read as Latin-1."""
    text = "".join(cells)
    if text.isascii():
        return cells, encoding, 0
    raw = text.encode("latin-1")
    _, found, _ = decode(raw, "utf-8" if encoding else None)
    damage = 0
    result = []
    for cell in cells:
        if not cell.isascii():
            cell, _, count = decode(cell.encode("latin-1"), found)
            damage += count
        result.append(cell)
    if encoding:
        damage = sum(cell.count(REPLACEMENT) for cell in result)
    return result, encoding or ("" if found == "utf-8" else found), damage


@cpu_limited
def parts(data: bytes, *, job: dict[str, Any]) -> dict[str, Any]:
    """Where a large table may be cut: only between records, as they are read.

    {columns, dialect, parts: [[start, stop, first row]]}; no part where it cannot be cut.
    """
    limit = job["max_line_bytes"]
    with open(job["path"], "rb") as file:
        if mark_of(file.read(4))[0] not in (None, "utf-8"):
            return {"parts": []}
        file.seek(0)
        table = _Table({"max_line_bytes": limit}, file, job["format"])
        found: list[list[int]] = []
        start = position = table.skipped
        first = 0
        for row, (size, cells) in enumerate(table.records):
            if cells is None:
                return {"parts": []}
            if position - start >= job["part_bytes"]:
                found.append([start, position, first])
                start, first = position, row
            position += size
        if position > start:
            found.append([start, position, first])
    return {"columns": table.columns, "dialect": list(table.dialect), "parts": found}
