"""The numbers that a training computes in: float32, or bfloat16 where that is faster here.

bfloat16 means autocast (Micikevicius et al., 2018, in a format that needs no loss scale): weights,
gradients and moments stay float32, products are made in bfloat16, losses in float32. On processors
with bfloat16 units it is several times faster for wide models, and slower for narrow ones; so
`auto` measures both on the first rows and takes the faster. Results differ between the two.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError, nearest
from tilth.objectives.batch import Batch, Objective

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16", "auto")
REPEATS = 3


def check(precision: str) -> None:
    if precision not in PRECISIONS:
        raise UsageError(
            f"no precision is called {precision!r}", hint=nearest(precision, PRECISIONS)
        )


def autocast(precision: str, model: torch.nn.Module) -> contextlib.AbstractContextManager[Any]:
    """The context in which losses of a training are computed."""
    import torch

    if precision != "bfloat16":
        return contextlib.nullcontext()
    return torch.autocast(next(model.parameters()).device.type, dtype=torch.bfloat16)


def seconds(
    model: torch.nn.Module, objective: Objective, batch: Batch, precision: str, repeats: int
) -> float:
    """The least seconds of so many forward and backward passes, after one that does not count.

    Weights, gradients and torch's generator are afterwards as they were.
    """
    import torch

    was_training = model.training
    best = float("inf")
    held = {parameter: parameter.grad for parameter in model.parameters()}
    with torch.random.fork_rng():
        model.train()
        try:
            for repeat in range(repeats + 1):
                began = time.perf_counter()
                with autocast(precision, model):
                    total = objective.loss(model, batch).total
                if total.requires_grad:
                    total.backward()
                if repeat:
                    best = min(best, time.perf_counter() - began)
                for module in (model, *(getattr(objective, "modules", None) or {}).values()):
                    module.zero_grad(set_to_none=True)
        finally:
            model.train(was_training)
            for parameter, gradient in held.items():
                parameter.grad = gradient
    return best


def faster(model: torch.nn.Module, objective: Objective, batch: Batch) -> str:
    """`float32` or `bfloat16`, whichever takes less time for this batch."""
    taken = {
        name: seconds(model, objective, batch, name, REPEATS) for name in ("float32", "bfloat16")
    }
    return min(taken, key=lambda name: taken[name])
