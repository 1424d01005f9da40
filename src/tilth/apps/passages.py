"""From a question to passages: the documents that a retriever finds, and of each the best part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from tilth.apps.answers import Passage
from tilth.apps.quoting import asked, overlap
from tilth.errors import UsageError
from tilth.retrieval.dense import passage_spans
from tilth.retrieval.highlight import best_passage

TARGET = 800  # characters of a passage, as the dense index has them


class Words(Protocol):
    """What knows words and how rare they are: `retrieval.bm25.BM25`."""

    analyzer: Any

    def idf(self, terms: Iterable[str]) -> dict[str, float]: ...


def terms_of(words: Words, text: str) -> list[str]:
    """The terms of a text in their order."""
    return list(words.analyzer.terms(text))


def weights_of(words: Words, question: str) -> dict[str, float]:
    """What a question asks for: term -> idf."""
    return asked(words.idf(terms_of(words, question)))


def find_passages(retriever: Any, texts: Any, words: Words, question: str, k: int) -> list[Passage]:
    """A passage of each of the k best documents, in their order, numbered from 1.

    It is the part whose terms weigh most of the question's. Where a dense index found the document,
    alone or by a part without any of these words, it is the part that lies nearest.
    """
    if k < 1:
        raise UsageError(f"k is {k}", hint="give 1 or more")
    ids = [id for id, _ in retriever.search([question], k=k).rows["0"]]
    documents = texts.get_many(ids)
    weights = weights_of(words, question)
    spans = nearest_spans(retriever, question, ids)
    passages: list[Passage] = []
    for id in ids:
        document = documents[id]
        found = None if hasattr(retriever, "best_passages") else best_span(
            document.text, weights, words
        )  # fmt: skip
        if found is None:
            found = spans.get(id) or next(iter(passage_spans(document.text, TARGET)), None)
        if found is None:
            continue
        start, stop = _trimmed(document.text, *found)
        text = document.text[start:stop]
        _, _, matches = best_passage(text, question, words.analyzer, max(1, len(text)), weights)
        title = document.metadata.get("title") or document.metadata.get("qualified_name") or ""
        passages.append(
            Passage(
                len(passages) + 1, id, document.source, str(title), start, stop, text,
                tuple(matches),
            )
        )  # fmt: skip
    return passages


def best_span(text: str, weights: Mapping[str, float], words: Words) -> tuple[int, int] | None:
    """The passage that holds most of the weight, the first of equal ones; None where none does."""
    best, found = 0.0, None
    for start, stop in passage_spans(text, TARGET):
        share = overlap(weights, set(terms_of(words, text[start:stop])))
        if share > best:
            best, found = share, (start, stop)
    return found


def nearest_spans(retriever: Any, question: str, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of each document the part that a dense index, alone or in a fusion, holds for nearest."""
    dense = retriever
    if not hasattr(dense, "best_passages"):
        dense = getattr(retriever, "retrievers", {}).get("dense")
    if dense is None or not ids:
        return {}
    return {id: span for id, span in zip(ids, dense.best_passages(question, ids)) if span}


def _trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    part = text[start:stop]
    start += len(part) - len(part.lstrip())
    return start, start + len(part.strip())
