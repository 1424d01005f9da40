"""Averages of the weights along one training: its last checkpoints, or all steps with less and less
weight (EMA). Often a little better than the last weights at a rate that has not fallen to 0
(Izmailov et al., 2018; Polyak and Juditsky, 1992); of no use after a rate that has.

For averages of several trainings see `models.surgery.combine`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.models.surgery.arithmetic import linear
from tilth.training import checkpoint as kept
from tilth.training.policy import modules_of

if TYPE_CHECKING:
    import torch


def average_checkpoints(folder: str | Path, model: torch.nn.Module, last: int = 3) -> int:
    """Put the mean of the last checkpoints of a training into `model`; how many there were.

    Keep them with `fit(checkpoint_keep=...)`. Raises DataError where there is none.
    """
    from tilth.store.manifest import verify

    found = kept.folders(folder)[-last:]
    if last < 1 or not found:
        raise DataError("holds no checkpoint to average", where=str(folder))
    for path in found:
        verify(path)
    parts = [kept.read(path)[2] for path in found]
    mean = {}
    for name in kept.weights_of(modules_of(model)):
        if any(name not in part for part in parts):
            raise DataError(f"has no tensor {name!r}", where=str(folder))
        tensors = [part[name] for part in parts]
        whole = not tensors[0].is_floating_point()
        mean[name] = tensors[-1] if whole else linear(tensors, [1.0] * len(tensors))
    kept.load_weights(modules_of(model), mean, Path(folder))
    return len(found)


class MovingAverage:
    """a <- decay a + (1 - decay) w after each step; `fit(on_step=average)`, then `put()`.

    The start counts for nothing: the mean is divided by the weights that were given. It is not in
    checkpoints: a training that goes on begins it anew.
    """

    def __init__(self, model: torch.nn.Module, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise UsageError(f"a decay of {decay} does not lie from 0 to 1")
        self.model, self.decay, self.given = model, decay, 0.0
        self._sums: dict[str, Any] = {}

    def __call__(self, point: Any = None) -> None:
        """Take the weights as they are now."""
        self.given = self.decay * self.given + 1 - self.decay
        for name, weight in self.model.named_parameters():
            here = weight.detach().double()
            before = self._sums.get(name)
            part = (1 - self.decay) * here
            self._sums[name] = part if before is None else self.decay * before + part

    def put(self) -> None:
        """The average becomes the model's weights."""
        import torch

        if not self._sums:
            raise UsageError("no step was averaged")
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_((self._sums[name] / self.given).to(weight.dtype))


Callback = Callable[[Any], None]


def together(*callbacks: Callback) -> Callback:
    """One `on_step` out of several, called in this order."""

    def on_step(point: Any) -> None:
        for callback in callbacks:
            callback(point)

    return on_step
