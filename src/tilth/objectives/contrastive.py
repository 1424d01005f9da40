"""Contrastive learning of text vectors: a text is nearer to its partner than to other texts.

    loss = - ln softmax over the group's texts of (v(a) . v(b) / temperature)  at the partner,

both ways, with v the unit mean of the last hidden states (InfoNCE: van den Oord, Li and Vinyals,
2018; the other texts of a batch as wrong ones: Karpukhin et al., 2020). Partners come with the
documents (`extra["partner"]`: token ids of a text each), or are two crops of one document
(Izacard et al., 2021). A row is a whole group, so that what is compared does not depend on how a
batch is cut; the larger the group, the harder and the better the task. For encoders that search;
to learn from pairs of a corpus with a search at the end, see `retrieval.encoders`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.packed import forward
from tilth.objectives.batch import Batch, Draws, Loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments

SHORTEST = 2


class Contrastive:
    """Groups of `group` pairs, texts of at most `length` tokens (begun by the end token).

    Arrays: `first` and `second` (rows, group, length), -1 behind the end of a text. Groups are
    drawn anew each epoch from the documents that are prepared together; the pairs that fill no
    group, and documents of fewer than 2 tokens, are dropped and counted.
    """

    name = "contrastive"
    version = 1
    model_kind = "bert"

    def __init__(self, *, length: int = 64, group: int = 4, temperature: float = 0.05) -> None:
        if length < 4 or group < 2 or temperature <= 0:
            raise UsageError("texts of 4 tokens, groups of 2 and a temperature above 0 are least")
        self.segment, self.group, self.temperature = length, group, temperature
        self.length = 2 * group * length

    def parameters(self) -> dict[str, Any]:
        return {"length": self.segment, "group": self.group, "temperature": self.temperature}

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch:
        """Rows of `group` pairs."""
        partners = documents.extra.get("partner", [None] * len(documents))
        pairs, keys, dropped = [], [], 0
        for name, tokens, partner in zip(documents.ids, documents.tokens, partners):
            chance = rng.at(name)
            keys.append(chance.random())
            room = self.segment - 1
            if partner is None:
                pairs.append((_crop(tokens, room, chance), _crop(tokens, room, chance)))
            else:
                dropped += max(0, len(tokens) - room) + max(0, len(partner) - room)
                pairs.append((tokens[:room], np.asarray(partner)[:room]))
        good = [n for n, pair in enumerate(pairs) if min(map(len, pair)) >= SHORTEST]
        order = sorted(good, key=lambda n: keys[n])
        rows = len(order) // self.group
        kept = order[: rows * self.group]
        dropped += sum(len(documents.tokens[n]) for n in set(range(len(pairs))) - set(kept))
        arrays = {
            side: np.full((rows * self.group, self.segment), -1, np.int32)
            for side in ("first", "second")
        }
        for place, number in enumerate(kept):
            for array, piece in zip(arrays.values(), pairs[number]):
                array[place, 0] = documents.end
                array[place, 1 : 1 + len(piece)] = piece
        shape = (rows, self.group, self.segment)
        return Batch({side: array.reshape(shape) for side, array in arrays.items()}, dropped)

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss:
        """The mean of both directions, summed over the pairs; `right`: partners that come first."""
        import torch
        import torch.nn.functional as F

        first, second = (text_vectors(model, batch[side]) for side in ("first", "second"))
        products = torch.einsum("rgd,rhd->rgh", first, second) / self.temperature
        place = torch.arange(self.group, device=products.device).expand(len(batch), -1).flatten()
        there = F.cross_entropy(products.flatten(0, 1), place, reduction="sum")
        back = F.cross_entropy(products.transpose(1, 2).flatten(0, 1), place, reduction="sum")
        right = float((products.detach().argmax(-1).flatten() == place).sum())
        return Loss((there + back) / 2, {"right": right}, len(place))


def text_vectors(model: PreTrainedModel, texts: np.ndarray) -> torch.Tensor:
    """Unit means of the last hidden states, (..., width), of texts (..., tokens), -1 at the end."""
    import torch

    ids = torch.from_numpy(texts.reshape(-1, texts.shape[-1]).astype(np.int64)).to(model.device)
    real = ids >= 0
    segments = torch.where(real, 0, -1)
    states = forward(model, ids.clamp(min=0), segments, hidden=True).float()
    means = (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return torch.nn.functional.normalize(means, dim=-1).view(*texts.shape[:-1], -1)


def _crop(tokens: np.ndarray, room: int, chance: np.random.Generator) -> np.ndarray:
    """A stretch of a half of the document, at most `room` tokens, from anywhere in it."""
    size = min(room, max(SHORTEST, -(-len(tokens) // 2)))
    start = int(chance.integers(max(0, len(tokens) - size) + 1))
    return tokens[start : start + size]
