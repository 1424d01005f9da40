"""Rows for new tokens from sentences: hidden states of what the old tokenizer made of them.

BIOptimus (Pavlova and Makhlouf, 2024): each sentence is read by the old model; wherever the new
tokenizer has a token that the old one lacks, the hidden states of the old pieces that cover it are
averaged, over pieces and over occurrences. Such vectors live in the space of a hidden layer, not of
the embedding: their mean is moved to the mean of the embedding, and `renormalise` of the surgery
gives them its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tilth.errors import DataError
from tilth.models.axes import layouts
from tilth.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tilth.tokens.transfer import Transfer


def contextual_rows(
    checkpoint: Checkpoint, transfer: Transfer, old: Tokenizer, new: Tokenizer,
    texts: Sequence[str], *, layer: int = -1, most: int = 50,
) -> dict[int, np.ndarray]:  # fmt: skip
    """New id -> vector as wide as the embedding, for every fresh token that occurs in `texts`.

    `layer`: which hidden states, 0 the embedding's output, -1 the last. `most`: occurrences of a
    token that count, the first ones. Texts are cut at the model's context, uncounted: give
    sentences. Raises DataError where embedding and layers have different widths.
    """
    import torch

    table = next(
        name
        for name, lay in layouts(checkpoint).items()
        if lay.axes[0] == "vocab" and lay.sums_over is None and len(lay.axes) == 2
    )
    width = checkpoint.tensors[table].shape[1]
    if width != checkpoint.config.hidden_size:
        raise DataError(
            f"the embedding has {width} numbers, hidden states have "
            f"{checkpoint.config.hidden_size}: contextual rows do not fit"
        )
    fresh = {int(n) for n in transfer.fresh}
    context = checkpoint.config.max_position_embeddings
    if checkpoint.config.model_type in ("roberta", "longformer"):
        context -= checkpoint.config.pad_token_id + 1
    model = checkpoint.model().float()
    sums: dict[int, np.ndarray] = {}
    counts: dict[int, int] = {}
    for text in texts:
        target = new.encode(text, add_special_tokens=False)
        wanted = [n for n, one in enumerate(target.ids) if one in fresh]
        wanted = [n for n in wanted if counts.get(target.ids[n], 0) < most]
        if not wanted:
            continue
        source = old.encode(text, add_special_tokens=False)
        ids = torch.tensor([source.ids[:context]])
        with torch.inference_mode():
            out = model(input_ids=ids, output_hidden_states=True)
        states = out.hidden_states[layer][0].numpy()
        begins = np.array([begin for begin, _ in source.offsets[: len(states)]])
        ends = np.array([end for _, end in source.offsets[: len(states)]])
        for place in wanted:
            begin, end = target.offsets[place]
            covered = (begins < end) & (ends > begin)
            if covered.any():
                number = target.ids[place]
                sums[number] = sums.get(number, 0) + states[covered].mean(0)
                counts[number] = counts.get(number, 0) + 1
    if not sums:
        return {}
    rows = {number: total / counts[number] for number, total in sums.items()}
    moved = checkpoint.tensors[table].float().mean(0).numpy() - np.mean(list(rows.values()), axis=0)
    return {number: row + moved for number, row in rows.items()}
