"""Documents and queries as retrievers take them, checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tilth.errors import DataError, UsageError

# Documents are taken this many characters at a time.
CHUNK = 16_000_000


def pairs(batches: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Iterator[tuple[str, str]]:
    """(id, text) of each document of batches (ids, texts)."""
    for ids, texts in batches:
        if len(ids) != len(texts):
            raise DataError(f"a batch has {len(ids)} ids and {len(texts)} texts")
        yield from zip(ids, texts)


def chunks(documents: Iterable[tuple[str, str]]) -> Iterator[dict[str, str]]:
    """Documents in groups of about `CHUNK` characters. Raises DataError for what is no string."""
    chunk: dict[str, str] = {}
    size = 0
    for id, text in documents:
        if not isinstance(id, str):
            raise DataError(f"the id {id!r} is {type(id).__name__}, not text")
        if not isinstance(text, str):
            raise DataError(
                f"its text is {type(text).__name__}, not text", where=f"document {id!r}"
            )
        chunk[id] = text
        size += len(text) + 1
        if size >= CHUNK:
            yield chunk
            chunk, size = {}, 0
    if chunk:
        yield chunk


def named(queries: Sequence[str] | Mapping[str, str], k: int) -> Mapping[str, str]:
    """Query id -> text; the ids of a sequence are "0", "1", ... UsageError for k below 1."""
    if isinstance(queries, str):
        raise UsageError("queries is one text", hint="give a list: search([query])")
    if k < 1:
        raise UsageError(f"k is {k}", hint="give 1 or more")
    if isinstance(queries, Mapping):
        return queries
    return {str(number): text for number, text in enumerate(queries)}
