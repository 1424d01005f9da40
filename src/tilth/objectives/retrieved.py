"""Causal language modelling with retrieved neighbours beside each chunk (Borgeaud et al., 2022).

A row is a stretch of one document, cut in chunks; each chunk has neighbours: pieces of other
documents that a search found for it. Which ones is decided before training and stored
(`extra["neighbours"]`: for each document an integer array (chunks, neighbours, tokens), -1 behind
the end of a neighbour), so that what is learned from can be looked at. The model is asked with
`neighbours`, (rows, chunks, neighbours, tokens), and must not let a chunk see its own: the
neighbours of chunk c may be seen from its last token on. For models with chunked cross-attention;
for others, put what was found in the text itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.objectives.batch import Batch, Draws, Loss
from tilth.objectives.causal import cross_entropy_sum

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

NO_TARGET = -1


class Retrieved:
    """Next tokens on rows of `length`, in chunks of `chunk`.

    Arrays: `ids` and `targets` (rows, length), -1 behind the end of a document; `neighbours`
    (rows, chunks, neighbours, tokens) of `most` neighbours of `tokens` tokens, -1 where there is
    none. A row begins at a chunk of its document; the first token of a document is no target.
    """

    name = "retrieved"
    version = 1

    def __init__(
        self, *, length: int = 256, chunk: int = 16, most: int = 2, tokens: int = 32
    ) -> None:
        if chunk < 1 or length % chunk:
            raise UsageError(f"rows of {length} tokens are no whole chunks of {chunk}")
        if most < 1 or tokens < 1:
            raise UsageError("at least one neighbour of one token is needed")
        self.length, self.chunk, self.most, self.tokens = length, chunk, most, tokens

    def parameters(self) -> dict[str, Any]:
        return {
            "length": self.length, "chunk": self.chunk, "most": self.most, "tokens": self.tokens,
        }  # fmt: skip

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of the documents, one after the other. Nothing is drawn."""
        given = documents.extra.get("neighbours", [None] * len(documents))
        chunks = self.length // self.chunk
        ids, targets, beside = [], [], []
        for name, tokens, found in zip(documents.ids, documents.tokens, given):
            whole = np.concatenate([tokens.astype(np.int64), [documents.end]])
            rows = -(-(len(whole) - 1) // self.length)
            inputs = np.full(rows * self.length, documents.end, np.int64)
            wanted = np.full(rows * self.length, NO_TARGET, np.int64)
            inputs[: len(whole) - 1], wanted[: len(whole) - 1] = whole[:-1], whole[1:]
            ids.append(inputs.reshape(rows, self.length))
            targets.append(wanted.reshape(rows, self.length))
            beside.append(self._beside(name, len(tokens), rows, found))
        shape = (0, chunks, self.most, self.tokens)
        arrays = {
            "ids": np.concatenate([np.zeros((0, self.length), np.int64), *ids]),
            "targets": np.concatenate([np.zeros((0, self.length), np.int64), *targets]),
            "neighbours": np.concatenate([np.zeros(shape, np.int32), *beside]),
        }
        first = sum(len(tokens) > 0 for tokens in documents.tokens)
        return Batch(arrays, first)

    def _beside(self, name: str, size: int, rows: int, found: Any) -> np.ndarray:
        """The neighbours of a document in the shape of its rows."""
        chunks = rows * self.length // self.chunk
        made = np.full((chunks, self.most, self.tokens), -1, np.int32)
        if found is not None:
            found = np.asarray(found)
            if found.ndim != 3 or len(found) < -(-size // self.chunk):
                raise DataError(
                    f"neighbours of shape {found.shape} for {size:,} tokens in chunks of "
                    f"{self.chunk}: (chunks, neighbours, tokens) is asked for", where=name,
                )  # fmt: skip
            part = found[:chunks, : self.most, : self.tokens]
            made[: part.shape[0], : part.shape[1], : part.shape[2]] = part
        return made.reshape(rows, self.length // self.chunk, self.most, self.tokens)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """Cross-entropy over the next tokens. Models that take no neighbours are asked without."""
        import inspect

        import torch

        ids, targets, neighbours = (
            torch.from_numpy(batch[name].astype(np.int64)).to(model.device)
            for name in ("ids", "targets", "neighbours")
        )
        accepts = inspect.signature(model.forward).parameters
        more = {"neighbours": neighbours} if "neighbours" in accepts else {}
        logits = model(input_ids=ids, use_cache=False, **more).logits
        at = targets != NO_TARGET
        return Loss(cross_entropy_sum(logits[at], targets[at]), {}, int(at.sum()))
