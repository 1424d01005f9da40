"""Does a signal keep its contract? For tilth's own and for those of other packages.

from tilth.testing.signals import check_signal

def test_my_signal():
    check_signal(MySignal(option=3))
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from tilth.documents.document import to_batch
from tilth.testing import hostile
from tilth.testing.common import check_method
from tilth.types import Signal


def check_signal(signal: Signal) -> None:
    """Raise AssertionError, saying what is wrong, where the signal breaks its contract.

    Checked on hostile documents: measured columns are aligned row by row and are those that
    `columns` names, with known types and no infinite number; the same in one batch, in many and row
    by row; defined for no row and for the empty text; the input stays as it is; measuring twice
    gives the same. And what `check_method` says of every method.
    """
    check_method("signal", signal)
    label = f"signal {signal.name!r}"
    for column, direction in signal.columns.items():
        assert direction in (-1, 0, 1), f"{label}: direction of {column!r} is {direction!r}"
    batch = to_batch(hostile.documents())
    before = batch.to_pydict()
    fitted = signal.fit(iter([batch]))
    assert fitted is not None, f"{label}: fit must return the signal"
    measured = fitted.measure(batch)
    assert batch.to_pydict() == before, f"{label} changed its input"
    _check_columns(label, fitted, measured, batch.num_rows)
    _check_same(label, fitted.measure(batch), measured, "measuring twice")
    for pieces in (1, 5):
        parts = [fitted.measure(piece) for piece in _slices(batch, pieces)]
        joined = pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
        _check_same(label, joined, measured, f"{pieces} rows at a time")
    nothing = fitted.measure(batch.slice(0, 0))
    _check_columns(label, fitted, nothing, 0)
    assert nothing.schema.equals(measured.schema), f"{label}: other types for an empty batch"
    narrow = fitted.measure(batch.select(["id", "text", "format", "metadata"]))
    _check_same(label, narrow, measured, "only the columns id, text, format, metadata")


def _slices(batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _check_columns(label: str, signal: Signal, measured: pa.RecordBatch, rows: int) -> None:
    assert isinstance(measured, pa.RecordBatch), f"{label}: measure must give a RecordBatch"
    assert measured.num_rows == rows, f"{label}: {measured.num_rows} rows for {rows} documents"
    named, found = list(signal.columns), measured.schema.names
    assert found == named, f"{label}: columns {found}, but `columns` names {named}"
    for field in measured.schema:
        known = field.type in (pa.float64(), pa.int64(), pa.string(), pa.bool_())
        assert known, f"{label}: column {field.name!r} has type {field.type}"
        if field.type == pa.float64():
            values = measured.column(field.name).to_pylist()
            finite = all(value is None or math.isfinite(value) for value in values)
            assert finite, f"{label}: {field.name!r} holds NaN or infinity; undefined is null"


def _check_same(label: str, found: Any, expected: pa.RecordBatch, what: str) -> None:
    for name in expected.schema.names:
        pairs = zip(found.column(name).to_pylist(), expected.column(name).to_pylist())
        for row, (value, other) in enumerate(pairs):
            assert value == other, (
                f"{label}, {what}: {name!r} of document {row} is {value!r}, was {other!r}"
            )
