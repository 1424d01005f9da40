"""Documents just above and just below a threshold: what a small change of it would move.

Looking at a handful of them says more about a threshold than any quantile. Works for conditions
that compare one column with a number (`words >= 50`); the rest has no distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.lineage import read_lineage
from tilth.corpus.rules import Rule, parse
from tilth.errors import UsageError, nearest

if TYPE_CHECKING:
    from tilth.corpus.corpus import Corpus

_COMPARE = {"GT": np.greater, "GTE": np.greater_equal, "LT": np.less, "LTE": np.less_equal}
_MIRRORED = {"GT": "LT", "GTE": "LTE", "LT": "GT", "LTE": "GTE"}


@dataclass(frozen=True)
class Near:
    """A document near a threshold, with the value that was compared and what the rule decided."""

    id: str
    source: str
    position: int
    value: float
    met: bool
    kept: bool


def threshold(expression: str, columns: Any) -> tuple[str, str, float]:
    """(column, comparison, number) of a condition such as `words >= 50`.

    The comparison is GT, GTE, LT or LTE. Raises UsageError for every other kind of condition.
    """
    import sqlglot
    from sqlglot import expressions

    tree = sqlglot.parse_one(parse(expression, columns), dialect="duckdb").unnest()
    kind = type(tree).__name__
    if kind in _MIRRORED:
        left, right = tree.this.unnest(), tree.expression.unnest()
        if isinstance(right, expressions.Column):
            left, right, kind = right, left, _MIRRORED[kind]
        number = _number(right)
        if isinstance(left, expressions.Column) and number is not None:
            return left.name, kind, number
    raise UsageError(
        f"{expression!r} does not compare one column with a number, so nothing is near to it"
    )


def _number(tree: Any) -> float | None:
    try:
        return float(tree.sql())
    except ValueError:
        return None


def last_rule(corpus: Corpus, layer: str | None = None) -> Rule:
    """The rule that decided last on a layer. Raises UsageError where there was none."""
    found = rule_of(corpus, layer)
    if found is None:
        raise UsageError("no rule was applied to this corpus yet", where=str(corpus.folder))
    return found


def rule_of(corpus: Corpus, layer: str | None = None) -> Rule | None:
    """The rule that decided last on a layer; None where there was none."""
    name = corpus.layer_folder(layer).name
    for entry in reversed(read_lineage(corpus.folder)):
        if entry["step"] == "select" and entry["layer"] == name:
            parameters = entry["parameters"]
            return Rule(dict(parameters["conditions"]), parameters["keep_by"])
    return None


def near_threshold(
    corpus: Corpus, condition: str, count: int = 5, layer: str | None = None
) -> list[Near]:
    """At most `count` documents on each side of a condition of the last rule, nearest first.

    Those that meet the condition come first. Documents without the value are on neither side.
    """
    rule = last_rule(corpus, layer)
    if condition not in rule.conditions:
        hint = nearest(condition, rule.conditions)
        raise UsageError(f"the rule has no condition {condition!r}", hint=hint)
    return nearest_to(*_tables(corpus, layer), rule.conditions[condition], count)


def near_thresholds(
    corpus: Corpus, count: int = 5, layer: str | None = None
) -> dict[str, list[Near]]:
    """The same for every condition of the last rule; those without a threshold are left out."""
    tables = _tables(corpus, layer)
    found = {}
    for name, expression in last_rule(corpus, layer).conditions.items():
        try:
            found[name] = nearest_to(*tables, expression, count)
        except UsageError:
            continue
    return found


def _tables(corpus: Corpus, layer: str | None) -> tuple[pa.Table, pa.Table]:
    decisions = corpus.decisions(layer)
    assert decisions is not None, "a rule that is in the lineage has decided"
    return corpus.columns(layer), decisions


def nearest_to(table: pa.Table, decisions: pa.Table, expression: str, count: int) -> list[Near]:
    """The same from columns and decisions at hand, for any expression with a threshold."""
    column, kind, limit = threshold(expression, table.column_names)
    stored = table.schema.field(column).type
    if not pa.types.is_integer(stored) and not pa.types.is_floating(stored):
        raise UsageError(f"column {column!r} holds no numbers, so nothing is near to {limit}")
    values = pc.cast(table.column(column), pa.float64()).to_numpy()
    met = _COMPARE[kind](values, limit)
    known = ~np.isnan(values)
    ids = table.column("id").to_numpy(zero_copy_only=False).astype(str)
    found = []
    for side in (True, False):
        rows = np.flatnonzero(known & (met == side))
        order = np.lexsort((ids[rows], np.abs(values[rows] - limit)))
        for row in rows[order[:count]].tolist():
            found.append(
                Near(
                    id=str(ids[row]),
                    source=table.column("source")[row].as_py(),
                    position=table.column("position")[row].as_py(),
                    value=float(values[row]),
                    met=side,
                    kept=decisions.column("kept")[row].as_py(),
                )
            )
    return found
