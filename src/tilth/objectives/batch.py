"""The nouns of an objective: the batch that it prepares, the draws it makes, the loss it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tilth.store.digest import digest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from tilth.tokens.documents import TokenDocuments


@dataclass(frozen=True)
class Batch:
    """Rows to learn from: named arrays with one entry a row on their first axis.

    `dropped` counts the tokens of the prepared documents that are a target in no row.
    """

    arrays: Mapping[str, np.ndarray]
    dropped: int = 0

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def take(self, rows: slice | Sequence[int] | np.ndarray) -> Batch:
        """Some of the rows, in the order asked for."""
        return Batch({name: array[rows] for name, array in self.arrays.items()})

    @staticmethod
    def join(batches: Sequence[Batch]) -> Batch:
        """The rows of several batches, one after the other."""
        if len(batches) == 1:
            return batches[0]
        names = batches[0].arrays
        return Batch(
            {name: np.concatenate([batch[name] for batch in batches]) for name in names},
            sum(batch.dropped for batch in batches),
        )


@dataclass(frozen=True)
class Draws:
    """Where an objective gets chance from: `at(id, position)` is a generator of its own.

    It depends on (seed, epoch, document id, position) and on nothing else, so what is drawn for a
    document does not change with the documents beside it, the workers or a restart.
    """

    seed: int = 0
    epoch: int = 0

    def at(self, document: str, position: int = 0) -> np.random.Generator:
        name = digest("draws", self.seed, self.epoch, document, position)
        return np.random.Generator(np.random.PCG64(int(name, 16)))


class Loss(NamedTuple):
    """`total`: the sum over all targets, in nats, with its graph. `parts`: named sums to show."""

    total: torch.Tensor
    parts: dict[str, float]
    n_targets: int


@runtime_checkable
class Objective(Protocol):
    """Documents to rows, and rows to a loss. See `tilth.testing.objectives.check_objective`.

    `length` is how many tokens one row consumes of a budget. `prepare` is pure: the same documents
    and draws give the same rows. `loss` asks the model for logits or hidden states, never for a
    loss, and returns a sum: the loop divides by the targets of the whole accumulated batch.

    An objective may have `modules: Mapping[str, torch.nn.Module]`: parts of its own that are
    trained along with the model and stored in checkpoints as `objective.NAME.` (see `own_modules`);
    `segment: int`, the longest text in a row where that is shorter than the row; and `model_kind`,
    which model its checks take (`causal` where it is silent, `bert`, `electra`).
    """

    name: str
    version: int
    length: int

    def parameters(self) -> dict[str, Any]: ...

    def prepare(self, documents: TokenDocuments, rng: Draws) -> Batch: ...

    def loss(self, model: PreTrainedModel, batch: Batch) -> Loss: ...


# What an objective may say of itself beside `modules`: one around another says what that one says.
STATED = ("segment", "model_kind", "window")


def stated(objective: Objective) -> dict[str, Any]:
    """Those of `STATED` that an objective has."""
    return {name: getattr(objective, name) for name in STATED if hasattr(objective, name)}


def own_modules(objective: Objective) -> Mapping[str, torch.nn.Module]:
    """The parts of its own that an objective trains along with the model; none for most."""
    return getattr(objective, "modules", {})
