"""Layers and what lies beside them: how each is made from blocks, and read again.

layers/NAME/manifest.json, blocks/      the documents of the layer
layers/NAME/signals/SIGNAL@DIGEST/      columns aligned row by row, in blocks of the same ids
layers/NAME/duplicates/METHOD@DIGEST/   fingerprints in blocks, a table of clusters, edges/
layers/NAME/decisions/DIGEST/           what a rule decided
layers/NAME/split/DIGEST/               which documents are held out
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tilth.corpus.blocks import (
    BlockTask,
    Write,
    group_by_prefix,
    make_blocks,
    manifest_digest,
    read_block,
    read_table,
    require_manifest,
)
from tilth.corpus.duplicates import Duplicates
from tilth.corpus.transforms.base import made_by
from tilth.documents.document import SCHEMA, Document, Problem, to_batch
from tilth.documents.inputs import Unit
from tilth.errors import UsageError
from tilth.store.digest import digest, digest_value
from tilth.store.manifest import NAME, is_complete
from tilth.store.write import read_json, write_bytes, write_json
from tilth.types import Executor, Progress, Signal, Transform, silent

BLOCK_BYTES = 4_000_000
BATCH_DOCUMENTS = 256
READER_VERSION = 3
TEXT_COLUMNS = ("id", "text", "format", "metadata")


def read_units(
    folder: Path,
    units: Sequence[Unit],
    executor: Executor,
    *,
    block_bytes: int = BLOCK_BYTES,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The first layer: what the readers find in the units, with what could not be read."""
    large = [unit for unit in units if unit.size >= block_bytes]
    small = [
        (digest(unit.source, unit.part), unit.size, unit)
        for unit in units
        if unit.size < block_bytes
    ]
    groups = [*group_by_prefix(small, block_bytes), *([unit] for unit in large)]
    tasks = [BlockTask(_units_digest(group), tuple(group)) for group in groups]
    tasks.sort(key=lambda task: (task.argument[0].source, task.argument[0].start))
    return make_blocks(
        folder, tasks, _read_block_of_units, SCHEMA, executor,
        fields={"kind": "documents", "reader": READER_VERSION}, progress=progress, step="read",
    )  # fmt: skip


def _units_digest(units: Sequence[Unit]) -> str:
    return digest_value(
        [
            READER_VERSION,
            [
                [u.source, u.sha256, u.start, u.stop, u.part, u.format, u.group, list(u.options)]
                for u in units
            ],
        ]
    )


def _read_block_of_units(units: Sequence[Unit], write: Write) -> dict[str, Any]:
    from tilth.documents.read import read_unit

    waiting: list[Document] = []
    problems: list[dict[str, Any]] = []
    text_bytes = 0

    def flush() -> None:
        nonlocal text_bytes
        batch = to_batch(waiting)
        text_bytes += _text_bytes(batch)
        write(batch)
        waiting.clear()

    for unit in units:
        size = 0
        for found in read_unit(unit):
            if isinstance(found, Problem):
                problems.append(vars(found).copy())
                continue
            waiting.append(found)
            size += len(found.text)
            if len(waiting) >= BATCH_DOCUMENTS or size >= BLOCK_BYTES:
                flush()
                size = 0
    flush()
    return {"text_bytes": text_bytes, "problems": problems}


def _text_bytes(batch: pa.RecordBatch) -> int:
    return int(pc.sum(pc.binary_length(batch.column("text"))).as_py() or 0)


@dataclass(frozen=True)
class _TransformBlock:
    source: Path
    transform: Transform

    def __call__(self, block: str, write: Write) -> dict[str, Any]:
        text_bytes = rows = 0
        for batch in read_block(self.source, block):
            for start in range(0, batch.num_rows, BATCH_DOCUMENTS):
                piece = batch.slice(start, BATCH_DOCUMENTS)
                rows += piece.num_rows
                result = self.transform.apply(piece)
                text_bytes += _text_bytes(result)
                write(result)
        return {"text_bytes": text_bytes, "parents": rows}


def transform_layer(
    source: Path, folder: Path, transform: Transform, executor: Executor, progress: Progress
) -> dict[str, Any]:
    """A new layer: the transform applied to every block of the source layer."""
    name = made_by(transform)
    tasks = [BlockTask(digest(block, name), block) for block in require_manifest(source)["order"]]
    return make_blocks(
        folder, tasks, _TransformBlock(source, transform), SCHEMA, executor,
        fields={"kind": "transform", "made_by": name, "parameters": transform.parameters()},
        progress=progress, step=f"transform {folder.name}",
    )  # fmt: skip


@dataclass(frozen=True)
class _MeasureBlock:
    layer: Path
    signal: Signal

    def __call__(self, block: str, write: Write) -> dict[str, Any]:
        for batch in read_block(self.layer, block, TEXT_COLUMNS):
            measured = self.signal.measure(batch)
            write(
                pa.RecordBatch.from_arrays(
                    [batch.column("id"), *measured.columns], ["id", *measured.schema.names]
                )
            )
        return {}


def signal_folder(layer: Path, signal: Signal) -> Path:
    return layer / "signals" / made_by(signal)


