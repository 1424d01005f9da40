"""Corpora for other programs: JSON lines, Parquet, or SPGC's three levels of granularity.

`FORMATS` maps a name to its writer. Exports hold id, text, source and metadata; other programs'
readers (datatrove, datasets) take them as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tilth.errors import UsageError, nearest
from tilth.store.write import atomic_write

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus
    from tilth.documents.document import Document

COLUMNS = ["id", "text", "source", "position", "format", "group", "metadata"]
PIECE = 64


def export(
    corpus: Corpus,
    target: str | Path,
    *,
    format: str = "jsonl",
    split: str | None = None,
    kept: bool | None = True,
    layer: str | None = None,
) -> int:
    """Write the documents that a rule kept (False: dropped, None: all); how many. See `FORMATS`.

    Raises UsageError where `kept` is asked for and no rule was applied to the layer.
    """
    if format not in FORMATS:
        raise UsageError(f"no export format is called {format!r}", hint=nearest(format, FORMATS))
    batches = (batch for _, batch in corpus.batches(COLUMNS, layer=layer, kept=kept, split=split))
    if format == "spgc":
        return _spgc(batches, Path(target), _languages(corpus, layer))
    return int(FORMATS[format](batches, Path(target)))


def _jsonl(batches: Iterator[pa.RecordBatch], target: Path) -> int:
    count = 0
    with atomic_write(target) as file:
        for batch in batches:
            # Small pieces find their room again; a whole row group asks for new memory each time.
            for start in range(0, batch.num_rows, PIECE):
                columns = [
                    _as_json(batch.column(name).slice(start, PIECE), name) for name in COLUMNS
                ]
                # Put together here: an encoder would parse the metadata and write it again.
                file.write(b"".join(map(_LINE.__mod__, zip(*columns, strict=True))))
            count += batch.num_rows
    return count


_NUMBERS = ("position",)
_RAW = (*_NUMBERS, "metadata")  # Written as they are; all others between quotation marks.
_LINE = (
    "{"
    + ", ".join(f'"{name}": %b' if name in _RAW else f'"{name}": "%b"' for name in COLUMNS)
    + "}\n"
).encode("ascii")
# Beside line end, quotation mark and backslash JSON has these written otherwise; they are rare.
_CONTROLS = bytes(set(range(32)) - {ord("\n")})


def _as_json(column: pa.Array, name: str) -> list[bytes]:
    """The values of a column as JSON in UTF-8, texts without the quotation marks around them."""
    if name in _NUMBERS:
        return [b"%d" % value for value in column.to_pylist()]
    values = column.cast(pa.large_binary()).to_pylist()
    if name == "metadata":
        return [value or b"{}" for value in values]
    # All at once, parted by a character that none of them holds.
    joined = b"\0".join(values)
    if len(joined) - len(joined.translate(None, _CONTROLS)) >= len(values):
        return [json.dumps(str(v, "utf-8"), ensure_ascii=False).encode()[1:-1] for v in values]
    joined = joined.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return joined.split(b"\0")


def _parquet(batches: Iterator[pa.RecordBatch], target: Path) -> int:
    from tilth.documents.document import SCHEMA

    count = 0
    schema = pa.schema([SCHEMA.field(name) for name in COLUMNS])
    with atomic_write(target) as file:
        writer = pq.ParquetWriter(pa.PythonFile(file, mode="w"), schema, compression="zstd")
        for batch in batches:
            if batch.num_rows:
                writer.write_batch(batch)
                count += batch.num_rows
        writer.close()
    return count


def _languages(corpus: Corpus, layer: str | None) -> dict[str, str]:
    """Measured languages by document id, for abbreviations; empty where none were measured."""
    columns = corpus.columns(layer)
    if "language" not in columns.column_names:
        return {}
    found = zip(columns.column("id").to_pylist(), columns.column("language").to_pylist())
    return {id: language for id, language in found if language}


def _spgc(
    batches: Iterator[pa.RecordBatch], target: Path, languages: dict[str, str] | None = None
) -> int:
    from tilth.corpus.levels import write_levels

    def documents() -> Iterator[Document]:
        from tilth.documents.document import Document

        for batch in batches:
            for row in batch.to_pylist():
                yield Document.from_row({**row, "parents": (), "spans": ()})

    return int(write_levels(documents(), target, languages=languages)["books"])


FORMATS = {"jsonl": _jsonl, "parquet": _parquet, "spgc": _spgc}
