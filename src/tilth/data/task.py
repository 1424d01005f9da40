"""Task: labelled data of one kind. Collection: what a search is tried on.

A Task is an Arrow table with the columns of its kind (`KINDS`), in splits that no group crosses.
Splits are made by `split_by_group` or `split_by_time`, before anything is fitted; for splits closed
under near-duplicates give the column of duplicate clusters as the group.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from tilth.data.sets import Source
from tilth.documents.document import Problem
from tilth.errors import DataError, UsageError, nearest
from tilth.store.digest import digest, digest_value

# Each kind's columns, in the order of the table, beside `id`, `group` and `split`, which all but
# `rank` have. `group` may repeat the id; `split` may be empty.
FIELDS: dict[str, dict[str, str]] = {
    "classify": {"text": "string", "label": "string"},
    "multilabel": {"text": "string", "labels": "strings"},
    "tag": {"tokens": "strings", "tags": "strings"},
    "choose": {"text": "string", "choices": "strings", "answer": "int64"},
    "pair": {"text": "string", "other": "string", "label": "string"},
    "bag": {"texts": "strings", "label": "string"},
    "generate": {"messages": "messages"},
    "regress": {"text": "string", "other": "string", "target": "float64"},
}
KINDS: dict[str, dict[str, str]] = {
    **{kind: {"id": "string", **fields, "group": "string", "split": "string"}
       for kind, fields in FIELDS.items()},
    "rank": {"query": "string", "document": "string", "gain": "int64", "split": "string"},
}  # fmt: skip
# What a user's own file must hold; the reader fills in the others.
REQUIRED = {kind: tuple(fields) for kind, fields in FIELDS.items()} | {
    "regress": ("text", "target"),
    "rank": ("query", "document", "gain"),
}
METRICS = {
    "classify": "accuracy", "multilabel": "micro F1", "tag": "entity F1", "choose": "accuracy",
    "pair": "accuracy", "bag": "AUC", "generate": "exact match", "regress": "Pearson",
    "rank": "nDCG@10",
}  # fmt: skip
TYPES = {
    "string": pa.large_string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "strings": pa.list_(pa.large_string()),
    "messages": pa.list_(pa.struct([("role", pa.large_string()), ("content", pa.large_string())])),
}


def schema(kind: str) -> pa.Schema:
    """The Arrow schema of a kind. Raises UsageError for one that is not known."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind of task {kind!r}", hint=nearest(kind, KINDS))
    return pa.schema([(column, TYPES[name]) for column, name in KINDS[kind].items()])


@dataclass(frozen=True)
class Collection:
    """Documents and queries: tables of `id`, `title`, `text` and of `id`, `text`."""

    documents: pa.Table
    queries: pa.Table

    def texts(self) -> dict[str, str]:
        """Document id -> title and text; a title that the text begins with is not repeated."""
        return {
            row["id"]: _joined(row["title"] or "", row["text"])
            for row in self.documents.to_pylist()
        }

    def query_texts(self) -> dict[str, str]:
        return dict(zip(self.queries["id"].to_pylist(), self.queries["text"].to_pylist()))

    @functools.cached_property
    def digest(self) -> str:
        return digest_value([self.documents.to_pydict(), self.queries.to_pydict()])


def _joined(title: str, text: str) -> str:
    return text if not title or text.startswith(title) else f"{title}\n{text}"


