"""Blocks: the unit of work, of resume and of storage.

A folder of blocks holds `blocks/ID.parquet`, beside each its own manifest `blocks/ID.json` (rows,
bytes, SHA-256, statistics), and last `manifest.json`, which merges them in order. A block is done
when its manifest is there, so a killed step continues at the next block, and statistics can never
disagree with data. Block ids are digests of all that the block depends on: adding a document
re-makes one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tilth.errors import DamagedError
from tilth.store.digest import digest_value
from tilth.store.manifest import NAME, is_complete, read_manifest
from tilth.store.write import atomic_write, read_json, write_json
from tilth.types import Executor, Progress, silent

Write = Callable[[pa.RecordBatch], None]
# A maker is given its argument and a function that takes the batches; it returns statistics.
Maker = Callable[[Any, Write], dict[str, Any]]

ROW_GROUP_BYTES = 16_000_000


@dataclass(frozen=True)
class BlockTask:
    """One block to make: its id (a digest of all it depends on) and what its maker needs."""

    id: str
    argument: Any


def make_blocks(
    folder: str | Path,
    tasks: Sequence[BlockTask],
    maker: Maker,
    schema: pa.Schema,
    executor: Executor,
    *,
    fields: dict[str, Any],
    progress: Progress = silent,
    step: str = "blocks",
) -> dict[str, Any]:
    """Make the blocks that are not there yet, then the merged manifest; returns the manifest.

    `fields` say what the folder is; with the list of block ids they decide whether it is complete.
    """
    folder = Path(folder)
    order = [task.id for task in tasks]
    wanted = {**fields, "order": order}
    manifest = read_manifest(folder)
    if manifest is None or not is_complete(folder, wanted):
        missing = [task for task in tasks if not _is_done(folder, task.id)]
        progress(step, len(tasks) - len(missing), len(tasks))
        work = _MakeBlock(folder, maker, schema)
        for done, _ in enumerate(executor.map(work, missing), start=1):
            progress(step, len(tasks) - len(missing) + done, len(tasks))
        manifest = _merge(folder, order, fields)
        write_json(folder / NAME, manifest)
    _drop_stale(folder, set(order))
    return manifest


@dataclass(frozen=True)
class _MakeBlock:
    folder: Path
    maker: Maker
    schema: pa.Schema

    def __call__(self, task: BlockTask) -> None:
        path = self.folder / "blocks" / f"{task.id}.parquet"
        rows = 0
        with atomic_write(path) as file:
            writer = _RowGroups(file, self.schema)
            statistics = self.maker(task.argument, writer.write)
            rows = writer.close()
        entry = {
            "rows": rows,
            "bytes": file.size,
            "sha256": file.sha256,
            "statistics": statistics,
        }
        write_json(path.with_suffix(".json"), entry)


class _RowGroups:
    """Collects small batches to row groups of a useful size; a pure function of the batches."""

    def __init__(self, file: Any, schema: pa.Schema) -> None:
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = self._rows = 0
        text = [name for name in schema.names if name == "text"]
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            schema,
            compression="zstd",
            use_dictionary=[name for name in schema.names if name in ("format", "made_by")],
            write_statistics=[name for name in schema.names if name not in text],
        )

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows == 0:
            return
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._rows += table.num_rows
            self._waiting, self._waiting_bytes = [], 0

    def close(self) -> int:
        self._flush()
        self._writer.close()
        return self._rows


def _is_done(folder: Path, block: str) -> bool:
    entry, path = folder / "blocks" / f"{block}.json", folder / "blocks" / f"{block}.parquet"
    return entry.is_file() and path.is_file() and read_json(entry)["bytes"] == path.stat().st_size


def _merge(folder: Path, order: Sequence[str], fields: dict[str, Any]) -> dict[str, Any]:
    entries = {block: read_json(folder / "blocks" / f"{block}.json") for block in order}
    return {
        **fields,
        "order": list(order),
        "rows": sum(entry["rows"] for entry in entries.values()),
        "blocks": entries,
        "files": {
            f"blocks/{block}.parquet": {"bytes": entry["bytes"], "sha256": entry["sha256"]}
            for block, entry in entries.items()
        },
    }


def _drop_stale(folder: Path, wanted: set[str]) -> None:
    """Blocks of an earlier state of the input, and temporary files of killed writers."""
    blocks = folder / "blocks"
    if blocks.is_dir():
        for path in blocks.iterdir():
            if path.name.split(".")[0] not in wanted or path.suffix not in (".parquet", ".json"):
                path.unlink(missing_ok=True)


def read_blocks(
    folder: str | Path, columns: Sequence[str] | None = None, *, order: Sequence[str] | None = None
) -> Iterator[tuple[str, Iterator[pa.RecordBatch]]]:
    """(block id, its batches) in order; memory stays at one row group."""
    folder = Path(folder)
    if order is None:
        order = require_manifest(folder)["order"]
    for block in order:
        yield block, read_block(folder, block, columns)


def read_block(
    folder: Path, block: str, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The batches of one block, one a row group."""
    path = folder / "blocks" / f"{block}.parquet"
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield _one_batch(file.read_row_group(group, columns=columns, use_threads=False))
    except (pa.ArrowInvalid, OSError) as error:
        raise DamagedError(f"cannot be read: {error}", where=str(path)) from None


def read_group(folder: Path, block: str, group: int) -> pa.RecordBatch:
    """One row group of a block, whole."""
    with pq.ParquetFile(folder / "blocks" / f"{block}.parquet") as file:
        return _one_batch(file.read_row_group(group, use_threads=False))


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def read_table(folder: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All blocks as one table; for narrow columns, not for texts."""
    folder = Path(folder)
    manifest = require_manifest(folder)
    paths = [folder / "blocks" / f"{block}.parquet" for block in manifest["order"]]
    tables = [
        pq.read_table(path, columns=columns, partitioning=None, use_threads=False) for path in paths
    ]
    if not tables:
        raise DamagedError("has no block", where=str(folder))
    return pa.concat_tables(tables)


def require_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    if manifest is None:
        raise DamagedError("unfinished: there is no manifest", where=str(folder))
    return manifest


def manifest_digest(manifest: dict[str, Any]) -> str:
    """One name for the content of a folder of blocks."""
    return digest_value([manifest["order"], manifest["files"]])


def group_by_prefix(items: Iterable[tuple[str, int, Any]], limit: int) -> list[list[Any]]:
    """Group (digest, size, item) so that a group has at most about `limit` bytes.

    A binary trie over the digests: a group that is too large splits in two. So the grouping does
    not depend on order, and one more item changes one group (or splits it).
    """
    groups: list[list[Any]] = []

    def split(members: list[tuple[str, int, Any]], depth: int) -> None:
        if not members:
            return
        if len(members) == 1 or depth >= 64 or sum(size for _, size, _ in members) <= limit:
            groups.append([item for _, _, item in sorted(members, key=lambda member: member[0])])
            return
        sides: tuple[list[tuple[str, int, Any]], ...] = ([], [])
        for member in members:
            bit = int(member[0][depth // 4], 16) >> (3 - depth % 4) & 1
            sides[bit].append(member)
        split(sides[0], depth + 1)
        split(sides[1], depth + 1)

    split(list(items), 0)
    return groups
