"""A label of a set of texts: the vector of each, the maximum over the set, a small network.

As AD-BERT does with the sections of a patient's notes (Mao et al., 2022): z_j = max over sections
of h_j, then a network on z. A set has no order and no multiplicity: the answer does not change when
texts are permuted or repeated. A text that is not there never wins the maximum: it is minus
infinity, not 0. Use it where a label belongs to many texts together and one of them may decide; not
where the share of texts counts (`pooling="mean"` is for that). The model is a bare encoder, which
runs packed, without padding; the network is the objective's own module `head`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.heads import bag_head, pool
from tilth.objectives.batch import Batch, Draws
from tilth.objectives.tasks import Classify

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

VECTORS = ("first", "mean")


class Bag(Classify):
    """Texts of at most `segment` tokens, at most `pieces` of them; longer ones become several.

    `vector`: of a text, the state of its first token or the mean over its tokens. `width` is the
    encoder's. A row consumes `pieces` times `segment` tokens of a budget. Of a set with more
    pieces the first are taken, the rest is counted as dropped.
    """

    name = "bag"

    def __init__(
        self, labels: Sequence[str] = ("no", "yes"), *, width: int = 32, segment: int = 64,
        pieces: int = 16, pooling: str = "max", vector: str = "first", seed: int = 0,
        begin: int = 0, separator: int = 0, pad: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(labels, length=segment, begin=begin, separator=separator, pad=pad)
        if vector not in VECTORS or pooling not in ("max", "mean"):
            raise UsageError("pooling is 'max' or 'mean', vector 'first' or 'mean'")
        self.width, self.segment, self.pieces, self.seed = width, segment, pieces, seed
        self.pooling, self.vector, self.length = pooling, vector, segment * pieces
        self.modules = {"head": bag_head(width, len(self.labels), seed)}

    def parameters(self) -> dict[str, Any]:
        inherited = super().parameters()
        del inherited["length"], inherited["keep"]
        own = ("width", "segment", "pieces", "pooling", "vector", "seed")
        return {**inherited, **{name: getattr(self, name) for name in own}}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Arrays (rows, pieces, segment); the size of a piece that is not there is 0."""
        shape = (len(documents), self.pieces, self.segment)
        ids = np.full(shape, self._layout.pad, np.int32)
        sizes = np.zeros(shape[:2], np.int32)
        dropped = 0
        for row, texts in enumerate(documents.extra["pieces"]):
            room = self.segment - 2
            parts = [text[n : n + room] for text in texts for n in range(0, len(text), room)]
            # A set of blank texts has one piece, of no token.
            parts = parts or [np.zeros(0, np.int32)]
            dropped += sum(len(part) for part in parts[self.pieces :])
            found, _ = self._layout.rows([[part] for part in parts[: self.pieces]])
            ids[row, : len(found["ids"])] = found["ids"]
            sizes[row, : len(found["sizes"])] = found["sizes"]
        return Batch({"ids": ids, "sizes": sizes, "target": self._targets(documents)}, dropped)

    def logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """(rows, labels), from the pieces of each row."""
        import torch

        from tilth.models.packed import forward

        real = batch["sizes"] > 0
        sizes = batch["sizes"][real]
        longest = int(sizes.max())
        inside = np.arange(longest) < sizes[:, None]
        ids = torch.from_numpy(batch["ids"][real][:, :longest].astype(np.int64)).to(model.device)
        mask = torch.from_numpy(inside).to(model.device)
        states = forward(model, ids, mask.long() - 1, hidden=True).float()
        if self.vector == "first":
            vectors = states[:, 0]
        else:
            weights = mask[..., None].float()
            vectors = (states * weights).sum(1) / weights.sum(1)
        places = torch.from_numpy(real).to(model.device)
        return self.modules["head"](pool(vectors, places, self.pooling))
