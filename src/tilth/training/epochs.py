"""Epochs as tokens: the budget of a training that is to see all of its data so many times."""

from __future__ import annotations

import math

from tilth.errors import UsageError
from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenSource
from tilth.training.order import RowOrder


def rows_of_epoch(objective: Objective, data: TokenSource, seed: int = 0) -> int:
    """How many rows the first epoch has. All documents are prepared once for that."""
    order, rows = RowOrder(objective, data, seed), 0
    for batch in order.groups():
        rows += len(batch)
    return rows


def tokens_for_epochs(
    objective: Objective, data: TokenSource, epochs: float, batch_tokens: int = 4096, seed: int = 0
) -> int:
    """Tokens of the fewest whole steps that see every row `epochs` times, for `fit`.

    A step takes whole rows, at most `batch_tokens`, as in `fit`. The last step may run into the
    next epoch. Raises UsageError for no epochs and for data without a row.
    """
    if epochs <= 0:
        raise UsageError(f"{epochs} epochs are no training")
    rows, length = rows_of_epoch(objective, data, seed), objective.length
    if rows == 0:
        raise UsageError(f"{len(data):,} documents give no row to learn from")
    each = batch_tokens // length
    if each == 0:
        raise UsageError(f"a batch of {batch_tokens:,} tokens holds no row of {length:,}")
    return math.ceil(rows * epochs / each - 1e-9) * each * length
