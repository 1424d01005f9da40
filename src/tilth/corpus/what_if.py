"""What would change if thresholds of the last rule were moved: nothing is measured or written.

    held = snapshot(corpus)
    found = what_if(held, {"has words": 25})
    found.newly_dropped.total, found.successions.total

The rule is applied anew to the columns that are there, which takes milliseconds. It keeps one
document of every family of duplicates among those that passed the other conditions, so a threshold
also decides who stands for a family, and may bring one back that had nobody.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.corpus.near_threshold import Near, nearest_to, threshold
from tilth.corpus.outcomes import Decision
from tilth.corpus.rules import Rule, decide
from tilth.corpus.snapshot import Snapshot, counted, is_number
from tilth.errors import UsageError, nearest

SIGNS = {"GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
# A name with one of these would be read as an expression on the command line.
_NOT_IN_A_NAME = frozenset("'\"=<>()")


@dataclass(frozen=True)
class Counts:
    """A condition, and for how many documents it is false and unknown, before and now."""

    name: str
    expression: str
    failed: int
    unknown: int
    failed_before: int
    unknown_before: int

    @property
    def changed(self) -> bool:
        return (self.failed, self.unknown) != (self.failed_before, self.unknown_before)


@dataclass(frozen=True)
class Turned:
    """A document that is kept now and was not, or was and is not. value: of the column moved."""

    before: Decision
    now: Decision
    value: float | None


@dataclass(frozen=True)
class Side:
    """How many turned, and those of them that are nearest to the threshold."""

    total: int
    nearest: tuple[Turned, ...]


@dataclass(frozen=True)
class Succession:
    """A family of duplicates that another document stands for now. Empty: nobody does."""

    cluster: str
    size: int
    before: str
    now: str


@dataclass(frozen=True)
class Successions:
    """How many families change who stands for them, and the largest of them."""

    total: int
    largest: tuple[Succession, ...]


@dataclass(frozen=True)
class WhatIf:
    """The rule as moved, what it would decide, and what that changes.

    near: documents on both sides of the moved threshold, as `near_threshold` gives them.
    """

    rule: Rule
    moved: tuple[str, ...]
    decisions: pa.Table
    kept: int
    kept_before: int
    documents: int
    conditions: tuple[Counts, ...]
    newly_kept: Side
    newly_dropped: Side
    successions: Successions
    near: tuple[Near, ...]

    @property
    def changed(self) -> bool:
        return bool(self.newly_kept.total or self.newly_dropped.total or self.successions.total)


def moved_rule(rule: Rule, moves: Mapping[str, float], columns: Any) -> Rule:
    """The rule with other numbers as thresholds. `moves`: condition -> number.

    Raises UsageError for a condition that is not in the rule or has no single threshold, and for a
    number that is not finite.
    """
    conditions = dict(rule.conditions)
    for name, number in moves.items():
        if name not in conditions:
            hint = nearest(name, conditions)
            raise UsageError(f"the rule has no condition {name!r}", hint=hint)
        if not math.isfinite(number):
            raise UsageError(f"a threshold is a finite number, not {number}", where=name)
        column, kind, before = threshold(conditions[name], columns)
        if number != before:
            shown = column if column.isidentifier() else '"' + column.replace('"', '""') + '"'
            conditions[name] = f"{shown} {SIGNS[kind]} {plain(number)}"
    return Rule(conditions, rule.keep_by)


def plain(number: float) -> str:
    """A number as it is typed: the shortest form, whole ones without a point."""
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def what_if(
    held: Snapshot, moves: Mapping[str, float], *, focus: str = "", examples: int = 5
) -> WhatIf:
    """What moving thresholds changes against the last rule's decisions.

    focus: the condition of which `near` and the nearest documents are shown; the first moved one
    without a name. examples: of each list. Raises UsageError as `moved_rule`, and where no rule was
    applied to the corpus.
    """
    if held.rule is None or held.decisions is None:
        raise UsageError("no rule was applied to this corpus yet", hint="tilth corpus select")
    names = held.columns.column_names
    rule = moved_rule(held.rule, moves, names)
    moved = tuple(n for n in rule.conditions if rule.conditions[n] != held.rule.conditions[n])
    focus = focus or next(iter(moves), "")
    if focus and focus not in rule.conditions:
        raise UsageError(f"the rule has no condition {focus!r}")
    now = decide(held.columns, rule)
    was = held.decisions
    before_counts, counts = counted(was, held.rule), counted(now, rule)
    after = Snapshot(held.columns, rule, now, held.problems, held.places)
    values = _values(held, rule, focus)
    kept, kept_before = after.kept, held.kept
    gained, lost = (
        _side(held, after, np.flatnonzero(chosen), values, examples)
        for chosen in (kept & ~kept_before, kept_before & ~kept)
    )
    near: list[Near] = []
    if values is not None:
        near = nearest_to(held.columns, now, rule.conditions[focus], examples)
    return WhatIf(
        rule, moved, now, int(kept.sum()), int(kept_before.sum()), len(kept),
        tuple(
            Counts(name, rule.conditions.get(name, ""), *counts[name], *before_counts[name])
            for name in counts
        ),
        gained, lost, _successions(held, kept_before, kept, examples), tuple(near),
    )  # fmt: skip


def _values(held: Snapshot, rule: Rule, focus: str) -> tuple[np.ndarray, float] | None:
    """The column that the condition compares, and its number; None where it has no threshold."""
    if not focus:
        return None
    try:
        column, _, number = threshold(rule.conditions[focus], held.columns.column_names)
    except UsageError:
        return None
    found = held.columns.column(column)
    if not is_number(found.type):
        return None
    return found.cast(pa.float64()).to_numpy(), number


def _side(
    held: Snapshot,
    after: Snapshot,
    rows: np.ndarray,
    values: tuple[np.ndarray, float] | None,
    most: int,
) -> Side:
    """Those nearest to the threshold first; where there is none, by id, which is a fair draw."""
    ids = held.columns.column("id")
    if values is None:
        order = np.argsort(np.asarray(ids.take(pa.array(rows)).to_pylist(), dtype=str))
    else:
        distance = np.abs(values[0][rows] - values[1])
        near = np.flatnonzero(distance <= _at(distance, most))
        names = np.asarray(ids.take(pa.array(rows[near])).to_pylist(), dtype=str)
        order = near[np.lexsort((names, distance[near]))]
    chosen = rows[order[:most]].tolist()
    return Side(
        len(rows),
        tuple(
            Turned(held.decision(row), after.decision(row), _known(values, row)) for row in chosen
        ),
    )


def _at(distance: np.ndarray, most: int) -> float:
    """The distance of the `most`-th nearest: ids are read of those alone that may be shown."""
    known = distance[~np.isnan(distance)]
    return float(np.partition(known, most - 1)[most - 1]) if len(known) > most > 0 else np.inf


def _known(values: tuple[np.ndarray, float] | None, row: int) -> float | None:
    if values is None or np.isnan(values[0][row]):
        return None
    return float(values[0][row])


def _successions(held: Snapshot, before: np.ndarray, now: np.ndarray, most: int) -> Successions:
    """Families for which another document stands, the largest first."""
    if "cluster" not in held.columns.column_names:
        return Successions(0, ())
    cluster = held.columns.column("cluster")
    sizes = held.columns.column("cluster_size")
    ids = held.columns.column("id")
    stood: dict[str, int] = {}
    stands: dict[str, int] = {}
    # Of a family at most one document is kept: only those that turned can tell of a change.
    for row in np.flatnonzero(before != now).tolist():
        name = cluster[row].as_py()
        if name is not None:
            (stood if before[row] else stands)[name] = row
    found = []
    for name in {*stood, *stands}:
        row = stands.get(name, stood.get(name, -1))
        found.append(
            Succession(
                name,
                int(sizes[row].as_py() or 0),
                ids[stood[name]].as_py() if name in stood else "",
                ids[stands[name]].as_py() if name in stands else "",
            )
        )
    found.sort(key=lambda entry: (-entry.size, entry.cluster))
    return Successions(len(found), tuple(found[:most]))


def select_command(folder: str, rule: Rule) -> str:
    """What to type in a shell to decide by this rule: `tilth corpus select FOLDER --where ...`."""
    words = ["tilth", "corpus", "select", folder]
    for name, expression in rule.conditions.items():
        nameable = name.strip() == name and ": " not in name and not set(name) & _NOT_IN_A_NAME
        words += ["--where", f"{name}: {expression}" if name and nameable else expression]
    words += ["--keep-by", rule.keep_by]
    return shlex.join(words)
