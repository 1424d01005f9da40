"""Does an objective keep its contract? For tilth's own and for those of other packages.

from tilth.testing.objectives import check_objective

def test_my_objective():
    check_objective(MyObjective(length=16))
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilth.objectives.batch import Batch, Draws, Objective
from tilth.testing.common import check_method
from tilth.testing.resume import check_resume
from tilth.tokens.documents import TokenDocuments

VOCABULARY = 300


def documents(seed: int = 0, count: int = 24) -> TokenDocuments:
    """Random documents of 0 to 60 tokens, the empty one and the one-token one among them."""
    chance = np.random.default_rng(seed)
    sizes = [0, 1, *chance.integers(0, 60, count - 2).tolist()]
    rows = [chance.integers(1, VOCABULARY, size).astype(np.uint16) for size in sizes]
    names = [f"document {number}" for number in range(count)]
    return TokenDocuments(names, rows, VOCABULARY, end=0, sizes=sizes)


def tiny_model(seed: int = 0, kind: str = "causal") -> Any:
    """A decoder of about 20,000 parameters with a context of 64; or, by `kind`, a `bert` or
    `electra` of that size, with one id more than the documents have, for the mask."""
    if kind != "causal":
        from tilth.models.encoders import build_shape

        return build_shape(32, 1, vocabulary=VOCABULARY + 1, context=64, kind=kind, seed=seed)
    from tilth.models.decoder import build

    return build("22k", vocabulary=VOCABULARY, context=64, seed=seed)


def check_objective(
    objective: Objective, *, model: Any = None, data: TokenDocuments | None = None
) -> None:
    """Raise AssertionError, saying what is wrong, where the objective breaks its contract.

    Its rows must fit `model` and `data` (by default `tiny_model` of the objective's `model_kind`,
    with a context of 64, and `documents`). Checked: `prepare` is pure, leaves the documents as they
    are and takes none at all; rows can be taken and joined; `loss` is a sum, the same whole or row
    by row, with finite gradients, and leaves the model's mode alone; a training that is interrupted
    ends as one that is not (`check_resume`). And what `check_method` says of every method.
    """
    check_method("objective", objective)
    assert isinstance(objective, Objective), "does not have all parts of the protocol Objective"
    assert objective.length >= 1, "a row must consume tokens"
    data = documents() if data is None else data
    if model is None:
        model = tiny_model(kind=getattr(objective, "model_kind", "causal"))
    _check_loss(objective, model, _check_prepare(objective, data))
    check_resume(objective, model=model, data=data)


def _check_prepare(objective: Objective, data: TokenDocuments) -> Batch:
    before = [row.copy() for row in data.tokens]
    batch = objective.prepare(data, Draws(0))
    same = all(np.array_equal(row, old) for row, old in zip(data.tokens, before))
    assert same, "prepare changed the documents"
    again = type(objective)(**objective.parameters()).prepare(data, Draws(0))
    assert _equal(batch, again), "the same documents and draws gave other rows"
    assert len(batch) > 1 and batch.dropped >= 0, "the documents gave no two rows"
    assert len({len(array) for array in batch.arrays.values()}) == 1, "arrays of unequal lengths"
    nothing = objective.prepare(data.select([]), Draws(0))
    assert len(nothing) == 0 and nothing.dropped == 0, "no documents gave rows"
    assert set(nothing.arrays) == set(batch.arrays), "no documents gave other arrays"
    middle = len(batch) // 2
    halves = [batch.take(slice(0, middle)), batch.take(slice(middle, None))]
    assert _equal(Batch.join(halves), batch, dropped=False), "rows do not join to what they were"
    return batch


def _equal(one: Batch, other: Batch, *, dropped: bool = True) -> bool:
    same = set(one.arrays) == set(other.arrays)
    same = same and all(np.array_equal(one[name], other[name]) for name in one.arrays)
    return same and (not dropped or one.dropped == other.dropped)


def _check_loss(objective: Objective, model: Any, batch: Batch) -> None:
    import torch

    assert not model.training
    whole = objective.loss(model, batch)
    assert not model.training, "loss changed the model's mode"
    assert whole.total.dim() == 0 and whole.n_targets >= 1
    rows = [objective.loss(model, batch.take([number])) for number in range(len(batch))]
    assert sum(row.n_targets for row in rows) == whole.n_targets, "targets do not add up"
    total, parts = whole.total.item(), sum(row.total.item() for row in rows)
    assert math.isclose(total, parts, rel_tol=1e-4), f"not a sum over rows: {total} and {parts}"
    again = objective.loss(model, batch).total
    assert again.item() == total, "the same batch gave another loss"
    again.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients, "the loss reaches no parameter"
    assert all(torch.isfinite(gradient).all() for gradient in gradients), "a gradient is no number"
    model.zero_grad(set_to_none=True)
