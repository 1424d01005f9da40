"""Documents of one's own, in the order in which they lie: what a measurement reads.

`build.reading` reads the same inputs for a training, and parts them; here nothing is held out,
unless only what a run held out is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError

if TYPE_CHECKING:
    from tilth.documents.document import Document, Problem


def documents(
    inputs: Sequence[str], *, text_column: str = "", held_out: bool = False
) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """((name, text) of each document, what could not be read).

    `inputs` are files, folders, tables, run or corpus folders (what their rule kept), or named
    sets. `held_out`: of runs and corpora only what their split keeps apart. Raises UsageError for a
    path that is none and for `held_out` of what has no split, DataError where nothing is read.
    """
    from tilth.data.sets import open_data

    rows: list[tuple[str, str]] = []
    unread: list[Problem] = []
    for given in inputs:
        if held_out:
            found = _held_out(given)
        else:
            opened: Any = open_data(given, "corpus")
            options = {"text_column": text_column} if text_column else {}
            found = opened.documents(unread, **options)
        rows += [(_name(one), one.text) for one in found]
    listed = [{"source": p.source, "reason": p.reason, "detail": p.detail} for p in unread]
    if not rows:
        why = f": {listed[0]['source']}, {listed[0]['reason']}" if listed else ""
        raise DataError(f"there is no text to read{why}", where=", ".join(inputs))
    return rows, listed


def _held_out(given: str) -> list[Document]:
    """What the split of a run or corpus keeps apart."""
    from tilth.build.run import open_corpus

    if not Path(given).is_dir():
        raise UsageError("is no run folder: it holds nothing apart", where=given)
    corpus = open_corpus(given)
    found = [] if corpus.decisions() is None else list(corpus.documents(kept=True, split="test"))
    if not found:
        raise DataError("no document of it is held out", where=given)
    return found


def _name(document: Document) -> str:
    """The source, with the place where a source holds several."""
    return f"{document.source} {document.position}"


def first_words(given: str, words: int) -> tuple[list[str], list[str], int]:
    """(names, the first `words` words of each document, how many were too short)."""
    from tilth.data.sets import open_data

    if words < 2:
        raise UsageError(f"texts of {words} words say nothing")
    names, kept, short = [], [], 0
    opened: Any = open_data(given, "corpus")
    for document in opened.documents():
        ends = [one.end() for one in islice(re.finditer(r"\S+", document.text), words)]
        if len(ends) < words:
            short += 1
            continue
        names.append(_name(document))
        kept.append(document.text[: ends[-1]].lstrip())
    if not kept:
        raise DataError(f"no text has {words} words", where=given, hint="a smaller --words")
    return names, kept, short


def fitting_texts(
    names: list[str], texts: list[str], pairs: list[tuple[Any, Any]], begin: bool, where: str
) -> tuple[list[str], list[str], list[str]]:
    """(names, texts) that every (model, tokenizer) can score at once, and the names of the others.

    As they are and in lower case; `begin` puts a token in front. DataError where none can be.
    """
    from tilth.evaluation.own_texts import fitting

    fits = [True] * len(texts)
    for model, tokenizer in pairs:
        context = getattr(model.config, "max_position_embeddings", None)
        found = fitting(texts, tokenizer, context, begin=begin)
        fits = [one and other for one, other in zip(fits, found)]
    if not any(fits):
        raise DataError("every text has more tokens than the model's context", where=where,
                        hint="a smaller --words")  # fmt: skip
    kept = [(name, text) for name, text, fit in zip(names, texts, fits) if fit]
    long = [name for name, fit in zip(names, fits) if not fit]
    return [name for name, _ in kept], [text for _, text in kept], long
