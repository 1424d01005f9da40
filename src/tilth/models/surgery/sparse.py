"""Sparse masks: a fixed share of each layer's matrices is zero (SPDF, Thangarasa et al., 2023).

`draw_masks` gives for every matrix of attention and feed-forward parts a Boolean tensor with
exactly round((1 - level) n) true elements: `random`, as for pre-training from scratch, or the
largest in magnitude. Embeddings, positions, norms, biases and heads stay dense. `sparsify` zeroes
the rest. Train with the same masks (`training.policy`, `mask=`) and the zeros stay; train without
and they grow from 0, which is the dense fine-tuning of the paper.

The variance of a sum falls with its terms: `rescale` multiplies what is left by 1 / sqrt(1 - level)
so that activations keep their scale. Do it for weights that are still random, not for trained ones.

Unstructured zeros make nothing faster on CPUs; `sparse_flops` counts what they would save.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tilth.errors import UsageError
from tilth.models.axes import layouts
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.promise import Promise, Surgery

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("random", "magnitude")


def masked_names(checkpoint: Checkpoint) -> list[str]:
    """The matrices of the layers: two dimensions, one of them summed over."""
    found = layouts(checkpoint)
    return [n for n, lay in found.items() if lay.layer is not None and lay.sums_over is not None]


def draw_masks(
    checkpoint: Checkpoint, *, level: float, by: str = "random", seed: int = 0
) -> dict[str, Tensor]:
    """Name -> Boolean tensor, true where weights stay. The same seed gives the same masks.

    A matrix's draws depend on its name and the seed alone, so a mask of a higher level is a part
    of one of a lower level.
    """
    import torch

    if not 0 <= level < 1 or by not in METHODS:
        raise UsageError(
            f"a sparse mask of level {level!r} by {by!r} cannot be drawn",
            hint="0 <= level < 1; by " + " or ".join(METHODS),
        )
    masks = {}
    for name in masked_names(checkpoint):
        tensor = checkpoint.tensors[name]
        kept = round((1 - level) * tensor.numel())
        if by == "random":
            worth = torch.rand(tensor.numel(), generator=_generator(seed, name))
        else:
            worth = tensor.detach().float().abs().reshape(-1)
        mask = torch.zeros(tensor.numel(), dtype=torch.bool)
        mask[worth.argsort(descending=True, stable=True)[:kept]] = True
        masks[name] = mask.view(tensor.shape)
    return masks


def _generator(seed: int, name: str) -> object:
    import torch

    from tilth.store.digest import digest

    return torch.Generator().manual_seed(int(digest("mask", seed, name)[:15], 16))


def apply_masks(
    checkpoint: Checkpoint, masks: Mapping[str, Tensor], *, factor: float = 1.0
) -> Checkpoint:
    """The checkpoint with zeros where a mask is false and the rest times `factor`."""
    import torch

    made = dict(checkpoint.tensors)
    for name, mask in masks.items():
        kept = made[name] if factor == 1.0 else made[name] * factor
        # Not a product: 0 times a negative number is -0.
        made[name] = torch.where(mask, kept, torch.zeros_like(kept))
    return checkpoint.with_(made)


def sparsify(
    checkpoint: Checkpoint, *, level: float, by: str = "random", rescale: bool = False,
    seed: int = 0,
) -> Checkpoint:  # fmt: skip
    """The checkpoint with a share `level` of each layer's matrices at zero."""
    masks = draw_masks(checkpoint, level=level, by=by, seed=seed)
    factor = 1 / math.sqrt(1 - level) if rescale else 1.0
    return apply_masks(checkpoint, masks, factor=factor)


def sparse_flops(checkpoint: Checkpoint, masks: Mapping[str, Tensor], context: int) -> float:
    """Operations to train on one token if zeros cost nothing.

    6 for each weight that is not masked (embedding tables that are only looked up count none, a
    head counts) and 6 l d n for causal attention over rows of n tokens.
    """
    config = checkpoint.config
    weights = 0.0
    for name, layout in layouts(checkpoint).items():
        looked_up = layout.axes[0] in ("vocab", "position", "type") and layout.sums_over is None
        if looked_up and not (layout.axes[0] == "vocab" and config.tie_word_embeddings):
            continue
        mask = masks.get(name)
        weights += int(mask.sum()) if mask is not None else checkpoint.tensors[name].numel()
    return 6 * weights + 6 * config.num_hidden_layers * config.hidden_size * context


def promise(
    checkpoint: Checkpoint, *, level: float, by: str = "random", rescale: bool = False,
    seed: int = 0,
) -> Promise:  # fmt: skip
    """What is not masked is bit-equal; level 0 changes nothing."""
    masked = set(masked_names(checkpoint))
    kept = tuple(name for name in checkpoint.tensors if level == 0 or name not in masked)
    return Promise(
        function=level == 0, bit_equal=kept, identical=level == 0,
        because="" if level == 0 else "weights are zero",
    )  # fmt: skip


SURGERY = Surgery("sparsify", sparsify, promise)
