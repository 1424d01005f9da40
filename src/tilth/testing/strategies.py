"""Hypothesis strategies for hostile documents: what real corpora hold, and worse.

    @given(strategies.batches())
    def test_something(batch): ...

Needs `hypothesis`, which comes with the extra `dev`.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tilth.documents.document import Document, document_id, to_batch
from tilth.testing.hostile import TEXTS

FORMATS = ("text", "markdown", "html", "code", "record")


def texts(max_size: int = 200) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can hold, the hostile ones, and these glued together by line ends."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)
    words = st.lists(st.sampled_from(["der", "the", "a", "7", "na\u00efve", "..."]), max_size=30)
    piece = st.one_of(anything, words.map(" ".join), st.sampled_from(TEXTS))
    separators = st.sampled_from(["\n", "\r\n", " ", "\n\n", ""])
    joined = st.tuples(separators, st.lists(piece, max_size=6))
    return st.one_of(piece, joined.map(lambda parts: parts[0].join(parts[1])))


def documents(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Document]:
    """Documents of the first layer; equal ids may occur only for equal sources and texts."""

    def make(text: str, number: int, kind: str, title: str) -> Document:
        source = f"folder {number % 3}/{title}\u00e9.txt"
        return Document(
            id=document_id(source, number, text.encode()),
            text=text,
            source=source,
            position=number,
            format=kind,
            group=str(number % 2),
            metadata={"title": title},
        )

    titles = st.text("ab\u05d0\u202e '", max_size=5)
    kinds = st.sampled_from(FORMATS)
    text = texts() if text is None else text
    return st.builds(make, text, st.integers(0, 1000), kinds, titles)


def batches(
    text: st.SearchStrategy[str] | None = None, *, max_size: int = 6
) -> st.SearchStrategy[pa.RecordBatch]:
    """Batches of `SCHEMA` with different ids, the empty one among them."""
    rows: Any = st.lists(documents(text), max_size=max_size, unique_by=lambda made: made.id)
    return rows.map(to_batch)
