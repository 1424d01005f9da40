"""Merging one tensor of several models: pure functions, float64 inside, float32 results.

Order never matters: numbers are sorted before they are added. Where at most one model differs from
the base, the result is that model's number, bit for bit, and not one that rounding moved; so a
weight of 1 gives a model back, weights of 0 the base, and changes in different places just add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tilth.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def task_arithmetic(base: Tensor, others: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """base + sum of w (other - base): task vectors (Ilharco et al., 2023). A sum, no average."""
    return _onto(base, _deltas(base, others, weights), others, weights)


def linear(others: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted average, weights scaled to 1; a soup (Wortsman et al., 2022) where equal."""
    import torch

    total = math.fsum(weights)
    if not total > 0:
        raise UsageError(f"weights that add up to {total:g} make no average")
    if all(torch.equal(other, others[0]) for other in others[1:]):
        return others[0].float().clone()
    terms = torch.stack([other.double() * w for other, w in zip(others, weights)])
    return (_sorted_sum(terms) / total).float()


def ties(
    base: Tensor, others: Sequence[Tensor], weights: Sequence[float], *, density: float = 0.2,
    scale: float = 1.0,
) -> Tensor:  # fmt: skip
    """TIES (Yadav et al., 2023): trim, elect signs, average what agrees; here tensor by tensor.

    Of each task vector the largest share `density` stays; the sign with more mass wins at each
    place; the weighted mean of the vectors with that sign is added to the base, times `scale`.
    """
    import torch

    if not 0 < density <= 1:
        raise UsageError(f"a density of {density:g} keeps nothing", hint="0 < density <= 1")
    deltas = torch.stack([_trimmed(d, density) for d in _deltas(base, others, [1.0] * len(others))])
    shares = torch.tensor(list(weights), dtype=torch.float64).view(-1, *[1] * base.dim())
    elected = torch.sign(_sorted_sum(deltas * shares))
    agree = (torch.sign(deltas) == elected) & (deltas != 0)
    mass = _sorted_sum(torch.where(agree, shares.expand_as(deltas), 0.0))
    mean = _sorted_sum(torch.where(agree, deltas * shares, 0.0)) / mass.clamp(min=1e-300)
    # Alone at its place and unscaled, a model's number is taken as it is.
    single = (agree.sum(0) == 1) & (scale == 1.0)
    found = base.double() + scale * torch.where(mass > 0, mean, 0.0)
    for one, mine in zip(others, agree):
        found = torch.where(single & mine, one.double(), found)
    return found.float()


def dare(
    base: Tensor, others: Sequence[Tensor], weights: Sequence[float], *, density: float = 0.5,
    seed: int = 0,
) -> Tensor:  # fmt: skip
    """DARE (Yu et al., 2024): task vectors with a random share `density` left, times 1 / density.

    Which numbers stay depends on the seed, the shape and the place among the models.
    """
    import torch

    if not 0 < density <= 1:
        raise UsageError(f"a density of {density:g} keeps nothing", hint="0 < density <= 1")
    if density == 1:
        return task_arithmetic(base, others, weights)
    deltas = []
    for number, delta in enumerate(_deltas(base, others, weights)):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        stays = torch.rand(base.shape, generator=generator) < density
        deltas.append(torch.where(stays, delta / density, 0.0))
    return (base.double() + _sorted_sum(torch.stack(deltas))).float()


def cosine(base: Tensor, left: Tensor, right: Tensor) -> float:
    """The cosine of two task vectors; NaN where one of them is zero."""
    a, b = (one.double().reshape(-1) - base.double().reshape(-1) for one in (left, right))
    lengths = float(a.norm()) * float(b.norm())
    return float(a @ b) / lengths if lengths > 0 else float("nan")


def _deltas(base: Tensor, others: Sequence[Tensor], weights: Sequence[float]) -> list[Tensor]:
    return [(other.double() - base.double()) * w for other, w in zip(others, weights)]


def _trimmed(delta: Tensor, density: float) -> Tensor:
    """The largest share by magnitude, zeros elsewhere; ties go to the earlier place."""
    import torch

    kept = round(density * delta.numel())
    if kept == delta.numel():
        return delta
    order = delta.abs().reshape(-1).argsort(descending=True, stable=True)
    mask = torch.zeros(delta.numel(), dtype=torch.bool)
    mask[order[:kept]] = True
    return torch.where(mask.view(delta.shape), delta, 0.0)


def _sorted_sum(terms: Tensor) -> Tensor:
    """The sum over the first dimension, the same for any order of the terms."""
    return terms.sort(dim=0).values.sum(0)


def _onto(
    base: Tensor, deltas: Sequence[Tensor], others: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    import torch

    stacked = torch.stack(list(deltas))
    active = stacked != 0
    count = active.sum(0)
    found = torch.where(count > 0, base.double() + _sorted_sum(stacked), base.double())
    for other, weight, mine in zip(others, weights, active):
        if weight == 1:
            found = torch.where((count == 1) & mine, other.double(), found)
    return found.float()
