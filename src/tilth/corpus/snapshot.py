"""What was measured and decided on a layer, read once and held: for many questions in a row.

    held = snapshot(corpus)
    listed(held, show="dropped", reason="has words").rows
    held.decision(id).reasons

A corpus is read from its files at each question otherwise, which is right for a command and slow
for a page. Texts are not held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.duplicates import COLUMNS
from tilth.corpus.near_threshold import rule_of
from tilth.corpus.outcomes import Decision
from tilth.corpus.rules import DUPLICATE, Rule
from tilth.documents.document import Problem
from tilth.errors import UsageError, nearest

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

# Columns of a document that are no measurement.
IDENTITY = frozenset({"id", "source", "position", "format", "group", "origin", *COLUMNS})
# What a list may be asked for.
SHOW = ("all", "kept", "dropped", "unread")
UNKNOWN = " (unknown)"


@dataclass(frozen=True)
class Snapshot:
    """Columns of a layer with, row by row, what its last rule decided; and what was not read.

    rule, decisions: None where no rule was applied. used: columns that the rule reads.
    """

    columns: pa.Table
    rule: Rule | None
    decisions: pa.Table | None
    problems: tuple[Problem, ...] = ()
    places: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> np.ndarray:
        """Which documents are kept; all where no rule was applied."""
        if self.decisions is None:
            return np.ones(self.columns.num_rows, dtype=bool)
        return np.asarray(self.decisions.column("kept"), dtype=bool)

    @property
    def signals(self) -> list[str]:
        """The measured columns."""
        return [name for name in self.columns.column_names if name not in IDENTITY]

    @property
    def numbers(self) -> list[str]:
        """The measured columns that hold numbers."""
        return [name for name in self.signals if is_number(self.columns.schema.field(name).type)]

    def row(self, id: str) -> int | None:
        """The row of a document, by its whole id."""
        return self.places.get(id)

    def values(self, row: int) -> dict[str, Any]:
        """All columns of one document."""
        return {name: self.columns.column(name)[row].as_py() for name in self.columns.column_names}

    def decision(self, row: int) -> Decision:
        """What happened to one document: every reason, and every condition that is unknown."""
        names = ("source", "position", "id")
        source, position, id = (self.columns.column(name)[row].as_py() for name in names)
        if self.decisions is None:
            return Decision(source, position, id, True)
        found = {
            name: self.decisions.column(name)[row].as_py() for name in self.decisions.schema.names
        }
        return Decision(
            source, position, id, found["kept"], tuple(found["reasons"]), tuple(found["unknown"]),
            found["representative"] or "",
        )  # fmt: skip


def snapshot(corpus: Corpus, layer: str | None = None) -> Snapshot:
    """Read the columns, the last rule and its decisions of a layer, the last one without a name."""
    columns = corpus.columns(layer).combine_chunks()
    decisions, rule = corpus.decisions(layer), rule_of(corpus, layer)
    ids = columns.column("id").to_pylist()
    places = {id: row for row, id in enumerate(ids)}
    return Snapshot(columns, rule, decisions, tuple(corpus.problems()), places)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type can be compared with a number."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


@dataclass(frozen=True)
class Listed:
    """A page of a list: how many there are in all, and the rows (or problems) of this page."""

    total: int
    rows: tuple[int, ...] = ()
    problems: tuple[Problem, ...] = ()


def listed(
    held: Snapshot,
    *,
    show: str = "all",
    reason: str = "",
    source: str = "",
    order: str = "",
    descending: bool = False,
    offset: int = 0,
    limit: int = 50,
) -> Listed:
    """Documents that are kept or dropped, for a reason or not, whose source holds a text.

    show: one of `SHOW`; `unread` lists what could not be read, its reasons are those of problems.
    reason: a condition's name, `duplicate`, or a name with ` (unknown)` behind it. order: a column;
    rows without a value come last, and equal ones by source and position. Raises UsageError for an
    unknown `show` or column.
    """
    if show not in SHOW:
        raise UsageError(f"no list is called {show!r}", hint=nearest(show, SHOW))
    stop = offset + limit
    if show == "unread":
        found = [
            problem for problem in held.problems
            if source.lower() in problem.source.lower() and reason in ("", problem.reason)
        ]  # fmt: skip
        return Listed(len(found), problems=tuple(found[offset:stop]))
    table = held.columns
    if order and order not in table.column_names:
        raise UsageError(f"no column is called {order!r}", hint=nearest(order, table.column_names))
    chosen = np.ones(table.num_rows, dtype=bool)
    if show != "all":
        chosen &= held.kept == (show == "kept")
    if source:
        text = pc.match_substring(table.column("source"), source, ignore_case=True)
        chosen &= np.asarray(text, dtype=bool)
    if reason:
        chosen &= _has_reason(held, reason)
    rows = np.flatnonzero(chosen)
    keys = [("source", "ascending"), ("position", "ascending"), ("id", "ascending")]
    if order:
        keys = [(order, "descending" if descending else "ascending"), *keys]
    elif descending:
        keys[0] = ("source", "descending")
    names = list(dict.fromkeys(name for name, _ in keys))
    places = pc.sort_indices(table.select(names).take(pa.array(rows)), sort_keys=keys)
    return Listed(len(rows), tuple(rows[places.slice(offset, limit).to_numpy()].tolist()))


def _has_reason(held: Snapshot, reason: str) -> np.ndarray:
    result = np.zeros(held.columns.num_rows, dtype=bool)
    if held.decisions is not None:
        unknown = reason.endswith(UNKNOWN)
        lists = held.decisions.column("unknown" if unknown else "reasons").combine_chunks()
        hit = pc.equal(pc.list_flatten(lists), reason.removesuffix(UNKNOWN))
        result[pc.list_parent_indices(lists).filter(hit).to_numpy()] = True
    return result


def counted(decisions: pa.Table, rule: Rule) -> dict[str, tuple[int, int]]:
    """Condition -> (documents for which it is false, for which it is unknown), in the rule's
    order; then `duplicate`."""
    found = {}
    for column in ("reasons", "unknown"):
        counts = pc.value_counts(pc.list_flatten(decisions.column(column))).to_pylist()
        found[column] = {entry["values"]: entry["counts"] for entry in counts}
    return {
        name: (found["reasons"].get(name, 0), found["unknown"].get(name, 0))
        for name in (*rule.conditions, DUPLICATE)
    }
