"""The texts of an evaluation set, whatever its columns are called.

A set is a named one, a folder below one of the data folders, or a path. Of a folder with tables
(JSON, JSON Lines, CSV, TSV, Parquet) the tables are read and nothing else, so that a licence
beside them is not taken for a test item; of one without, every file is a text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tilth.data.named import SETS
from tilth.data.sets import digest_path, find_set
from tilth.errors import DataError, UsageError, nearest
from tilth.store.cache import data_folders

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# Of a gzipped file; evaluation sets are small.
MOST_BYTES = 2_000_000_000


def digest_of_set(given: str) -> str:
    """The digest of a set's bytes. Raises UsageError where there is no such set."""
    return SETS[given].digest if _is_named(given) else digest_path(_place(given))


def read_texts(given: str, fields: Sequence[str] = ()) -> Iterator[str]:
    """Every text value of every row, `fields` only where given; of other files the whole text.

    Raises DataError where a file cannot be read or a column of `fields` is nowhere: an evaluation
    set that is read in part would make a model look clean.
    """
    place = _place(given)
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    tables = [file for file in files if _suffix(file) in TABLES]
    missing = set(fields)
    if missing and not tables:
        raise UsageError(f"{given} has no columns, so no column {sorted(missing)[0]!r}")
    for file in tables or files:
        try:
            if _suffix(file) not in TABLES:
                yield _bytes(file).decode("utf-8", "replace")
                continue
            for row in _rows(file):
                if fields and isinstance(row, dict):
                    missing -= set(row)
                    yield from _strings([row[key] for key in fields if key in row])
                elif not fields:
                    yield from _strings(row)
        except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
            raise DataError(f"cannot be read: {error}", where=str(file)) from None
    if missing:
        raise DataError(f"no row has a column {sorted(missing)[0]!r}", where=given)


def read_joined(given: str, fields: Sequence[str]) -> Iterator[str]:
    """One text a row of the tables: its `fields`, joined by line breaks; the head of a CSV is none.

    Raises DataError where a row lacks one of them, or a file cannot be read.
    """
    place = _place(given)
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    for file in files:
        if _suffix(file) not in TABLES:
            continue
        head = _suffix(file) in (".csv", ".tsv")
        try:
            for number, row in enumerate(_rows(file)):
                if head and number == 0:
                    continue
                values = [row.get(key) if isinstance(row, dict) else None for key in fields]
                if not all(isinstance(value, str) for value in values):
                    what = f"row {number} has no text in each of {', '.join(fields)}"
                    raise DataError(what, where=str(file))
                yield "\n".join(map(str, values))
        except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
            raise DataError(f"cannot be read: {error}", where=str(file)) from None


def _is_named(given: str) -> bool:
    return given in SETS and not Path(given).exists()


def _place(given: str) -> Path:
    if _is_named(given):
        known = SETS[given]
        folder = find_set(given).path
        return folder / known.file if known.file else folder
    for path in (Path(given), *(folder / given for folder in data_folders())):
        if path.exists():
            return path
    raise UsageError(f"{given!r} is neither a path nor a data set", hint=nearest(given, SETS))


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _bytes(file: Path) -> bytes:
    if file.suffix.lower() != ".gz":
        return file.read_bytes()
    with gzip.open(file) as stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return data


def _rows(file: Path) -> Iterator[Any]:
    kind = _suffix(file)
    if kind == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
        return
    text = _bytes(file).decode("utf-8-sig", "replace")
    if kind == ".json":
        found = json.loads(text)
        yield from found if isinstance(found, list) else [found]
    elif kind in (".csv", ".tsv"):
        rows = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")
        head: list[str] = []
        for number, row in enumerate(rows):
            # The first line may be a row itself: its texts count too.
            head = head if number else row
            yield dict(zip([*head, *map(str, range(len(head), len(row)))], row))
    else:
        yield from (json.loads(line) for line in text.split("\n") if line.strip())


def _strings(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys left out, in order."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            yield found
        elif isinstance(found, dict):
            waiting.extend(reversed(list(found.values())))
        elif isinstance(found, (list, tuple)):
            waiting.extend(reversed(found))
