"""Does a transform keep its contract? For tilth's own and for those of other packages.

from tilth.testing.transforms import check_transform

def test_my_transform():
    check_transform(MyTransform(option=3))
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from tilth.corpus.transforms.base import fitted
from tilth.documents.document import SCHEMA, Span, to_batch
from tilth.testing import hostile
from tilth.testing.common import check_method
from tilth.types import Transform


def check_transform(transform: Transform, documents: list[Any] | None = None) -> None:
    """Raise AssertionError, saying what is wrong, where the transform breaks its contract.

    Checked on hostile documents (or on `documents`): the result has the schema; ids are new and
    different; parents and origin are right; spans are valid (`check_spans`); the same in one batch,
    in many, row by row and twice; nothing from nothing; the input stays as it is. And what
    `check_method` says of every method. A transform that learns is fitted on the documents first.
    """
    check_method("transform", transform)
    label = f"transform {transform.name!r}"
    batch = to_batch(hostile.documents() if documents is None else documents)
    before = batch.to_pydict()
    transform = fitted(transform, [batch])
    check_method("transform", transform)
    result = transform.apply(batch)
    assert batch.to_pydict() == before, f"{label} changed its input"
    check_rows(label, batch, result)
    expected = result.to_pylist()
    assert transform.apply(batch).to_pylist() == expected, f"{label}: another result when repeated"
    for size in (1, 5):
        starts = range(0, batch.num_rows, size)
        pieces = [transform.apply(batch.slice(start, size)) for start in starts]
        rows = [row for piece in pieces for row in piece.to_pylist()]
        assert rows == expected, f"{label}: another result for {size} rows at a time"
    nothing = transform.apply(batch.slice(0, 0))
    assert nothing.num_rows == 0, f"{label} makes {nothing.num_rows} documents from none"
    assert nothing.schema.equals(SCHEMA), f"{label}: another schema for no documents"


def check_rows(label: str, batch: pa.RecordBatch, result: pa.RecordBatch) -> None:
    """The rows of a transform's result against their parents."""
    assert isinstance(result, pa.RecordBatch), f"{label}: apply must give a RecordBatch"
    assert result.schema.equals(SCHEMA), f"{label}: not the schema of documents"
    result.validate(full=True)
    parents = {row["id"]: row for row in batch.to_pylist()}
    rows = result.to_pylist()
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids), f"{label}: two documents have one id"
    assert not set(ids) & set(parents), f"{label}: a new document has an old id"
    for row in rows:
        where = f"{label}, child of {row['parents']}"
        assert row["parents"], f"{where}: a document without parents"
        assert set(row["parents"]) <= set(parents), f"{where}: not a document of the batch"
        name, _, digest = row["made_by"].partition("@")
        assert name and digest, f"{where}: made_by is {row['made_by']!r}, not name@digest"
        assert isinstance(json.loads(row["metadata"]), dict), f"{where}: metadata are no object"
        parent = parents[row["parents"][0]]
        assert row["origin"] == parent["origin"], f"{where}: another origin than its parent's"
        if len(row["parents"]) == 1:
            check_spans(where, row["text"], parent["text"], [Span(**s) for s in row["spans"]])


def check_spans(where: str, text: str, parent: str, spans: list[Span]) -> None:
    """Spans lie inside both texts at character borders, in order, and equal sides equal bytes."""
    child_bytes, parent_bytes = text.encode(), parent.encode()
    reached = 0
    for span in spans:
        place = f"{where}: {span}"
        assert reached <= span.start < span.stop <= len(child_bytes), f"{place} not in order"
        inside = 0 <= span.parent_start < span.parent_stop <= len(parent_bytes)
        assert inside, f"{place} outside its parent"
        reached = span.stop
        part = child_bytes[span.start : span.stop]
        source = parent_bytes[span.parent_start : span.parent_stop]
        for piece in (part, source):
            try:
                piece.decode()
            except UnicodeDecodeError:
                raise AssertionError(f"{place} cuts a character in two") from None
        if len(part) == len(source):
            assert part == source, f"{place}: equal lengths, but {source!r} became {part!r}"
