"""Rules: ordered named conditions over measured columns, all of which must be true.

A condition is an expression, not a program: it is parsed (sqlglot), may use known columns, a short
list of functions and operators, and runs on a locked DuckDB connection without files, network or
extensions. A document's reasons are all conditions that are false; conditions that are unknown (a
value is missing) are kept apart, and also drop it. Last, one document of every duplicate cluster is
kept among those that passed the other conditions: `keep_by` decides (greatest value first), then
the smallest id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tilth.errors import ExpressionError, UsageError, nearest

DUPLICATE = "duplicate"

DECISIONS = pa.schema(
    [
        ("id", pa.string()),
        ("passed", pa.bool_()),
        ("kept", pa.bool_()),
        ("reasons", pa.list_(pa.string())),
        ("unknown", pa.list_(pa.string())),
        ("representative", pa.string()),
    ]
)

FUNCTIONS = frozenset(
    "abs ceil coalesce contains floor greatest least length ln log lower round sqrt starts_with "
    "upper".split()
)
_OPERATORS = frozenset(
    "And Or Not EQ NEQ GT GTE LT LTE Add Sub Mul Div Mod Neg Between In Is Like ILike Paren Null "
    "Boolean Literal Column Identifier Case If Tuple".split()
)
_FUNCTION_NODES = frozenset(
    "Abs Ceil Coalesce Contains Floor Greatest Least Length Ln Log Lower Round Sqrt StartsWith "
    "Upper".split()
)
# Expressions by themselves, even where a column has such a name.
_WORDS = frozenset("null true false".split())


@dataclass(frozen=True)
class Rule:
    """Named conditions in order, and which document of a cluster to keep.

    conditions: name -> expression, such as `{"long enough": "words >= 50"}`.
    keep_by: an expression; the document with the greatest value stands for its cluster.
    """

    conditions: Mapping[str, str] = field(default_factory=dict)
    keep_by: str = "bytes"

    def parameters(self) -> dict[str, Any]:
        # A list of pairs: the order of conditions is part of the rule.
        conditions = [list(pair) for pair in self.conditions.items()]
        return {"conditions": conditions, "keep_by": self.keep_by}


def parse(expression: str, columns: Iterable[str], name: str = "") -> str:
    """The expression in checked, canonical form.

    Raises ExpressionError, which names the position, for what does not parse, is not allowed, or
    is not a known column (with the nearest one), or is nested too deeply.
    """
    known = set(columns)
    if expression in known and expression.isidentifier() and expression not in _WORDS:
        return f'"{expression}"'  # Most `keep_by` are a column, and the parser loads slowly.
    try:
        return _parsed(expression, known, name)
    except RecursionError:
        where = f"condition {name!r}" if name else "expression"
        raise ExpressionError("is nested too deeply", where=where) from None


def _parsed(expression: str, known: set[str], name: str) -> str:
    import sqlglot
    from sqlglot import errors as sqlglot_errors

    where = f"condition {name!r}" if name else "expression"
    try:
        trees = sqlglot.parse(expression, dialect="duckdb")
    except sqlglot_errors.SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        position = details[0].get("col")
        at = f" at character {position}" if position else ""
        raise ExpressionError(f"does not parse{at}: {expression!r}", where=where) from None
    if len(trees) != 1 or trees[0] is None:
        raise ExpressionError(f"must be one expression: {expression!r}", where=where)
    tree = trees[0]
    for node in tree.dfs():
        kind = type(node).__name__
        if kind == "Column":
            if len(getattr(node, "parts", ())) != 1 or node.name not in known:
                raise ExpressionError(
                    f"unknown column {node.sql()!r} at character {_position(node, expression)}",
                    where=where,
                    hint=nearest(node.name, known),
                )
        elif kind not in _OPERATORS and kind not in _FUNCTION_NODES:
            raise ExpressionError(
                f"{node.sql(dialect='duckdb')[:60]!r} at character {_position(node, expression)} "
                "is not allowed",
                where=where,
                hint="allowed are columns, numbers, texts, comparisons, and or not in between "
                "like is null case, + - * / %, and " + " ".join(sorted(FUNCTIONS)),
            )
    # Comments and unquoted names are gone in this form.
    for column in tree.find_all(sqlglot.exp.Identifier):
        column.set("quoted", True)
    return str(tree.sql(dialect="duckdb", comments=False))


def _position(node: Any, expression: str) -> int:
    """Where the node begins, counted from 1; the smallest position known in or above it."""
    starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
    if starts:
        return int(min(starts)) + 1
    found = expression.find(node.name) if node.name else -1
    return max(found, 0) + 1


def decide(table: pa.Table, rule: Rule, cluster: str | None = "cluster") -> pa.Table:
    """Apply the rule to a table with a column `id`; one row of `DECISIONS` for each, in order.

    `cluster` names the column of duplicate clusters (null = alone); None, or a table without that
    column, looks at no clusters.
    """
    columns = table.column_names
    if DUPLICATE in rule.conditions:
        raise UsageError(f"a condition may not be called {DUPLICATE!r}: the rule adds it itself")
    checked = {name: parse(text, columns, name) for name, text in rule.conditions.items()}
    best = parse(rule.keep_by, columns, "keep_by")
    connection = _locked_connection(table.append_column("_row", pa.array(range(len(table)))))
    names = list(checked)
    parts = [f"CAST(({sql}) AS BOOLEAN) AS c{i}" for i, sql in enumerate(checked.values())]
    passed = " AND ".join(f"COALESCE(c{i}, FALSE)" for i in range(len(names))) or "TRUE"
    group = f'"{cluster}"' if cluster in columns else "NULL"
    query = f"""
        WITH conditions AS (
            SELECT _row, id, {group} AS grouped, ({best}) AS best{"".join(", " + p for p in parts)}
            FROM documents
        ), marked AS (SELECT *, ({passed}) AS passed FROM conditions),
        ranked AS (
            SELECT *, CASE WHEN passed AND grouped IS NOT NULL THEN first_value(id) OVER (
                PARTITION BY grouped, passed ORDER BY best DESC NULLS LAST, id
            ) END AS first FROM marked
        )
        SELECT id, passed, passed AND (first IS NULL OR first = id) AS kept,
            list_filter([{_cases(names, "NOT c{}")}
                CASE WHEN first IS NOT NULL AND first <> id THEN '{DUPLICATE}' END],
                lambda x: x IS NOT NULL) AS reasons,
            list_filter([{_cases(names, "c{} IS NULL")} NULL], lambda x: x IS NOT NULL) AS unknown,
            CASE WHEN first <> id THEN first END AS representative
        FROM ranked ORDER BY _row
    """
    try:
        return connection.sql(query).to_arrow_table().cast(DECISIONS)
    except Exception as error:
        # A condition that parses may still not fit the types of its columns.
        line = str(error).splitlines()[0]
        raise ExpressionError(f"cannot be evaluated: {line}", where="rule") from None
    finally:
        connection.close()


def _cases(names: Iterable[str], test: str) -> str:
    quoted = [name.replace("'", "''") for name in names]
    return "".join(
        f"CASE WHEN {test.format(i)} THEN '{name}' END, " for i, name in enumerate(quoted)
    )


def _locked_connection(table: pa.Table) -> Any:
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoload_known_extensions": "false",
            "autoinstall_known_extensions": "false",
            "python_enable_replacements": "false",
            "threads": "1",
        },
    )
    connection.register("documents", table)
    connection.execute("SET lock_configuration = true")
    return connection
