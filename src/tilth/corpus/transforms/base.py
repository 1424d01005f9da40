"""The base of transforms that rewrite one document at a time, and chains of any transforms.

A transform adds a layer: every row of the result is new, also where its text did not change. Its
id is a digest of (parent, what made it, which of the parent's children it is), its spans say which
bytes of the parent it holds. Provenance by spans follows the usual model of annotated text in
byte offsets (as in the stand-off annotation of the TIPSTER architecture, Grishman 1996).

A span whose two sides have equal length is verbatim: the bytes are equal. One with unequal sides
is a rewriting of its parent's bytes. What no span covers is new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.documents.document import SCHEMA, SPAN, Span
from tilth.errors import UsageError
from tilth.store.digest import canonical_json, digest, digest_value
from tilth.types import Transform

INHERITED = ("source", "position", "format", "group", "origin")


def made_by(part: Any) -> str:
    """`name@digest` of a transform or signal: its parameters and version decide."""
    return f"{part.name}@{digest_value([part.parameters(), part.version])[:12]}"


class Edited(NamedTuple):
    """One document made of another: its text, where that comes from, metadata to add."""

    text: str
    spans: list[Span]
    metadata: Mapping[str, Any] = {}


def identity(text: str) -> list[Edited]:
    """The result of an edit that changes nothing."""
    size = len(text.encode("utf-8"))
    return [Edited(text, [Span(0, size, 0, size)] if size else [])]


class Edit:
    """A transform that sees one text at a time. Subclasses give `edit`, and may give `touches`.

    `edit` must be a pure function of the text. Where `touches` is false for a row, `edit` would
    give `identity(text)`; such rows are copied as whole columns and only their ids are computed.
    """

    name: str
    version: int = 1

    def parameters(self) -> dict[str, Any]:
        return {}

    def edit(self, text: str) -> list[Edited]:
        """0..n new documents with spans sorted by `start` and not overlapping there."""
        raise NotImplementedError

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        """Which rows `edit` may change; a cheap check of whole columns."""
        return pa.array(np.ones(batch.num_rows, dtype=bool))

    def edits(self, batch: pa.RecordBatch, rows: Sequence[int]) -> Iterable[list[Edited]]:
        """`edit` of some rows; for a subclass that looks at other columns than the text."""
        texts = batch.column("text")
        return (self.edit(texts[row].as_py() or "") for row in rows)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        touched = np.asarray(self.touches(batch).to_numpy(zero_copy_only=False), dtype=bool)
        texts = batch.column("text")
        rows = np.flatnonzero(touched).tolist()
        edits = dict(zip(rows, self.edits(batch, rows), strict=True))
        children = np.ones(batch.num_rows, dtype=np.int64)
        for row, results in edits.items():
            children[row] = len(results)
        parents = np.repeat(np.arange(batch.num_rows), children)
        changed = [result for row in sorted(edits) for result in edits[row]]
        # Rows of the old texts, then of the new ones: one `take` makes the column.
        source = parents.copy()
        source[touched[parents]] = batch.num_rows + np.arange(len(changed))
        new_texts = pa.array([result.text for result in changed], pa.large_string())
        all_texts = pa.concat_arrays([texts.cast(pa.large_string()), new_texts])
        text = all_texts if len(changed) == 0 and len(parents) == len(texts) else (
            all_texts.take(pa.array(source))
        )  # fmt: skip
        return rows_of(
            batch, parents, text, _spans(text, touched[parents], changed), changed,
            np.flatnonzero(touched[parents]), made_by(self),
        )  # fmt: skip


def rows_of(
    batch: pa.RecordBatch,
    parents: np.ndarray,
    text: pa.Array,
    spans: pa.ListArray,
    changed: Sequence[Edited],
    changed_rows: np.ndarray,
    maker: str,
) -> pa.RecordBatch:
    """Rows of the schema for children of `batch`; `parents` is the parent's row of each."""
    take = pa.array(parents, pa.int64())
    columns: dict[str, Any] = {name: batch.column(name).take(take) for name in INHERITED}
    parent_ids = batch.column("id").take(take)
    first = np.searchsorted(parents, parents)
    ordinals = (np.arange(len(parents)) - first).tolist()
    columns["id"] = pa.array(
        [digest(parent, maker, n) for parent, n in zip(parent_ids.to_pylist(), ordinals)],
        pa.string(),
    )
    columns["text"], columns["spans"] = text, spans
    columns["metadata"] = _metadata(batch.column("metadata").take(take), changed, changed_rows)
    columns["parents"] = pa.ListArray.from_arrays(
        pa.array(np.arange(len(parents) + 1), pa.int32()), parent_ids
    )
    columns["made_by"] = pa.array([maker] * len(parents), pa.string())
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _metadata(column: pa.Array, changed: Sequence[Edited], rows: np.ndarray) -> pa.Array:
    if not any(result.metadata for result in changed):
        return column
    values = column.to_pylist()
    for row, result in zip(rows.tolist(), changed):
        if result.metadata:
            merged = {**json.loads(values[row] or "{}"), **result.metadata}
            values[row] = canonical_json(merged)
    return pa.array(values, pa.string())


