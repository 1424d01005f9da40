"""Ids and Arrow rows: the quick ways give what the plain ways give."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tilth.documents.document import (
    SCHEMA,
    Document,
    Span,
    document_id,
    from_batch,
    to_batch,
)
from tilth.store.digest import digest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SPANS = st.lists(st.builds(Span, *[st.integers(0, 99)] * 4), max_size=2).map(tuple)
DOCUMENTS = st.builds(
    Document, id=TEXT, text=TEXT, source=TEXT, position=st.integers(0, 2**40), format=TEXT,
    group=TEXT, metadata=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(-5, 5), st.none())),
    origin=TEXT, parents=st.lists(TEXT, max_size=2).map(tuple), spans=SPANS, made_by=TEXT,
)  # fmt: skip


@given(st.lists(DOCUMENTS, max_size=5))
def test_columns_are_those_of_the_rows(documents):
    batch = to_batch(iter(documents))
    rows = [document.to_row() for document in documents]
    assert batch.schema == SCHEMA
    assert batch.equals(pa.RecordBatch.from_pylist(rows, SCHEMA))
    restored = from_batch(batch)
    assert [d.text for d in restored] == [d.text for d in documents]
    assert [d.spans for d in restored] == [d.spans for d in documents]


@given(st.text(max_size=30), st.integers(0, 2**60), st.binary(max_size=50))
def test_an_id_is_the_digest_of_its_three_parts(source, position, raw):
    assert document_id(source, position, raw) == digest(source, position, raw)
