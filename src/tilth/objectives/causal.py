"""Causal language modelling: predict each token from those before it (Bengio et al., 2003).

Documents are joined with the end token, one before the first and one after each, and the stream is
cut in rows of `length` targets (rows of joined documents: Brown et al., 2020). So each token, the
first of a document and its end too, is a target once; the tail that fills no row is dropped and
counted. Use it to learn from running text.

Documents of a row are kept apart: attention sees the document of the token alone, positions begin
again at its end token (`models.packed`), so that a document is read in training as it is when it
is scored or continued, whatever lay beside it. A document is still cut wherever a row ends.
`apart=False` lets attention see across documents, as is common: a little faster, right for models
that carry a state from row to row, and wrong in what it teaches where documents are short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.packed import forward, row_segments
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.head_loss import has_plain_head, head_loss

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


def cut(stream: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """(rows (rows, length + 1) of a stream, targets left over). Neighbouring rows share one token:
    the last target of one is the first input of the next."""
    rows, dropped = divmod(len(stream) - 1, length)
    inputs = stream[: rows * length].reshape(rows, length)
    last = stream[length : rows * length + 1 : length].reshape(rows, 1)
    return np.concatenate([inputs, last], axis=1), dropped


class Causal:
    """Next-token prediction on rows of `length` targets; the array `tokens` has length + 1.

    With `apart`, `segments` (rows, length) says which document of its row each input belongs to.
    """

    name = "causal"
    version = 2

    def __init__(self, *, length: int = 256, apart: bool = True) -> None:
        if length < 2:
            raise UsageError(f"a row of {length} tokens teaches nothing", hint="length >= 2")
        self.length, self.apart = length, apart

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length, "apart": self.apart}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of the joined documents, in order. Nothing is drawn."""
        tokens, dropped = cut(joined(documents), self.length)
        arrays = {"tokens": tokens}
        if self.apart:
            arrays["segments"] = row_segments(tokens[:, :-1], documents.end).astype(np.int32)
        return Batch(arrays, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over all targets of the batch."""
        import torch

        rows = torch.from_numpy(batch["tokens"].astype(np.int64)).to(model.device)
        if self.apart:
            segments = torch.from_numpy(batch["segments"]).to(model.device)
            if has_plain_head(model):
                total = head_loss(model, rows[:, :-1], segments, rows[:, 1:])
                return Loss(total, {}, rows[:, 1:].numel())
            logits = forward(model, rows[:, :-1], segments)
        else:
            logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        return Loss(cross_entropy_sum(logits, rows[:, 1:]), {}, rows[:, 1:].numel())
