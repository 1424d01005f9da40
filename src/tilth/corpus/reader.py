"""Documents of one layer by id, for many questions in a row: what was read lately is held.

A corpus reads the ids of all blocks and whole row groups at each question, which is right for a
command. A reader knows where each document lies and holds texts up to a number of bytes.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from tilth.corpus.blocks import read_block, read_group, require_manifest
from tilth.documents.document import Document

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

HELD_BYTES = 32_000_000


class Reader:
    """`held`: bytes of text that are kept in memory, about. Threads may share a reader."""

    def __init__(self, corpus: Corpus, layer: str | None = None, held: int = HELD_BYTES) -> None:
        self._folder: Path = corpus.layer_folder(layer)
        self._most, self._bytes = held, 0
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Document] = OrderedDict()
        # Id -> block, number of the row group, row in it.
        self._places: dict[str, tuple[str, int, int]] = {}
        for block in require_manifest(self._folder)["order"]:
            for number, names in enumerate(read_block(self._folder, block, ["id"])):
                for row, id in enumerate(names.column("id").to_pylist()):
                    self._places[id] = (block, number, row)

    def __len__(self) -> int:
        return len(self._places)

    def get(self, id: str) -> Document | None:
        """The document with this whole id; None where there is none."""
        return self.get_many([id]).get(id)

    def get_many(self, ids: Sequence[str]) -> dict[str, Document]:
        """Documents by id, in no order; ids that are not there are left out."""
        found: dict[str, Document] = {}
        wanted: dict[tuple[str, int], list[int]] = {}
        with self._lock:
            for id in ids:
                if id in self._known:
                    self._known.move_to_end(id)
                    found[id] = self._known[id]
                elif id in self._places:
                    block, number, row = self._places[id]
                    wanted.setdefault((block, number), []).append(row)
        for (block, number), rows in wanted.items():
            batch = read_group(self._folder, block, number)
            for row in batch.take(pa.array(rows)).to_pylist():
                document = Document.from_row(row)
                found[document.id] = document
                self._hold(document)
        return found

    def _hold(self, document: Document) -> None:
        with self._lock:
            if document.id in self._known:
                return
            self._known[document.id] = document
            self._bytes += _size(document)
            while self._bytes > self._most and self._known:
                _, oldest = self._known.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(document: Document) -> int:
    # What Python keeps for a document besides its letters, about.
    return sys.getsizeof(document.text) + 2000 + 200 * len(document.spans)
