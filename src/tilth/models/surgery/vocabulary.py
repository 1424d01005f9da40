"""Replace the vocabulary: new rows for embedding and head, shared tokens bit for bit.

Rows of tokens that the old vocabulary lacks are made by one of

    random       a normal distribution of the configuration's `initializer_range`
    mean         the mean of all old rows
    pieces       the mean of the rows of the old tokens that the new one is made of; best of five
                 rules in RedWhale (Vo et al., 2024), for embedding *and* head
    contextual   hidden states of those old tokens in sentences (BIOptimus, Pavlova and Makhlouf,
                 2024): see `contextual.contextual_rows`; the head's rows are those of `pieces`

A mean of rows is shorter than a row, and pieces of a script that falls into bytes are nearly the
same mean: with `renormalise` rows of `pieces` and `contextual` get the old rows' mean length. The
head's biases are means likewise. Never compare losses a token across vocabularies: bits per byte.

Promise: rows of shared tokens and all other tensors are bit-equal, and so, within 1e-5, are the
logits of shared tokens for texts made of them (before any softmax).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError, nearest
from tilth.models.axes import layouts
from tilth.models.checkpoint import Checkpoint, tied_names
from tilth.models.surgery.promise import Promise, Surgery
from tilth.tokens.transfer import Transfer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

METHODS = ("random", "mean", "pieces", "contextual")
SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "cls_token_id",
           "decoder_start_token_id")  # fmt: skip


def vocabulary(
    checkpoint: Checkpoint, *, transfer: Transfer, method: str = "pieces",
    contexts: Mapping[int, Any] | None = None, head: bool = True, renormalise: bool = True,
    seed: int = 0,
) -> Checkpoint:  # fmt: skip
    """The checkpoint with the vocabulary that `transfer` leads to.

    `contexts`: new id -> vector, for `contextual`; tokens without one take their pieces. With
    `head=False` the head's new rows are the mean instead (an untied head only). Raises DataError
    where the transfer is from another vocabulary or loses a token that the model's settings name.
    """
    import torch

    if method not in METHODS:
        raise UsageError(f"there is no way {method!r}", hint=nearest(method, METHODS))
    if method == "contextual" and contexts is None:
        raise UsageError("contextual rows need contexts", hint="contextual_rows makes them")
    if not head and _tied(checkpoint):
        raise UsageError("the head is tied: its rows are the embedding's", hint="untie it first")
    _check(checkpoint, transfer)
    generator = torch.Generator().manual_seed(seed)
    made = dict(checkpoint.tensors)
    for name, layout in layouts(checkpoint).items():
        if layout.axes[0] != "vocab":
            continue
        is_embedding = layout.sums_over is None and made[name].dim() == 2
        way = method if is_embedding or head else "mean"
        if way == "contextual" and not is_embedding:
            way = "pieces"
        rows = contexts if way == "contextual" else None
        made[name] = _table(checkpoint, made[name], transfer, way, rows, renormalise, generator)
    return checkpoint.with_(made, vocab_size=transfer.new_size, **_special(checkpoint, transfer))


def _table(
    checkpoint: Checkpoint, old: Tensor, transfer: Transfer, method: str,
    contexts: Mapping[int, Any] | None, renormalise: bool, generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """One table or bias; shared rows are copied last, as they are."""
    import torch

    wide = old.float()
    known = wide[: transfer.old_size]
    new = known.mean(0).expand(transfer.new_size, *old.shape[1:]).clone()
    fresh = transfer.fresh
    if method == "random":
        deviation = getattr(checkpoint.config, "initializer_range", 0.02) if old.dim() > 1 else 0.0
        new[fresh] = torch.randn(new[fresh].shape, generator=generator) * deviation
    elif method in ("pieces", "contextual"):
        length = known.norm(dim=1).mean() if old.dim() > 1 else None
        for number in fresh:
            pieces = transfer.pieces[number]
            row = wide[torch.from_numpy(pieces)].mean(0) if len(pieces) else new[number]
            if contexts is not None and int(number) in contexts:
                row = torch.as_tensor(np.asarray(contexts[int(number)]), dtype=torch.float32)
                if row.shape != new[number].shape:
                    raise DataError(
                        f"contexts have {row.numel()} numbers, the embedding {new.shape[1]}"
                    )
            if renormalise and length is not None and float(row.norm()) > 0:
                row = row * (length / row.norm())
            new[number] = row
    made = new.to(old.dtype)
    there = np.flatnonzero(transfer.shared >= 0)
    made[torch.from_numpy(there)] = old[torch.from_numpy(transfer.shared[there])]
    return made.contiguous()


def _tied(checkpoint: Checkpoint) -> bool:
    tied = tied_names(checkpoint.architecture, checkpoint.config)
    return any(name.endswith("weight") for name in tied)


def _check(checkpoint: Checkpoint, transfer: Transfer) -> None:
    size = checkpoint.config.vocab_size
    if transfer.old_size > size:
        raise DataError(
            f"the tokenizer has {transfer.old_size:,} tokens, the model a vocabulary of {size:,}",
            hint="the old tokenizer must be the model's own",
        )


def _special(checkpoint: Checkpoint, transfer: Transfer) -> dict[str, int]:
    """Settings that name a token, with its new id; what lies outside the vocabulary stays."""
    new_of, settings = transfer.new_of, {}
    for name in SPECIAL:
        old = getattr(checkpoint.config, name, None)
        if not isinstance(old, int) or not 0 <= old < transfer.old_size:
            continue
        if old not in new_of:
            raise DataError(
                f"the new vocabulary lacks the token that the model's {name} ({old}) names"
            )
        if new_of[old] != old:
            settings[name] = new_of[old]
    return settings


def promise(checkpoint: Checkpoint, *, transfer: Transfer, **parameters: Any) -> Promise:
    """Shared rows and all that has no rows for tokens."""
    _check(checkpoint, transfer)
    new = np.flatnonzero(transfer.shared >= 0)
    old = transfer.shared[new]
    tables = [n for n, lay in layouts(checkpoint).items() if lay.axes[0] == "vocab"]
    kept = tuple(name for name in checkpoint.tensors if name not in tables)
    # A position table that starts at the padding's id moves with it.
    moved = _special(checkpoint, transfer).get("pad_token_id") is not None
    return Promise(
        function=not moved and len(new) > 0, bit_equal=kept, tokens=(old, new),
        rows={name: (old, new) for name in tables},
        identical=transfer.identity and transfer.old_size == checkpoint.config.vocab_size,
        because="the id of the padding moved" if moved else "",
    )  # fmt: skip


SURGERY = Surgery("vocabulary", vocabulary, promise)
