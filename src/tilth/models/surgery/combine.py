"""Combine checkpoints of one parent: task arithmetic, averages, TIES, DARE.

All checkpoints must have the same architecture and, tensor by tensor, the same names and sizes: a
difference is an error, never a cut. See `arithmetic` for what each method computes, and
`tilth.models.merge` for folders too large for memory.

Promise: with one model of weight 1 it comes back bit for bit (float32), with weights of 0 the base
does; the order of models is irrelevant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tilth.errors import DataError, UsageError, nearest
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery import arithmetic
from tilth.models.surgery.promise import Promise, Surgery, equal_bits

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("task-arithmetic", "linear", "ties", "dare")
Merge = Callable[["Tensor", Sequence["Tensor"]], "Tensor"]


def merger(
    method: str, weights: Sequence[float], *, density: float | None = None, scale: float = 1.0,
    seed: int = 0,
) -> Merge:  # fmt: skip
    """The function (base tensor, other tensors) -> merged tensor in float32."""
    if method not in METHODS:
        raise UsageError(f"there is no way {method!r} to merge", hint=nearest(method, METHODS))
    if not weights or not all(abs(w) < float("inf") for w in weights):
        raise UsageError("each model needs a finite weight")
    if method == "ties" and min(weights) < 0:
        # Signs are elected by mass; less than none elects nothing.
        raise UsageError("weights of ties are not below 0", hint="task-arithmetic subtracts")
    if method == "linear":
        return lambda base, others: arithmetic.linear(others, weights)
    if method == "ties":
        return lambda base, others: arithmetic.ties(
            base, others, weights, density=0.2 if density is None else density, scale=scale
        )
    if method == "dare":
        return lambda base, others: arithmetic.dare(
            base, others, weights, density=0.5 if density is None else density, seed=seed
        )
    return lambda base, others: arithmetic.task_arithmetic(base, others, weights)


def combine(
    checkpoint: Checkpoint, *, others: Sequence[Checkpoint], weights: Sequence[float] | None = None,
    method: str = "task-arithmetic", density: float | None = None, scale: float = 1.0,
    seed: int = 0,
) -> Checkpoint:  # fmt: skip
    """`checkpoint` is the base that the others came from; the method `linear` leaves it out.

    `weights`: one a model, 1 each by default. Tensors that are no floating point numbers must be
    equal in all. Raises DataError, naming the tensor, where models do not fit together.
    """
    weights = [1.0] * len(others) if weights is None else list(weights)
    if len(weights) != len(others) or not others:
        raise UsageError(f"{len(others)} models and {len(weights)} weights do not fit")
    merge = merger(method, weights, density=density, scale=scale, seed=seed)
    for number, other in enumerate(others):
        if other.architecture != checkpoint.architecture:
            raise DataError(
                f"a {other.architecture} does not merge with a {checkpoint.architecture}"
            )
        same_tensors(_sizes(checkpoint), _sizes(other), f"model {number + 1}")
    made = {}
    for name, base in checkpoint.tensors.items():
        made[name] = merge_tensor(name, base, [other.tensors[name] for other in others], merge)
    return checkpoint.with_(made)


def merge_tensor(name: str, base: Tensor, others: Sequence[Tensor], merge: Merge) -> Tensor:
    """One tensor, in the base's type."""
    if not base.is_floating_point():
        if any(not equal_bits(base, other) for other in others):
            raise DataError(f"tensor {name!r} holds no floating point numbers and differs")
        return base
    return merge(base, others).to(base.dtype).contiguous()


def same_tensors(
    left: dict[str, tuple[int, ...]], right: dict[str, tuple[int, ...]], which: str
) -> None:
    """Raises DataError for the first tensor that only one has or that differs in size."""
    for name in sorted(left.keys() | right.keys()):
        if name not in left or name not in right:
            raise DataError(
                f"tensor {name!r} is in {'the base' if name in left else which} only",
                hint="models to merge have the same tensors; a tied head has none of its own",
            )
        if left[name] != right[name]:
            raise DataError(
                f"tensor {name!r} has the size {_text(left[name])} in the base and "
                f"{_text(right[name])} in {which}",
                hint="nothing is cut or filled; vocabularies must be the same",
            )


def _text(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes)) or "1"


def _sizes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}


def promise(
    checkpoint: Checkpoint, *, others: Sequence[Checkpoint], weights: Sequence[float] | None = None,
    method: str = "task-arithmetic", density: float | None = None, scale: float = 1.0,
    seed: int = 0,
) -> Promise:  # fmt: skip
    """With weights of 0 the base; a tensor that no model changed is bit-equal (not for averages
    of other models)."""
    weights = [1.0] * len(others) if weights is None else list(weights)
    neutral = method == "task-arithmetic" and not any(weights)
    kept = tuple(
        name
        for name, tensor in checkpoint.tensors.items()
        if neutral or all(equal_bits(tensor, o.tensors[name]) for o in others if name in o.tensors)
    )
    return Promise(
        function=neutral, bit_equal=kept, identical=neutral,
        because="" if neutral else "models are merged",
    )  # fmt: skip


SURGERY = Surgery("combine", combine, promise)
