"""How a measured column is spread: documents between edges, and where a number lies among them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tilth.corpus.near_threshold import threshold
from tilth.corpus.rules import Rule
from tilth.errors import UsageError

BINS = 24
# A column is drawn over powers of two where its maximum is so many times its median.
SKEWED = 20


@dataclass(frozen=True)
class Limit:
    """A threshold of a rule on a column: `comparison` is GT, GTE, LT or LTE."""

    condition: str
    column: str
    comparison: str
    number: float

    @property
    def above(self) -> bool:
        """Whether the values above the number meet the condition."""
        return self.comparison in ("GT", "GTE")


@dataclass(frozen=True)
class Histogram:
    """Documents by value. `counts[i]` lie from `edges[i]` to `edges[i + 1]`, drawn equally wide.

    missing: documents without a (finite) value. whole: the column holds whole numbers.
    """

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int
    whole: bool

    def place(self, value: float) -> float:
        """Where a value lies on the drawn axis, 0.0 to 1.0; an end stands for what lies beyond."""
        return place(self.edges, value)


def place(edges: Sequence[float], value: float) -> float:
    """Where a value lies on an axis on which the spaces between edges are equally wide."""
    if value <= edges[0]:
        return 0.0
    if value >= edges[-1]:
        return 1.0
    left = bisect_right(edges, value) - 1
    within = (value - edges[left]) / (edges[left + 1] - edges[left])
    return float((left + within) / (len(edges) - 1))


def column_histogram(columns: pa.Table, name: str) -> Histogram | None:
    """The histogram of a column of numbers; None where no document has a finite value."""
    column = columns.column(name)
    values = pc.drop_null(column).to_numpy().astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    found = histogram(values)
    whole = bool(pa.types.is_integer(column.type))
    missing = columns.num_rows - len(values)
    return Histogram(name, tuple(found["edges"]), tuple(found["counts"]), missing, whole)


def histogram(values: np.ndarray) -> dict[str, Any]:
    """`edges` (n + 1) and `counts` (n); skewed counts get the edges 0, 1, 2, 4, 8 ..."""
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high >= 32 and high > SKEWED * max(float(np.median(values)), 1):
        edges = np.concatenate([[0.0], 2.0 ** np.arange(int(np.log2(high)) + 2)])
        # Powers of two below the smallest value would be empty bars.
        first = max(0, int(np.searchsorted(edges, low, side="right")) - 1)
        edges = edges[first:]
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts, _ = np.histogram(values, edges)
    return {"edges": [float(f"{edge:.6g}") for edge in edges], "counts": counts.tolist()}


def limits(rule: Rule, columns: Sequence[str]) -> list[Limit]:
    """The thresholds of a rule: of conditions that compare one column with a number."""
    found = []
    for name, expression in rule.conditions.items():
        try:
            found.append(Limit(name, *threshold(expression, columns)))
        except UsageError:
            continue
    return found
