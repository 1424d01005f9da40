"""The pooled classifier of long texts, of the system `budgetlongformer`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    import torch


class Pooled:
    """Classes of long texts: a linear head on the mean of the last hidden states (2023).

    Arrays: `ids` (rows, length), -1 behind the end of a text, and `label`.
    """

    name = "pooled"
    version = 1

    def __init__(self, *, width: int, classes: int, length: int, window: int | None, seed: int):
        import torch

        self.length, self.window = length, window
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = torch.nn.Linear(width, classes)

    @property
    def modules(self) -> Mapping[str, torch.nn.Module]:
        return {"head": self.head}

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length, "window": self.window}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """One row a document, its first `length` tokens; the rest is counted."""
        ids = np.full((len(documents), self.length), -1, np.int32)
        for row, tokens in enumerate(documents.tokens):
            ids[row, : min(len(tokens), self.length)] = tokens[: self.length]
        lost = int(np.maximum(documents.lengths - self.length, 0).sum())
        return Batch({"ids": ids, "label": np.array(documents.extra["label"], np.int64)}, lost)

    def logits(self, model: Any, batch: Batch) -> torch.Tensor:
        """(rows, classes)."""
        import torch

        ids = torch.from_numpy(batch["ids"].astype(np.int64))
        real = ids >= 0
        states = forward(
            model, ids.clamp(min=0), torch.where(real, 0, -1), hidden=True, window=self.window
        )
        return self.head((states * real[..., None]).sum(1) / real.sum(1, keepdim=True))

    def loss(self, model: Any, batch: Batch) -> Loss:
        """Cross-entropy, one target a row."""
        import torch

        labels = torch.from_numpy(batch["label"])
        total = torch.nn.functional.cross_entropy(
            self.logits(model, batch), labels, reduction="sum"
        )
        return Loss(total, {}, len(batch))


def accuracy(model: Any, objective: Pooled, test: TokenDocuments) -> float:
    """The share of right classes."""
    import torch

    batch = objective.prepare(test, Draws())
    model.eval()
    with torch.inference_mode():
        found = [
            objective.logits(model, batch.take(slice(start, start + 16))).argmax(-1).numpy()
            for start in range(0, len(batch), 16)
        ]
    return float((np.concatenate(found) == batch["label"]).mean())
