"""Budgets of another kind as tokens, before the first step: epochs, operations, seconds here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenSource
from tilth.training.flops import flops_per_token
from tilth.training.order import RowOrder
from tilth.training.plan import estimate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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


def tokens_for_flops(model: PreTrainedModel, objective: Objective, flops: float) -> int:
    """Tokens on which a training spends so many operations, forward and back; see `flops`."""
    return int(flops // flops_per_token(model, objective.length, objective=objective))


def tokens_for_seconds(
    model: PreTrainedModel, objective: Objective, data: TokenSource, seconds: float, **options: Any
) -> int:
    """Tokens that a training takes in about so many seconds on this machine, measured now.

    `options` are those of `estimate`. Not the same number each time: keep it with the result.
    """
    row = objective.length
    found = estimate(
        model, objective, data, tokens=row, minimum_steps=1, **{"batch_tokens": row, **options}
    )
    return int(seconds * found["tokens_per_second"])
