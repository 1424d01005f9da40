"""Supervised fine-tuning: learn the answers of conversations, not the questions (Wei et al., 2022).

A document is one conversation, rendered by `tokens.chat`, which serving uses too, so that both see
the same token ids. `extra["learn"]`, a boolean array a document, says which of its tokens are
targets: those of the answers, the end of a turn among them. Conversations are packed whole into
rows and kept apart. One that is longer than a row is cut at its end, and what is lost is counted.
Without `learn` all tokens are targets. A few hundred good answers teach a form, not knowledge: for
that, go on with `causal` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import cross_entropy_sum
from tilth.tokens.packing import best_fit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

NO_TARGET = -1


class Instruct:
    """Answers on rows of `length` inputs of whole conversations.

    Arrays (rows, length): `ids`, `targets` (the next token, or -1), `segments` (-1: room left).
    """

    name = "instruct"
    version = 1

    def __init__(self, *, length: int = 256) -> None:
        if length < 2:
            raise UsageError(f"a row of {length} tokens teaches nothing", hint="length >= 2")
        self.length = length

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of whole conversations. Nothing is drawn. A conversation begins with its first
        token, which is what it is continued from and no target."""
        learned = documents.extra.get("learn")
        made, dropped = [], 0
        for number, tokens in enumerate(documents.tokens):
            learn = np.ones(len(tokens), bool) if learned is None else np.asarray(learned[number])
            if len(learn) != len(tokens):
                raise DataError("learn must say it for each token", where=documents.ids[number])
            dropped += int(learn[self.length + 1 :].sum()) + int(learn[:1].sum())
            targets = np.where(learn, tokens.astype(np.int64), NO_TARGET)[1 : self.length + 1]
            if (targets != NO_TARGET).any():
                made.append((tokens[: len(targets)], targets))
        rows = best_fit([len(ids) for ids, _ in made], self.length)
        shape = (len(rows), self.length)
        arrays: dict[str, np.ndarray] = {
            "ids": np.full(shape, documents.end, np.uint32),
            "targets": np.full(shape, NO_TARGET, np.int64),
            "segments": np.full(shape, -1, np.int32),
        }
        for row, members in enumerate(rows):
            start = 0
            for number, member in enumerate(members):
                ids, targets = made[member]
                place = slice(start, start + len(ids))
                arrays["ids"][row, place], arrays["targets"][row, place] = ids, targets
                arrays["segments"][row, place] = number
                start += len(ids)
        return Batch(arrays, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over the answers."""
        import torch

        ids, targets, segments = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments")
        )
        at = targets != NO_TARGET
        logits = forward(model, ids, segments, at=at)
        return Loss(cross_entropy_sum(logits, targets[at]), {}, int(at.sum()))