def span_lists(counts: np.ndarray, values: np.ndarray) -> pa.ListArray:
    """Spans of many rows: how many each has, and one row of four numbers for each span."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    fields = [pa.array(np.ascontiguousarray(values[:, number])) for number in range(4)]
    struct = pa.StructArray.from_arrays(fields, fields=list(SPAN))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), struct)


def _spans(text: pa.Array, touched: np.ndarray, changed: Sequence[Edited]) -> pa.ListArray:
    sizes = text_sizes(text)
    counts = (sizes > 0).astype(np.int64)
    counts[touched] = [len(result.spans) for result in changed]
    flat = [(s.start, s.stop, s.parent_start, s.parent_stop) for r in changed for s in r.spans]
    values = np.zeros((int(counts.sum()), 4), dtype=np.int64)
    from_edit = np.repeat(touched, counts)
    values[from_edit] = np.array(flat, dtype=np.int64).reshape(-1, 4)
    values[~from_edit, 1] = values[~from_edit, 3] = sizes[~touched & (counts > 0)]
    return span_lists(counts, values)


def text_sizes(text: pa.Array) -> np.ndarray:
    """Bytes of UTF-8 of each text."""
    sizes = pc.fill_null(pc.binary_length(text), 0)
    return np.asarray(sizes.to_numpy(zero_copy_only=False), dtype=np.int64)


def compose(child: Sequence[Span], parent: Sequence[Span]) -> list[Span]:
    """Spans of a text in its grandparent: `child` are those in the parent, `parent` the parent's.

    A verbatim span is cut along the parent's spans. A rewriting is mapped to all that its parent's
    bytes come from. Where part of a rewriting would by chance get sides of equal length without
    being verbatim, it gets no span.
    """
    starts = np.array([span.start for span in parent])
    stops = np.array([span.stop for span in parent])
    composed: list[Span] = []
    for span in child:
        verbatim = span.stop - span.start == span.parent_stop - span.parent_start
        first = int(np.searchsorted(stops, span.parent_start, side="right"))
        last = int(np.searchsorted(starts, span.parent_stop, side="left"))
        pieces = [_overlap(span, other) for other in parent[first:last]]
        if verbatim:
            shift = span.start - span.parent_start
            found = [
                Span(low + shift, high + shift, root_low, root_high)
                for low, high, root_low, root_high, exact in pieces
                if exact == (high - low == root_high - root_low)
            ]
        elif pieces:
            root = min(piece[2] for piece in pieces), max(piece[3] for piece in pieces)
            same = root[1] - root[0] == span.stop - span.start
            found = [] if same else [Span(span.start, span.stop, *root)]
        else:
            found = []
        composed.extend(found)
    return composed


def _overlap(span: Span, other: Span) -> tuple[int, int, int, int, bool]:
    """What of the parent's span `other` lies in `span`'s parent side, and its root; verbatim?"""
    low, high = max(span.parent_start, other.start), min(span.parent_stop, other.stop)
    if other.stop - other.start == other.parent_stop - other.parent_start:
        shift = other.parent_start - other.start
        return low, high, low + shift, high + shift, True
    return low, high, other.parent_start, other.parent_stop, False


class Again:
    """Batches that can be read more than once: each reading calls `start` anew."""

    def __init__(self, start: Callable[[], Iterable[pa.RecordBatch]]) -> None:
        self.start = start

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return iter(self.start())


def fitted(transform: Transform, batches: Iterable[pa.RecordBatch]) -> Transform:
    """The transform as it is after it saw the documents; itself where it does not learn.

    A transform that learns has `fit(batches)`, which gives a new one whose `parameters()` name
    what was learned. `batches` may be read several times, so it is no iterator: see `Again`.
    """
    fit = getattr(transform, "fit", None)
    return transform if fit is None else fit(batches)


class Chain:
    """Several transforms as one: one layer, spans and parents in the layer before.

    Use it where the steps between are not worth a layer of their own. `transforms` are objects, or
    `{"name": ..., "parameters": {...}}` as `parameters()` gives them. Steps that join several
    parents to one child cannot be chained: a span does not say in which parent it lies.
    """

    name = "chain"
    version = 1

    def __init__(self, transforms: Sequence[Transform | Mapping[str, Any]] = ()) -> None:
        self.transforms = tuple(
            _from_table(part) if isinstance(part, Mapping) else part for part in transforms
        )

    def parameters(self) -> dict[str, Any]:
        return {
            "transforms": [
                {"name": part.name, "version": part.version, "parameters": part.parameters()}
                for part in self.transforms
            ]
        }

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Chain:
        """Each part that learns sees the documents as the parts before it leave them."""
        parts: list[Transform] = []
        for transform in self.transforms:
            before = tuple(parts)
            parts.append(fitted(transform, Again(partial(_applied, before, batches))))
        return Chain(parts)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        current, spans = batch, None
        rows = np.arange(batch.num_rows)
        for transform in self.transforms:
            result = transform.apply(current)
            parents = _parent_rows(current, result, transform)
            spans = _compose_columns(current, result, parents, spans)
            rows, current = rows[parents], result
        if spans is None:
            return Edit.apply(_Unchanged(self), batch)
        order = np.argsort(rows, kind="stable")
        made = rows_of(
            batch, rows[order], current.column("text").take(pa.array(order)),
            spans.take(pa.array(order)), (), np.zeros(0, dtype=np.int64), made_by(self),
        )  # fmt: skip
        metadata = current.column("metadata").take(pa.array(order))
        return made.set_column(
            SCHEMA.get_field_index("metadata"), SCHEMA.field("metadata"), metadata
        )


def _applied(
    transforms: Sequence[Transform], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    if iter(batches) is batches:
        raise UsageError("batches to learn from must be readable more than once")
    for batch in batches:
        for transform in transforms:
            batch = transform.apply(batch)
        yield batch


class _Unchanged(Edit):
    """The empty chain: new rows, the same texts."""

    def __init__(self, chain: Chain) -> None:
        self.name, self.version, self.chain = chain.name, chain.version, chain

    def parameters(self) -> dict[str, Any]:
        return self.chain.parameters()

    def touches(self, batch: pa.RecordBatch) -> pa.BooleanArray:
        return pa.array(np.zeros(batch.num_rows, dtype=bool))


def _from_table(part: Mapping[str, Any]) -> Transform:
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.lookup import construct

    if unknown := set(part) - {"name", "version", "parameters"}:
        raise UsageError(
            f"a part of a chain has no {sorted(unknown)[0]!r}", hint="name, parameters"
        )
    made: Transform = construct(
        "transform", TRANSFORMS, part.get("name", ""), part.get("parameters", {})
    )
    return made


def _parent_rows(
    current: pa.RecordBatch, result: pa.RecordBatch, transform: Transform
) -> np.ndarray:
    parents = result.column("parents")
    counts = np.asarray(pc.list_value_length(parents).to_numpy(zero_copy_only=False))
    if not (counts == 1).all():
        raise UsageError(f"transform {transform.name!r} cannot be part of a chain")
    found = pc.index_in(parents.flatten(), value_set=current.column("id"))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_identity(spans: pa.ListArray, text: pa.Array, parent_sizes: np.ndarray) -> np.ndarray:
    """Rows that are their parent's whole text."""
    sizes = text_sizes(text)
    counts = np.asarray(pc.list_value_length(spans).to_numpy(zero_copy_only=False))
    same = (counts == 0) & (sizes == 0) & (parent_sizes == 0)
    one = np.flatnonzero(counts == 1)
    flat = spans.take(pa.array(one)).flatten()
    start, stop, parent_start, parent_stop = (np.asarray(flat.field(n)) for n in range(4))
    whole = (start == 0) & (parent_start == 0) & (stop == sizes[one])
    same[one] = whole & (parent_stop == stop) & (parent_sizes[one] == stop)
    return same


def _compose_columns(
    current: pa.RecordBatch,
    result: pa.RecordBatch,
    parents: np.ndarray,
    spans: pa.ListArray | None,
) -> pa.ListArray:
    """The result's spans in the texts that `spans` (those of `current`) point to."""
    if spans is None:
        return result.column("spans")
    take = pa.array(parents)
    before, after = spans.take(take), result.column("spans")
    sizes = text_sizes(current.column("text"))[parents]
    same = _is_identity(after, result.column("text"), sizes)
    if same.all():
        return before
    choice = np.where(same, np.arange(len(same)), 0)
    composed = []
    for row in np.flatnonzero(~same):
        lists = ([Span(**span) for span in column[row].as_py()] for column in (after, before))
        composed.append([vars(span) for span in compose(*lists)])
        choice[row] = len(same) + len(composed) - 1
    new = pa.array(composed, pa.list_(SPAN))
    return pa.concat_arrays([before, new]).take(pa.array(choice))
