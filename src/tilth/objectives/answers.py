"""Log-probabilities of answers: what preference and policy objectives are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tilth.models.packed import forward

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NO_TARGET = -1


def lay_out(
    answers: Sequence[tuple[np.ndarray, int]], length: int, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row of `length` with so many sequences side by side: (ids, targets, segments).

    Each is (tokens, where its answer starts); the targets are the tokens of the answer, at the
    place before each. They must fit: a sequence of n tokens takes n - 1 places.
    """
    ids = np.full(length, end, np.uint32)
    targets, segments = np.full(length, NO_TARGET, np.int64), np.full(length, -1, np.int32)
    place = 0
    for number, (tokens, start) in enumerate(answers):
        size = len(tokens) - 1
        ids[place : place + size] = tokens[:-1]
        targets[place + start - 1 : place + size] = tokens[start:]
        segments[place : place + size] = number
        place += size
    return ids, targets, segments


def log_probabilities(
    model: PreTrainedModel,
    ids: torch.Tensor,
    targets: torch.Tensor,
    segments: torch.Tensor,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(log p of each target, in nats, in the order of rows and places; the mask of where they are).

    All arguments (rows, length), int64; -1 where there is no target, or no token.
    """
    import torch

    at = targets != NO_TARGET
    logits = forward(model, ids, segments, at=at).float() / temperature
    chosen = logits.log_softmax(-1).gather(-1, targets[at][:, None])[:, 0]
    return chosen, torch.as_tensor(at)
