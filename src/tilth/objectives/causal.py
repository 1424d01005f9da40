"""Causal language modelling: predict each token from those before it (Bengio et al., 2003).

Documents are joined with the end token, one before the first and one after each, and the stream is
cut in rows of `length` targets (rows of joined documents: Brown et al., 2020). So each token, the
first of a document and its end too, is a target once; the tail that fills no row is dropped and
counted. Use it to learn from running text. Attention sees across documents in a row: a token may
look at the end of a document that has nothing to do with it, and a document is cut wherever a row
ends. Both cost little where documents are longer than a row; they cost more where they are short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.objectives.batch import Batch, Draws, Loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


def cross_entropy_sum(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """- sum of log softmax(logits)[target], in nats. logits (..., vocabulary), targets (...)."""
    import torch.nn.functional as F

    return F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), reduction="sum")


def joined(documents: TokenDocuments) -> np.ndarray:
    """end d1 end d2 end ... dn end; only the first end where there is no document."""
    kind = np.uint16 if documents.vocabulary <= 1 << 16 else np.uint32
    end = np.array([documents.end], dtype=kind)
    parts = [end]
    for row in documents.tokens:
        parts += [row.astype(kind, copy=False), end]
    return np.concatenate(parts)


class Causal:
    """Next-token prediction on rows of `length` targets; the array `tokens` has length + 1."""

    name = "causal"
    version = 1

    def __init__(self, *, length: int = 256) -> None:
        if length < 2:
            raise UsageError(f"a row of {length} tokens teaches nothing", hint="length >= 2")
        self.length = length

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of the joined documents, in order. Nothing is drawn."""
        stream = joined(documents)
        rows, dropped = divmod(len(stream) - 1, self.length)
        # Neighbouring rows share one token: the last target here is the first input there.
        inputs = stream[: rows * self.length].reshape(rows, self.length)
        last = stream[self.length : rows * self.length + 1 : self.length].reshape(rows, 1)
        return Batch({"tokens": np.concatenate([inputs, last], axis=1)}, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over all targets of the batch."""
        import torch

        rows = torch.from_numpy(batch["tokens"].astype(np.int64)).to(model.device)
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        return Loss(cross_entropy_sum(logits, rows[:, 1:]), {}, rows[:, 1:].numel())
