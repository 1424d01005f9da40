"""Training text for a scorer: a file, a folder, a corpus that tilth made, or a named set.

A file of rows with a column `label` is labelled; the caller says which labels are the positive
class. Anything else is read as documents, all of one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tilth.data.named import SETS
from tilth.data.sets import find_set, open_data, open_set
from tilth.data.task import Task
from tilth.errors import DataError, UsageError, nearest
from tilth.store.digest import digest

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")


class Training(NamedTuple):
    """`labels`: true for the positive class, None where there is one class.

    `left_out`: texts beyond the limit, or that could not be read.
    """

    texts: list[str]
    labels: list[bool] | None
    left_out: int = 0


def source_digest(given: str) -> str:
    """The digest of a path or of a named set. Raises UsageError where it is neither."""
    if given in SETS and not Path(given).exists():
        return find_set(given).digest
    return str(open_data(given, "corpus").digest)


def read_training(given: str, positive: Sequence[str] | None = (), *, limit: int = 0) -> Training:
    """The texts of a source, in a fixed order; at most `limit` bytes of them, 0 for all.

    With labels the names in `positive` make the positive class; None passes over labels. Where
    the limit leaves some out, the texts are taken whole, in the order of their digests. Raises
    UsageError where `positive` does not fit the labels, DataError where there is no text.
    """
    task = _labelled(given)
    labels: list[bool] | None = None
    left_out = 0
    if task is not None and positive is None:
        texts = task.table["text"].to_pylist()
        left_out = len(task.problems)
    elif task is not None:
        known = task.labels
        listed = ", ".join(known[:12])
        if not positive:
            raise UsageError(f"{given} has labels ({listed}): say which are the positive class")
        for name in positive:
            if name not in known:
                hint = nearest(name, known)
                raise UsageError(f"{given} has no label {name!r}, only {listed}", hint=hint)
        texts = task.table["text"].to_pylist()
        labels = [label in positive for label in task.table["label"].to_pylist()]
        left_out = len(task.problems)
    else:
        if positive:
            raise UsageError(f"{given} has no column 'label', so no label {positive[0]!r}")
        problems: list = []
        place = open_data(given, "corpus")
        assert not isinstance(place, Task)
        texts = [document.text for document in place.documents(problems) if document.text.strip()]
        left_out = len(problems)
    if not texts:
        raise DataError("holds no text to train on", where=given)
    kept = _within(texts, limit) if limit else range(len(texts))
    return Training(
        [texts[n] for n in kept],
        None if labels is None else [labels[n] for n in kept],
        left_out + len(texts) - len(kept),
    )


def _labelled(given: str) -> Task | None:
    """The task that a source is, None where it is plain documents."""
    path = Path(given)
    if given in SETS and not path.exists():
        opened = open_set(given)
        if isinstance(opened, Task) and opened.kind != "classify":
            raise UsageError(f"{given} is a set of kind {opened.kind}, not of texts")
        return opened if isinstance(opened, Task) else None
    if not path.is_file() or not path.name.removesuffix(".gz").endswith(TABLES):
        return None
    try:
        opened = open_data(given, "classify")
    except UsageError:
        return None
    return opened if isinstance(opened, Task) else None


def _within(texts: Sequence[str], limit: int) -> list[int]:
    """Places of whole texts of at most `limit` bytes together, the first in any case."""
    chosen: list[int] = []
    taken = 0
    for place in sorted(range(len(texts)), key=lambda n: digest("training", texts[n])):
        size = len(texts[place].encode("utf-8", "replace"))
        if not chosen or taken + size <= limit:
            chosen.append(place)
            taken += size
    return sorted(chosen)
