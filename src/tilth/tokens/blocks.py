"""Token blocks: the token ids of documents on disk, mapped into memory, never loaded whole.

    FOLDER/blocks/NAME.arrow    id, bytes, tokens: one row a document, one Arrow record batch
    FOLDER/blocks/NAME.json     what the block was made from, its counts, size and SHA-256
    FOLDER/manifest.json        the blocks in order, and totals; written last

A block is done when its own manifest is there and was made from the same ids, texts and tokenizer;
a killed writer goes on at the next block. `bytes` is the length of the document in UTF-8, so that
bits per byte can be computed without the texts.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tilth.errors import DamagedError, DataError, UsageError
from tilth.store.digest import digest
from tilth.store.manifest import NAME, read_manifest
from tilth.store.write import atomic_write, read_json, write_json
from tilth.tokens.bpe import encode, end_id
from tilth.tokens.documents import TokenDocuments
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Block = tuple[str, Sequence[str], Sequence[str]]

# How many block files stay mapped; a document that is still in use keeps its own mapping.
OPEN_BLOCKS = 64


def write_blocks(
    folder: str | Path,
    blocks: Iterable[Block],
    tokenizer: Tokenizer,
    *,
    progress: Progress = silent,
) -> TokenBlocks:
    """Tokenize (block name, ids, texts), one file a block, and open the result.

    Only one block is in memory at a time. A block whose content has not changed is not made again.
    Raises UsageError for names that are no plain file names, or come twice.
    """
    folder = Path(folder)
    vocabulary = tokenizer.get_vocab_size()
    made_by = digest(tokenizer.to_str())
    entries: dict[str, dict[str, Any]] = {}
    for name, ids, texts in blocks:
        if name in entries or not re.fullmatch(r"\w[\w@-]*", name, re.ASCII):
            raise UsageError(f"{name!r} is used twice or cannot be the name of a block")
        if len(ids) != len(texts):
            raise UsageError(f"{len(ids)} ids for {len(texts)} texts", where=f"block {name}")
        made_from = digest(made_by, len(ids), *ids, *texts)
        entry = _done(folder, name, made_from)
        if entry is None:
            _forget(folder, name)
            entry = _write_block(folder, name, made_from, ids, texts, tokenizer)
        entries[name] = entry
        progress("tokens", len(entries), 0)
    order = list(entries)
    manifest = {
        "kind": "tokens",
        "tokenizer": made_by,
        "vocabulary": vocabulary,
        "end": end_id(tokenizer),
        "order": order,
        "blocks": {
            name: {key: entry[key] for key in ("documents", "tokens", "text_bytes")}
            for name, entry in entries.items()
        },
        "documents": sum(entry["documents"] for entry in entries.values()),
        "tokens": sum(entry["tokens"] for entry in entries.values()),
        "text_bytes": sum(entry["text_bytes"] for entry in entries.values()),
        "files": {
            f"blocks/{name}.arrow": {"bytes": entry["bytes"], "sha256": entry["sha256"]}
            for name, entry in entries.items()
        },
    }
    if read_manifest(folder) != manifest:
        write_json(folder / NAME, manifest)
    _drop_stale(folder, set(order))
    return TokenBlocks.open(folder)


def _done(folder: Path, name: str, made_from: str) -> dict[str, Any] | None:
    path = folder / "blocks" / f"{name}.json"
    entry = read_json(path) if path.is_file() else {}
    block = path.with_suffix(".arrow")
    if entry.get("made_from") != made_from or not block.is_file():
        return None
    return dict(entry) if block.stat().st_size == entry["bytes"] else None


def _forget(folder: Path, name: str) -> None:
    # A killed writer must not leave an old manifest beside a new block.
    (folder / NAME).unlink(missing_ok=True)
    (folder / "blocks" / f"{name}.json").unlink(missing_ok=True)


def _write_block(
    folder: Path,
    name: str,
    made_from: str,
    ids: Sequence[str],
    texts: Sequence[str],
    tokenizer: Tokenizer,
) -> dict[str, Any]:
    kind = np.uint16 if tokenizer.get_vocab_size() <= 1 << 16 else np.uint32
    rows = [np.array(row, dtype=kind) for row in encode(tokenizer, list(texts))]
    offsets = np.zeros(len(rows) + 1, dtype=np.int32)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    sizes = [len(text.encode("utf-8")) for text in texts]
    values = np.concatenate(rows) if rows else np.zeros(0, dtype=kind)
    batch = pa.RecordBatch.from_arrays(
        [
            pa.array(ids, pa.string()),
            pa.array(sizes, pa.int64()),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)),
        ],
        ["id", "bytes", "tokens"],
    )
    path = folder / "blocks" / f"{name}.arrow"
    with atomic_write(path) as file, pa.ipc.new_file(pa.PythonFile(file), batch.schema) as out:
        out.write_batch(batch)
    entry = {
        "made_from": made_from,
        "documents": len(ids),
        "tokens": int(offsets[-1]),
        "text_bytes": sum(sizes),
        "bytes": file.size,
        "sha256": file.sha256,
    }
    write_json(path.with_suffix(".json"), entry)
    return entry


def _drop_stale(folder: Path, wanted: set[str]) -> None:
    """Blocks of an earlier input, and what killed writers left."""
    for path in (folder / "blocks").glob("*"):
        if path.stem not in wanted or path.suffix not in (".arrow", ".json"):
            path.unlink(missing_ok=True)


class TokenBlocks:
    """The documents of a folder of token blocks, numbered from 0 in the manifest's order.

    `vocabulary` is the number of token ids, `end` the id of the end-of-document token, which is
    not stored. Nothing is read but the manifest until a document is asked for.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.vocabulary: int = manifest["vocabulary"]
        self.end: int = manifest["end"]
        self.total_tokens: int = manifest["tokens"]
        self.total_bytes: int = manifest["text_bytes"]
        self._order: list[str] = manifest["order"]
        self._files: dict[str, Any] = manifest["files"]
        counts = [manifest["blocks"][name]["documents"] for name in self._order]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._open: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    @classmethod
    def open(cls, folder: str | Path) -> TokenBlocks:
        """Raises DamagedError where the folder is unfinished, DataError for another kind of it."""
        manifest = read_manifest(folder)
        if manifest is None:
            raise DamagedError("unfinished: there is no manifest", where=str(folder))
        if manifest.get("kind") != "tokens":
            raise DataError("holds no token blocks", where=str(folder))
        return cls(Path(folder), manifest)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def document(self, number: int) -> np.ndarray:
        """The token ids of one document: a read-only view of the mapped file."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        block = int(np.searchsorted(self._starts, number, side="right")) - 1
        column = self._block(block).column("tokens")
        row = number - int(self._starts[block])
        start, stop = column.offsets[row].as_py(), column.offsets[row + 1].as_py()
        return column.values[start:stop].to_numpy()

    def select(self, numbers: Iterable[int]) -> TokenDocuments:
        """Some documents, in the order asked for; their tokens stay views of the mapped files."""
        chosen = list(numbers)
        # In the order of the files, so that each block is opened once.
        found = {n: self.document(n) for n in sorted(set(chosen))}
        return TokenDocuments(
            [self.ids[n] for n in chosen],
            [found[n] for n in chosen],
            self.vocabulary,
            self.end,
            [int(self.text_bytes[n]) for n in chosen],
        )

    @cached_property
    def ids(self) -> list[str]:
        """Document ids in order."""
        return [id for block in self._blocks() for id in block.column("id").to_pylist()]

    @cached_property
    def text_bytes(self) -> np.ndarray:
        """UTF-8 bytes of each document's text, int64."""
        return _joined([block.column("bytes").to_numpy() for block in self._blocks()], np.int64)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64."""
        parts = [np.diff(block.column("tokens").offsets.to_numpy()) for block in self._blocks()]
        return _joined(parts, np.int64)

    def flat(self) -> tuple[np.ndarray, np.ndarray]:
        """(tokens of all documents one after the other, int64 offsets: document i is
        `tokens[offsets[i]:offsets[i + 1]]`). One block is a view, several are copied together."""
        parts = [block.column("tokens").values.to_numpy() for block in self._blocks()]
        offsets = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        return _joined(parts, np.uint16 if self.vocabulary <= 1 << 16 else np.uint32), offsets

    def _blocks(self) -> Iterable[pa.RecordBatch]:
        return (self._block(number) for number in range(len(self._order)))

    def _block(self, number: int) -> pa.RecordBatch:
        if number not in self._open:
            name = f"blocks/{self._order[number]}.arrow"
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != self._files[name]["bytes"]:
                raise DamagedError("does not agree with its manifest", where=str(path))
            with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
                self._open[number] = reader.get_batch(0)
            if len(self._open) > OPEN_BLOCKS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def _joined(parts: list[np.ndarray], kind: Any) -> np.ndarray:
    if len(parts) == 1:
        return parts[0].astype(kind, copy=False)
    return np.concatenate(parts).astype(kind, copy=False) if parts else np.zeros(0, dtype=kind)
