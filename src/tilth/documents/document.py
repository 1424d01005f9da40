"""The Document: one text with its history, as a Python object and as an Arrow row.

Columns of `SCHEMA`, the same in every layer of a corpus:

- `id`: 32 hexadecimal digits. In the first layer the digest of (source, position, raw bytes).
- `text`: valid UTF-8. What could not be decoded was replaced by U+FFFD and counted in metadata.
- `source`: path below the input root, with `/`; a member of a container as `archive.zip!member`.
- `position`: which document of that source, from 0.
- `format`: `text`, `markdown`, `rst`, `html`, `pdf`, `code`, `docstring`, `record`, ...
- `group`: documents of one group never stand on both sides of a split.
- `metadata`: a JSON object with sorted keys.
- `origin`: id of the document in the first layer that this one comes from.
- `parents`: ids in the layer before; empty in the first layer.
- `spans`: where the text comes from, in bytes of UTF-8: `text[start:stop]` was
  `parent[parent_start:parent_stop]`; what no span covers was generated.
- `made_by`: `name@digest` of the step that made the row; empty in the first layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tilth.store.digest import ID_LENGTH, canonical_json

SPAN = pa.struct(
    [
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("parent_start", pa.int64()),
        ("parent_stop", pa.int64()),
    ]
)

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        ("source", pa.string()),
        ("position", pa.int64()),
        ("format", pa.string()),
        ("group", pa.string()),
        ("metadata", pa.string()),
        ("origin", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("spans", pa.list_(SPAN)),
        ("made_by", pa.string()),
    ]
)


@dataclass(frozen=True)
class Span:
    """`text[start:stop]` comes from `parent[parent_start:parent_stop]`; byte offsets."""

    start: int
    stop: int
    parent_start: int
    parent_stop: int


@dataclass(frozen=True)
class Document:
    """One document. `raw` digests are taken by `document_id`; see the module for the fields."""

    id: str
    text: str
    source: str = ""
    position: int = 0
    format: str = "text"
    group: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    parents: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    made_by: str = ""

    def to_row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "text": self.text,
            "source": self.source,
            "position": self.position,
            "format": self.format,
            "group": self.group,
            "metadata": canonical_json(dict(self.metadata)),
            "origin": self.origin or self.id,
            "parents": list(self.parents),
            "spans": [vars(span) for span in self.spans],
            "made_by": self.made_by,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Document:
        return cls(
            **{
                **row,
                "metadata": json.loads(row["metadata"] or "{}"),
                "parents": tuple(row["parents"] or ()),
                "spans": tuple(Span(**span) for span in row["spans"] or ()),
            }
        )


@dataclass(frozen=True)
class Problem:
    """A document, or a whole file, that could not be read, and why. It costs only itself.

    `reason` is one of a few words (`empty`, `binary`, `encoding`, `too large`, `damaged`,
    `encrypted`, `hidden`, `link`, `no text`, `no text column`, `no text layer`, `parser limit`,
    `run folder`, `special file`, `unreadable`, `unknown format`, `unsafe name`); `detail` is for
    people.
    """

    source: str
    reason: str
    detail: str = ""
    position: int = 0


def document_id(source: str, position: int, raw: bytes) -> str:
    """The id of a document of the first layer: `digest` of the three."""
    # In one piece: this is done for every record.
    name, number = source.encode("utf-8", "surrogatepass"), b"%d" % position
    framed = (
        len(name).to_bytes(8, "little"), name, len(number).to_bytes(8, "little"), number,
        len(raw).to_bytes(8, "little"), raw,
    )  # fmt: skip
    return hashlib.sha256(b"".join(framed)).hexdigest()[:ID_LENGTH]


def to_batch(documents: Iterable[Document]) -> pa.RecordBatch:
    """Documents as one Arrow batch of `SCHEMA`."""
    rows = list(documents)
    columns: dict[str, list[Any]] = {
        "id": [row.id for row in rows],
        "text": [row.text for row in rows],
        "source": [row.source for row in rows],
        "position": [row.position for row in rows],
        "format": [row.format for row in rows],
        "group": [row.group for row in rows],
        "metadata": [_json(row.metadata) for row in rows],
        "origin": [row.origin or row.id for row in rows],
        "parents": [row.parents for row in rows],
        "spans": [[vars(span) for span in row.spans] for row in rows],
        "made_by": [row.made_by for row in rows],
    }
    return pa.RecordBatch.from_arrays(
        [pa.array(columns[entry.name], entry.type) for entry in SCHEMA], schema=SCHEMA
    )


def _json(metadata: Mapping[str, Any]) -> str:
    return canonical_json(dict(metadata)) if metadata else "{}"


def from_batch(batch: pa.RecordBatch) -> list[Document]:
    return [Document.from_row(row) for row in batch.to_pylist()]