@dataclass(frozen=True)
class Task:
    """Labelled data. `licence` is `not stated` where nobody says.

    `table`: columns of `KINDS[kind]`. `metric`: by which the task is judged. `collection`: what a
    `rank` task searches; its table holds the judgements, where a greater gain is better and what
    is not listed has none. `problems`: rows that could not be used, and why.
    Raises DataError where columns or the collection are missing.
    """

    kind: str
    name: str
    table: pa.Table
    metric: str = ""
    licence: str = "not stated"
    collection: Collection | None = None
    problems: tuple[Problem, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        wanted = schema(self.kind)
        if self.table.column_names != wanted.names:
            raise DataError(
                f"a {self.kind} task has columns {', '.join(wanted.names)}, "
                f"not {', '.join(self.table.column_names)}",
                where=self.name,
            )
        if (self.kind == "rank") != (self.collection is not None):
            raise DataError(
                f"a collection belongs to a rank task, not {self.kind}", where=self.name
            )
        object.__setattr__(self, "table", self.table.cast(wanted))
        object.__setattr__(self, "metric", self.metric or METRICS[self.kind])

    @functools.cached_property
    def digest(self) -> str:
        """Of what the task says, whatever file it was read from."""
        inner = self.collection.digest if self.collection else ""
        return digest(self.kind, self.metric, digest_value(self.table.to_pydict()), inner)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What a result says of it."""
        return (Source(self.name, self.digest, self.licence),)

    @property
    def labels(self) -> list[str]:
        """The labels (tags of a `tag` task) that occur, sorted; empty for kinds without labels."""
        for column in ("label", "labels", "tags"):
            if column in KINDS[self.kind]:
                values = self.table[column].to_pylist()
                return sorted(set(values if column == "label" else itertools.chain(*values)))
        return []

    def texts(self) -> list[str]:
        """All text of each row in one string, to learn a language from; a `rank` task has none."""
        if self.kind == "rank":
            raise UsageError("a rank task has no texts of its own", where=self.name)
        return [
            _all_text(dict(zip(self.table.column_names, row)))
            for row in zip(*(column.to_pylist() for column in self.table.columns))
        ]

    def splits(self) -> dict[str, int]:
        """Rows of each split; rows that are in none are under the empty name."""
        return dict(sorted(Counter(self.table["split"].to_pylist()).items()))

    def split(self, name: str) -> Task:
        """The rows of one split. Raises UsageError, naming those there are."""
        if name not in self.splits():
            raise UsageError(
                f"{self.name} has no split {name!r}", hint=nearest(name, self.splits())
            )
        return replace(self, table=self.table.filter(pc.equal(self.table["split"], name)))

    def take(self, numbers: Sequence[int]) -> Task:
        """The rows of these numbers, in the order given."""
        return replace(self, table=self.table.take(pa.array(numbers, pa.int64())))

    def with_splits(self, shares: Mapping[str, float], seed: int = 0) -> Task:
        """New splits, by the group of each row; those of a `rank` task by query."""
        column = "query" if self.kind == "rank" else "group"
        return replace(self, table=split_by_group(self.table, column, shares, seed))

    def judgements(self) -> dict[str, dict[str, int]]:
        """Query id -> document id -> gain, of a `rank` task."""
        if self.kind != "rank":
            raise UsageError(f"a {self.kind} task has no judgements", where=self.name)
        found: dict[str, dict[str, int]] = {}
        for row in self.table.to_pylist():
            found.setdefault(row["query"], {})[row["document"]] = row["gain"]
        return found


def _all_text(row: Mapping) -> str:
    if "tokens" in row:
        return " ".join(row["tokens"])
    if "messages" in row:
        return "\n".join(message["content"] for message in row["messages"])
    parts = [row.get("text", ""), row.get("other", ""), *row.get("choices", [])]
    return "\n".join(part for part in [*parts, *row.get("texts", [])] if part)


def split_by_group(
    table: pa.Table, group: str, shares: Mapping[str, float], seed: int = 0
) -> pa.Table:
    """The table with a column `split` that no value of `group` crosses.

    Groups are taken in the order of a digest of (seed, group) until each split has its share of
    the rows; so the order of rows does not matter and a new row moves few others. Raises
    DataError where a split would stay empty.
    """
    counts = Counter(_column(table, group))
    order = sorted(counts, key=lambda name: (digest("split", seed, str(name)), str(name)))
    return _fill(table, group, order, counts, shares)


def split_by_time(table: pa.Table, time: str, shares: Mapping[str, float]) -> pa.Table:
    """The table with a column `split`, oldest rows first; rows of one time stay together."""
    counts = Counter(_column(table, time))
    if None in counts:
        raise DataError(f"{counts[None]} rows have no {time!r}", hint="leave them out first")
    return _fill(table, time, sorted(counts), counts, shares)


def _column(table: pa.Table, name: str) -> list:
    if name not in table.column_names:
        raise DataError(f"there is no column {name!r}", hint=nearest(name, table.column_names))
    return table[name].to_pylist()


def _fill(
    table: pa.Table, column: str, order: list, counts: Mapping, shares: Mapping[str, float]
) -> pa.Table:
    total = sum(shares.values())
    if not shares or min(shares.values()) <= 0:
        raise UsageError(f"shares are above 0, not {dict(shares)}")
    ends: list[float] = []
    names = list(shares)
    for name in names:
        ends.append((ends[-1] if ends else 0.0) + shares[name] / total * table.num_rows)
    split_of, done, place = {}, 0, 0
    for value in order:
        # A group belongs where its middle lies, so that large ones overshoot least.
        while place < len(names) - 1 and done + counts[value] / 2 > ends[place]:
            place += 1
        split_of[value] = names[place]
        done += counts[value]
    if missing := [name for name in names if name not in split_of.values()]:
        raise DataError(
            f"{len(order)} groups of {column!r} leave the split {missing[0]!r} empty",
            hint="give more groups or a larger share",
        )
    values = pa.array([split_of[value] for value in table[column].to_pylist()], pa.large_string())
    if "split" in table.column_names:
        return table.set_column(table.column_names.index("split"), "split", values)
    return table.append_column("split", values)
