"""Causal language modelling: each token is predicted from those before it.

Radford et al. 2018 (Generative Pre-Training). Documents follow one another with `<|end|>` between
them and are cut in rows of `length` tokens. Use it for decoders. In this first version attention
sees across documents within a row; the loss counts every token of a row but the first. What does
not fill a last row is left out and counted (`Rows.left_out`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError

if TYPE_CHECKING:
    import torch

    from tilth.tokens.blocks import TokenBlocks


@dataclass(frozen=True)
class Rows:
    """All rows of a data set: tokens (rows, length), and how many tokens filled no row."""

    tokens: np.ndarray
    left_out: int


@dataclass(frozen=True)
class Batch:
    """Input ids (rows, length), int64; how many targets they hold."""

    tokens: torch.Tensor
    targets: int


class Causal:
    """Next-token cross-entropy over rows of `length` tokens; `end` is the id between documents."""

    name = "causal"

    def __init__(self, length: int = 256, end: int = 0) -> None:
        self.length = length
        self.end = end

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length, "end": self.end}

    def rows(self, data: TokenBlocks) -> Rows:
        """Documents joined and cut; a pure function of the data."""
        flat, offsets = data.flat()
        return rows_of(flat, offsets, self.length, self.end)

    def prepare(self, rows: np.ndarray) -> Batch:
        """Some rows as a batch of tensors."""
        import torch

        count = rows.shape[0] * (rows.shape[1] - 1)
        return Batch(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)), count)

    def loss(self, model: Any, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
        """(sum of nats over all targets, its parts, number of targets).

        The sum is returned so that a loop can divide by the targets of all that it accumulates.
        """
        import torch

        logits = model(input_ids=batch.tokens, use_cache=False).logits
        targets = batch.tokens[:, 1:].reshape(-1)
        total = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]).float(), targets, reduction="sum"
        )
        return total, {"causal": total}, batch.targets


def rows_of(flat: np.ndarray, offsets: np.ndarray, length: int, end: int) -> Rows:
    """Insert `end` after every document and cut in rows."""
    documents = len(offsets) - 1
    joined = np.full(len(flat) + documents, end, dtype=flat.dtype)
    places = np.ones(len(joined), dtype=bool)
    places[offsets[1:] + np.arange(documents)] = False
    joined[places] = flat
    count = len(joined) // length
    if count == 0:
        raise DataError(
            f"{len(joined)} tokens do not fill one row of {length}",
            hint="more documents, or a shorter context",
        )
    return Rows(joined[: count * length].reshape(count, length), len(joined) - count * length)
