"""Rows of table files: CSV, TSV, JSON, JSON lines and Parquet, gzipped or not.

A row that cannot be read costs only itself and is listed among the problems.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tilth.documents.document import Problem
from tilth.errors import DataError, nearest

Row = tuple[int, dict[str, Any]]
# Bytes that were not UTF-8, and halves of characters that JSON can escape but nothing can hold.
SURROGATE = re.compile("[\ud800-\udfff]")


FORMS = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet")


def form_of(path: Path) -> str:
    """What the name of a table file ends in; empty for other files."""
    name = path.name.removesuffix(".gz")
    suffix = name.rpartition(".")[2].lower()
    return suffix if "." in name and suffix in FORMS else ""


def table_files(path: Path) -> list[Path]:
    """The file, or the table files of a folder by name; JSON there only where nothing else is."""
    if path.is_file():
        return [path]
    found = sorted(file for file in path.glob("*") if form_of(file))
    files = [file for file in found if form_of(file) != "json"] or found
    if not files:
        raise DataError("holds no CSV, TSV, JSONL or Parquet file", where=str(path))
    return files


def read_rows(
    path: Path, wanted: Mapping[str, str], problems: list[Problem], required: tuple[str, ...]
) -> Iterator[Row]:
    """(number, row) of a table file; checks that the columns are there, on the first row."""
    if not path.is_file():
        raise DataError("no such file", where=str(path))
    readers = {"csv": _csv, "tsv": _tsv, "json": _json, "parquet": _parquet}
    if not form_of(path):
        raise DataError("is not a CSV, TSV, JSON, JSONL or Parquet file", where=str(path))
    reader = readers.get(form_of(path), _jsonl)
    for place, (number, row) in enumerate(reader(path, problems)):
        if place == 0:
            check_columns(path, row, wanted, required)
        yield number, row


def check_columns(
    path: Path, row: Mapping[str, Any], wanted: Mapping[str, str], required: tuple[str, ...]
) -> None:
    """Raises DataError, with the columns that are asked for and those there are."""
    for key, column in wanted.items():
        if column not in row:
            raise DataError(
                f"has no column {column!r} for {key}; it takes columns {', '.join(required)} "
                f"and has {', '.join(map(str, row))}",
                where=str(path),
                hint=nearest(column, map(str, row)),
            )


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a file, gzipped or not. Raises DataError for a damaged gzip."""
    # Bytes that are not UTF-8 pass as surrogates, so that one bad line is one problem.
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            yield from io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged gzip: {error}", where=str(path)) from None


def _jsonl(path: Path, problems: list[Problem]) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path)):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            row = None
        if not isinstance(row, dict):
            problems.append(Problem(path.name, "damaged", "not a JSON object", number))
        elif encoded(json.dumps(row, ensure_ascii=False)):
            yield number, row
        else:
            problems.append(Problem(path.name, "encoding", "not UTF-8", number))


def _json(path: Path, problems: list[Problem]) -> Iterator[Row]:
    """A list of objects, or an object with one such list under `data`."""
    try:
        value = json.loads("".join(read_lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"is not JSON: {error}", where=str(path)) from None
    if isinstance(value, dict) and isinstance(value.get("data"), list):
        value = value["data"]
    if not isinstance(value, list):
        raise DataError("is not a JSON list of objects", where=str(path))
    for number, row in enumerate(value):
        if not isinstance(row, dict):
            problems.append(Problem(path.name, "damaged", "not a JSON object", number))
        elif encoded(json.dumps(row, ensure_ascii=False)):
            yield number, row
        else:
            problems.append(Problem(path.name, "encoding", "not UTF-8", number))


def _csv(path: Path, problems: list[Problem], delimiter: str = ",") -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(read_lines(path), delimiter=delimiter)
    header: list[str] = []
    for number, cells in enumerate(reader):
        if not header:
            header = cells
        elif not cells:
            continue
        elif len(cells) != len(header):
            detail = f"{len(cells)} cells under {len(header)} columns"
            problems.append(Problem(path.name, "damaged", detail, number - 1))
        elif not all(map(encoded, cells)):
            problems.append(Problem(path.name, "encoding", "not UTF-8", number - 1))
        else:
            yield number - 1, dict(zip(header, cells))


def _tsv(path: Path, problems: list[Problem]) -> Iterator[Row]:
    return _csv(path, problems, "\t")


def _parquet(path: Path, problems: list[Problem]) -> Iterator[Row]:
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"damaged Parquet: {error}", where=str(path)) from None
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            yield number, row
            number += 1


def as_text(value: Any) -> str:
    """A cell as text: nothing is empty, a number or a list is its JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def encoded(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    return SURROGATE.search(text) is None
