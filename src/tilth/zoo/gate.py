"""What a zoo model must reach before anybody starts from it.

A causal model: fewer bits per byte than a modified Kneser-Ney 5-gram trained on the very tokens
that the model saw (`models.ngram`). A masked model: of the held-out tokens that are replaced by the
mask, it must name `least_ratio` times as many as one who always names the most frequent token.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.objectives.batch import Objective
    from tilth.tokens.documents import TokenDocuments

ORDER = 5
HELD_OUT_BYTES = 400_000
MASKED = 0.15


def below_the_ngram(
    model: PreTrainedModel,
    objective: Objective,
    train: TokenDocuments,
    test: TokenDocuments,
    *,
    tokens: int,
    seed: int,
) -> dict[str, Any]:
    """Bits per byte of both on held-out text, and whether the model needs fewer."""
    from tilth.evaluation.bits import bits_per_byte
    from tilth.models.ngram import NGram
    from tilth.training.order import tokens_seen

    rows = tokens // objective.length
    seen = tokens_seen(objective, train, rows=rows, seed=seed)
    ngram = NGram.train(*seen, vocabulary=train.vocabulary, order=ORDER)
    some = test.select(sample(test))
    offsets = np.concatenate([[0], np.cumsum(some.lengths)])
    nats = -ngram.score(np.concatenate(some.tokens), offsets).sum()
    theirs = float(nats) / math.log(2) / int(some.text_bytes.sum())
    ours = bits_per_byte(model, some, objective.length)["bits_per_byte"]
    return {
        "measure": f"bits per byte, below those of the {ORDER}-gram on the tokens seen",
        "model": ours,
        "bound": theirs,
        "passed": ours < theirs,
    }


def above_the_most_frequent(
    model: PreTrainedModel,
    test: TokenDocuments,
    *,
    length: int,
    mask: int,
    least_ratio: float,
    seed: int,
) -> dict[str, Any]:
    """Share of masked held-out tokens that the model names, beside that of the most frequent."""
    import torch

    from tilth.models.packed import forward, row_segments

    rows = stream(test.select(sample(test)), length)
    chosen = np.random.default_rng(seed).random(rows.shape) < MASKED
    chosen &= rows != test.end
    targets = rows[chosen]
    ids = torch.from_numpy(np.where(chosen, mask, rows))
    segments = row_segments(torch.from_numpy(rows), test.end)
    right = 0
    place = torch.from_numpy(chosen)
    with torch.inference_mode():
        for start in range(0, len(rows), 16):
            part = slice(start, start + 16)
            if place[part].any():
                logits = forward(model, ids[part], segments[part], at=place[part])
                found = logits.argmax(-1).numpy()
                right += int((found == rows[part][chosen[part]]).sum())
    frequent = np.bincount(targets).max() / len(targets)
    share = right / len(targets)
    return {
        "measure": f"masked tokens named, {least_ratio:g} times the most frequent token's share",
        "model": share,
        "bound": float(least_ratio * frequent),
        "passed": bool(share >= least_ratio * frequent),
    }


def stream(documents: TokenDocuments, length: int) -> np.ndarray:
    """Rows (n, length), int64, of the documents joined by their end; the tail is left out."""
    parts = [np.concatenate([[documents.end], row]) for row in documents.tokens]
    joined = np.concatenate(parts).astype(np.int64)
    return joined[: len(joined) // length * length].reshape(-1, length)


def sample(documents: TokenDocuments) -> list[int]:
    """Numbers of documents spread evenly over all, about `HELD_OUT_BYTES`."""
    step = max(1, int(documents.text_bytes.sum()) // HELD_OUT_BYTES)
    return list(range(0, len(documents), step))
