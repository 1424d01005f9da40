"""Direct preference optimisation: the better of two answers, from pairs (Rafailov et al., 2023).

- log sigmoid(beta ((log p(chosen) - log q(chosen)) - (log p(rejected) - log q(rejected)))), with p
the model and q the one it started from; at the start it is log 2. The reference's sums of
log-probabilities are data, made once by a rollout, so that only one model is held. Use it with
pairs that the model itself made (on-policy), told apart by a check that can be trusted; with pairs
from elsewhere it learns their style. Watch the log-probability of the chosen answers: it may fall
too.

Documents: `tokens` is prompt and better answer; `extra["rejected"]` prompt and worse answer,
`extra["start"]` where the answers start, `extra["reference"]` (log q of the better, of the worse).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.objectives.answers import lay_out, log_probabilities
from tilth.objectives.batch import Batch, Draws, Loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

COLUMNS = ("rejected", "start", "reference")


def preference_loss(ours: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """The loss of each pair, in nats. Both (pairs, 2): log p of the better and the worse answer."""
    import torch.nn.functional as F

    gain = ours - reference
    return -F.logsigmoid(beta * (gain[:, 0] - gain[:, 1]))


class Preference:
    """DPO on rows of `length`, one pair a row, both answers with their prompt side by side."""

    name = "preference"
    version = 1

    def __init__(self, *, length: int = 256, beta: float = 0.1) -> None:
        if length < 4 or beta <= 0:
            raise UsageError("length is at least 4, beta above 0")
        self.length, self.beta = length, beta

    def parameters(self) -> dict[str, Any]:
        return {"length": self.length, "beta": self.beta}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Nothing is drawn. A pair that is longer than a row is dropped and counted."""
        if len(documents) and any(name not in documents.extra for name in COLUMNS):
            raise DataError("preference pairs need the columns " + ", ".join(COLUMNS))
        extra, rows, references, dropped = documents.extra, [], [], 0
        for number, tokens in enumerate(documents.tokens):
            start, rejected = int(extra["start"][number]), extra["rejected"][number]
            if not 1 <= start < min(len(tokens), len(rejected)):
                raise DataError("an answer has no token", where=documents.ids[number])
            if len(tokens) + len(rejected) - 2 > self.length:
                dropped += len(tokens) - start
                continue
            rows.append(lay_out([(tokens, start), (rejected, start)], self.length, documents.end))
            references.append(extra["reference"][number])
        shape = (len(rows), self.length)
        ids, targets, segments = zip(*rows) if rows else ([], [], [])
        arrays = {
            "ids": np.array(ids, np.uint32).reshape(shape),
            "targets": np.array(targets, np.int64).reshape(shape),
            "segments": np.array(segments, np.int32).reshape(shape),
            "reference": np.array(references, np.float32).reshape(len(rows), 2),
        }
        return Batch(arrays, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Sum over pairs; a pair is one target. `parts`: pairs in the right order, log p gained."""
        import torch

        ids, targets, segments = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "segments")
        )
        reference = torch.from_numpy(batch["reference"]).to(model.device)
        found, at = log_probabilities(model, ids, targets, segments)
        rows = torch.arange(len(ids), device=ids.device)[:, None].expand_as(ids)
        sums = found.new_zeros(2 * len(ids)).index_add(0, (2 * rows + segments)[at], found)
        ours = sums.view(-1, 2)
        losses = preference_loss(ours, reference, self.beta)
        gain = (ours - reference).detach()
        parts = {
            "in order": float((gain[:, 0] > gain[:, 1]).sum()),
            "gain of the chosen": float(gain[:, 0].sum()),
        }
        return Loss(losses.sum(), parts, len(ids))
