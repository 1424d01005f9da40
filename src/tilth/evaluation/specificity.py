"""Domain specificity of texts: how much easier a model of the domain finds them.

Zheng, Guha, Anderson, Henderson and Ho (2021): the mean masked-language-model loss of a general
model minus that of a domain model that learned as long, over a task's texts. Where it is high,
pre-training on the domain may help; where it is near 0 the task does not speak the domain's
language, and it will not. Both models must share the tokenizer: losses a token of different
tokenizers cannot be subtracted. The same tokens are hidden for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.models.packed import forward
from tilth.objectives.batch import Draws
from tilth.objectives.corruption import Corruption, corrupt
from tilth.objectives.masked import ordinary
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def masked_losses(
    model: PreTrainedModel,
    data: TokenDocuments,
    *,
    mask: int,
    special: tuple[int, ...] = (),
    rate: float = 0.15,
    seed: int = 0,
    batch: int = 16,
) -> np.ndarray:
    """Mean nats of the hidden tokens of each document, float64; at least one is hidden.

    Which ones depends on (seed, document id) alone, so two models are asked the same. A document
    stands alone, between end tokens, cut to the model's context.
    """
    import torch

    how = Corruption(rate, split=(1.0, 0.0, 0.0))
    allowed = ordinary(data, mask, special)
    room = getattr(model.config, "max_position_embeddings", 512) - 4
    losses = np.zeros(len(data))
    if len(data) and int(data.lengths.min()) == 0:
        raise DataError("an empty text has no loss", where=data.ids[int(data.lengths.argmin())])
    order = np.argsort(data.lengths, kind="stable").tolist()
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                rows = [_hidden(data, n, how, mask, allowed, room, seed) for n in part]
                longest = max(len(ids) for ids, _ in rows)
                ids = torch.full((len(rows), longest), data.end)
                segments = torch.full_like(ids, -1)
                targets = torch.full_like(ids, -1)
                for place, (hidden, target) in enumerate(rows):
                    ids[place, : len(hidden)] = torch.from_numpy(hidden)
                    segments[place, : len(hidden)] = 0
                    targets[place, : len(hidden)] = torch.from_numpy(target)
                at = targets >= 0
                device = model.device
                logits = forward(model, ids.to(device), segments.to(device), at=at.to(device))
                nats = torch.nn.functional.cross_entropy(
                    logits.float().cpu(), targets[at], reduction="none"
                ).double()
                ends = at.sum(1).cumsum(0).tolist()
                for place, stop in zip(part, ends):
                    first = stop - int(at[part.index(place)].sum())
                    losses[place] = float(nats[first:stop].mean())
    finally:
        model.train(was_training)
    return losses


def _hidden(
    data: TokenDocuments, number: int, how: Corruption, mask: int, allowed: np.ndarray, room: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(ids between end tokens, original ids where one is hidden and -1 elsewhere)."""
    row = data.document(number)[:room].astype(np.int64)
    chance = Draws(seed).at(data.ids[number])
    made, chosen = corrupt(row, how, chance, mask, allowed)
    if not chosen.any():
        chosen = chosen.copy()
        chosen[int(chance.integers(len(row)))] = True
        made = np.where(chosen, mask, row)
    ends = np.array([data.end])
    none = np.array([-1])
    targets = np.where(chosen, row, -1)
    return np.concatenate([ends, made, ends]), np.concatenate([none, targets, none])


def specificity(
    general: PreTrainedModel, domain: PreTrainedModel, data: TokenDocuments, *, mask: int,
    special: tuple[int, ...] = (), seed: int = 0,
) -> np.ndarray:  # fmt: skip
    """Nats a hidden token that the domain's model needs less, for each text."""
    if general.config.vocab_size != domain.config.vocab_size:
        raise UsageError("two models of different tokenizers cannot be compared token by token")
    first, second = (
        masked_losses(model, data, mask=mask, special=special, seed=seed)
        for model in (general, domain)
    )
    return first - second
