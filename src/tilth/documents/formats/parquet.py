"""Parquet: a row, a document. Row groups are streamed; only columns of one value are read."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tilth.documents.document import Problem
from tilth.documents.formats.common import Piece, Refused, is_of_the_file, option
from tilth.documents.formats.decode import decode
from tilth.documents.formats.records import add_damage, one_record, piece_of, text_column

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit

BATCH_ROWS = 64
# A row group is opened as a whole by most writers' choice; beyond this it is a trap or a mistake.
MAX_GROUP_BYTES = 4_000_000_000


def _columns(file: Any) -> tuple[list[str], list[str]]:
    """(columns of text or of one value, the others)."""
    plain: list[str] = []
    others: list[str] = []
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        (others if pa.types.is_nested(kind) else plain).append(field.name)
    return plain, others


def check_columns(file: Any, asked: str | None) -> None:
    """Raises Refused where no column can be the text, with the columns that there are."""
    textual = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
               pa.types.is_large_binary, pa.types.is_string_view)  # fmt: skip
    columns = {}
    for field in file.schema_arrow:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        columns[field.name] = "" if any(test(kind) for test in textual) else None
    text_column(asked, columns)


def _open(stream: BinaryIO) -> Any:
    try:
        return pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and not is_of_the_file(error):
            raise
        raise Refused("damaged", f"not a Parquet file: {_short(error)}") from None


def read(unit: Unit, stream: BinaryIO) -> Iterator[Piece | Problem]:
    """A document for each row of the unit's row groups; its position is the row in the file."""
    file = _open(stream)
    check_columns(file, option(unit, "text_column"))
    plain, others = _columns(file)
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    for group in range(unit.start, unit.stop):
        row = sum(sizes[:group])
        if file.metadata.row_group(group).total_byte_size > MAX_GROUP_BYTES:
            yield Problem(unit.source, "too large", f"row group {group}", row)
            continue
        try:
            for batch in file.iter_batches(BATCH_ROWS, [group], columns=plain):
                for record in _records(batch):
                    make = functools.partial(_piece_of_row, unit, record, row, others)
                    yield one_record(unit, f"row {row}: ", row, make)
                    row += 1
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and not is_of_the_file(error):
                raise
            detail = f"row group {group}, from row {row}: {_short(error)}"
            yield Problem(unit.source, "damaged", detail, row)


def _piece_of_row(unit: Unit, record: dict[str, Any], row: int, others: list[str]) -> Piece:
    damages: dict[str, int] = {}
    raws: dict[str, bytes] = {}
    for name, value in record.items():
        if isinstance(value, bytes):
            raws[name] = value
            record[name], _, damages[name] = decode(value, "utf-8")
    column = text_column(option(unit, "text_column"), record)
    piece = piece_of(unit, record, row, raws.get(column, record[column].encode("utf-8")))
    add_damage(piece.notes, damages.get(column, 0))
    if others and piece.notes is not None:
        piece.notes["left_out"] = sorted({*others, *piece.notes.get("left_out", ())})
    return piece


def _records(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as dictionaries; texts as bytes, since nothing says that they are valid UTF-8."""
    columns = [_plain(column).to_pylist() for column in batch.columns]
    return [dict(zip(batch.schema.names, values)) for values in zip(*columns)]


def _plain(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    if pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    if pa.types.is_temporal(column.type) or pa.types.is_decimal(column.type):
        try:
            return column.cast(pa.string())
        except pa.ArrowException:  # an unknown time zone
            return column.cast(pa.int64())
    return column


def row_group_parts(
    path: str, part_bytes: int, text_column: str | None = None
) -> Iterator[tuple[int, int, int, str]]:
    """Cut a file at row groups: (first group, group behind the last, bytes, SHA-256).

    The digest is that of the footer and of the bytes in which the groups lie. Raises Refused where
    it is no Parquet file, or where no column can be the text.
    """
    with open(path, "rb") as stream:
        file = _open(stream)
        check_columns(file, text_column)
        if file.metadata.num_rows == 0:
            raise Refused("empty", "no row")
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        start = size = 0
        for number, group in enumerate(groups):
            size += group.total_byte_size
            if size >= part_bytes or number == len(groups) - 1:
                yield start, number + 1, size, _digest(stream, groups[start : number + 1])
                start, size = number + 1, 0


def group_count(stream: BinaryIO) -> int:
    """How many row groups there are. Raises Refused where it is no Parquet file."""
    return int(_open(stream).num_row_groups)


def digest_of_groups(path: str, start: int, stop: int) -> str:
    """The digest that `row_group_parts` gives for these row groups."""
    with open(path, "rb") as stream:
        metadata = _open(stream).metadata
        return _digest(stream, [metadata.row_group(number) for number in range(start, stop)])


def _digest(stream: BinaryIO, groups: list[Any]) -> str:
    size = stream.seek(0, 2)
    stream.seek(size - 8)
    footer = int.from_bytes(stream.read(4), "little") + 8
    ranges = [(size - footer, size)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
    if columns:
        stop = max(s + c.total_compressed_size for s, c in zip(starts, columns))
        ranges.append((min(starts), min(stop, size - footer)))
    state = hashlib.sha256()
    for start, stop in ranges:
        stream.seek(start)
        while start < stop and (data := stream.read(min(1 << 20, stop - start))):
            state.update(data)
            start += len(data)
    return state.hexdigest()


def _short(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