def measure_layer(
    layer: Path, signal: Signal, executor: Executor, progress: Progress
) -> dict[str, Any]:
    """The columns of one signal for every block of the layer, and their quantiles."""
    folder = signal_folder(layer, signal)
    nothing = pa.RecordBatch.from_pylist([], schema=SCHEMA).select(list(TEXT_COLUMNS))
    columns = signal.measure(nothing).schema
    schema = pa.schema([pa.field("id", pa.string()), *columns])
    tasks = [BlockTask(block, block) for block in require_manifest(layer)["order"]]
    manifest = make_blocks(
        folder, tasks, _MeasureBlock(layer, signal), schema, executor,
        fields={
            "kind": "signal",
            "made_by": made_by(signal),
            "parameters": signal.parameters(),
            "columns": dict(signal.columns),
        },
        progress=progress, step=f"measure {signal.name}",
    )  # fmt: skip
    name, made_from = folder / "quantiles.json", manifest_digest(manifest)
    if not name.is_file() or read_json(name)["input"] != made_from:
        write_json(name, {"input": made_from, "quantiles": _quantiles(read_table(folder))})
    return manifest


QUANTILES = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0]


def _quantiles(table: pa.Table) -> dict[str, dict[str, float | None]]:
    result = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            values = pc.quantile(column, QUANTILES).to_pylist()
            result[name] = {str(q): value for q, value in zip(QUANTILES, values)}
    return result


@dataclass(frozen=True)
class _FingerprintBlock:
    layer: Path
    method: Duplicates

    def __call__(self, block: str, write: Write) -> dict[str, Any]:
        for batch in read_block(self.layer, block, ("id", "text")):
            write(self.method.fingerprint(batch))
        return {}


def duplicate_clusters(
    layer: Path, method: Duplicates, executor: Executor, progress: Progress
) -> dict[str, Any]:
    """Fingerprints in blocks, then edges and clusters over the whole layer; their manifest."""
    folder = layer / "duplicates" / made_by(method)
    tasks = [BlockTask(block, block) for block in require_manifest(layer)["order"]]
    manifest = make_blocks(
        folder / "fingerprints", tasks, _FingerprintBlock(layer, method), method.schema, executor,
        fields={"kind": "fingerprints", "made_by": made_by(method)},
        progress=progress, step=f"duplicates {method.name}",
    )  # fmt: skip
    fields = {
        "made_by": made_by(method),
        "parameters": method.parameters(),
        "input": manifest_digest(manifest),
    }
    if is_complete(folder, fields) and is_complete(folder / "edges", fields):
        return require_manifest(folder)
    found = method.relate(layer, folder / "fingerprints", executor, progress)
    write_one_table(folder / "edges", found.edges, fields)
    return write_one_table(folder, found.clusters, {**fields, "statistics": found.statistics})


def read_edges(layer: Path, searches: Sequence[dict[str, Any]]) -> pa.Table:
    """Edges of the last search, by its record. UsageError where the layer was not searched since
    it changed."""
    if searches:
        folder = layer / "duplicates" / searches[-1]["made_by"]
        order = require_manifest(folder / "fingerprints")["order"]
        if order == require_manifest(layer)["order"]:
            return read_one_table(folder / "edges")
    raise UsageError(
        "no search for duplicates was run on these documents", hint="tilth corpus dedup"
    )


def write_one_table(folder: Path, table: pa.Table, fields: dict[str, Any]) -> dict[str, Any]:
    """A folder with one narrow table, its manifest last; nothing is written where it is there."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    manifest = {**fields, "rows": table.num_rows, "files": {"table.parquet": entry}}
    if not is_complete(folder, manifest):
        write_bytes(folder / "table.parquet", data)
        write_json(folder / NAME, manifest)
    return manifest


def read_one_table(folder: Path) -> pa.Table:
    return pq.read_table(folder / "table.parquet", partitioning=None)


def read_quantiles(folder: Path) -> dict[str, dict[str, float | None]]:
    return dict(read_json(folder / "quantiles.json")["quantiles"])


def write_problems(folder: Path, problems: list[dict[str, Any]]) -> None:
    """Files that the plan already refused; the readers' problems lie in the blocks."""
    path = folder / "problems.json"
    if not path.is_file() or read_json(path) != problems:
        write_json(path, problems)


def read_problems(folder: Path) -> list[Problem]:
    """All problems of the first layer, by source."""
    path = folder / "problems.json"
    found = read_json(path) if path.is_file() else []
    for entry in require_manifest(folder)["blocks"].values():
        found.extend(entry["statistics"]["problems"])
    problems = [Problem(**problem) for problem in found]
    return sorted(problems, key=lambda p: (p.source, p.position, p.reason))


def drop_folders(base: Path, wanted: set[Path], kinds: Sequence[str]) -> None:
    """Delete layers, and results of these kinds beside them, that are not wanted."""
    for layer in base.iterdir():
        if layer not in wanted:
            shutil.rmtree(layer)
            continue
        for kind in kinds:
            for folder in (layer / kind).glob("*"):
                if folder not in wanted:
                    shutil.rmtree(folder)
