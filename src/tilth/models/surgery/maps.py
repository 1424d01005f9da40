"""Maps from new units to old ones: which old unit each new one copies, and how often each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tilth.errors import UsageError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Copies:
    """`source[i]`: the old number that new number i copies. `shares[i]`: 1 over how often that old
    number is copied, the factor of what sums over it. `fresh[i]`: whether i is not the first copy.
    """

    source: np.ndarray
    shares: np.ndarray
    fresh: np.ndarray

    @classmethod
    def of(cls, source: np.ndarray) -> Copies:
        counts = np.bincount(source)
        first = np.unique(source, return_index=True)[1]
        fresh = np.ones(len(source), bool)
        fresh[first] = False
        return cls(source, 1.0 / counts[source], fresh)

    @property
    def uniform(self) -> bool:
        """Whether every old number is copied equally often."""
        return bool(np.ptp(self.shares) == 0)

    @property
    def neutral(self) -> bool:
        """Whether it changes nothing."""
        return bool(np.array_equal(self.source, np.arange(self.source.max() + 1)))

    def each(self, size: int) -> Copies:
        """The map of single numbers, where a unit has `size` of them that stay together."""
        source = (self.source[:, None] * size + np.arange(size)).reshape(-1)
        return Copies(source, np.repeat(self.shares, size), np.repeat(self.fresh, size))

    def then(self, other: Copies, offset: int) -> Copies:
        """Two axes stacked: the other's old numbers begin at `offset`."""
        return Copies(
            np.concatenate([self.source, other.source + offset]),
            np.concatenate([self.shares, other.shares]),
            np.concatenate([self.fresh, other.fresh]),
        )

    def index(self) -> torch.Tensor:
        import torch

        return torch.from_numpy(self.source)


def duplicate(
    old: int, new: int, rng: np.random.Generator, *, balanced: bool = True, what: str = "units"
) -> Copies:
    """`new` units from `old` ones, the first `old` of them unchanged.

    Balanced copies each unit equally often, up to one; else each further unit is a fair draw, as
    in the paper. Raises UsageError for fewer units than there are.
    """
    if new < old:
        raise UsageError(f"{new:,} {what} are fewer than the {old:,} that there are")
    extra = new - old
    if balanced:
        rounds = [rng.permutation(old) for _ in range(-(-extra // old))]
        drawn = np.concatenate([*rounds, np.empty(0, np.int64)])[:extra]
    else:
        drawn = rng.integers(0, old, extra)
    return Copies.of(np.concatenate([np.arange(old), drawn]).astype(np.int64))


def duplicate_heads(
    heads: int, groups: int, new_heads: int, new_groups: int, rng: np.random.Generator,
    *, balanced: bool = True,
) -> tuple[Copies, Copies]:  # fmt: skip
    """Maps of query heads and of key-value heads (groups); a new head reads the keys of its source.

    Query head h reads group h // (heads / groups). A new group copies an old one with all of its
    query heads, some twice where the new groups are larger. Raises UsageError for counts that do
    not divide and for groups that become smaller.
    """
    if new_heads % new_groups:
        raise UsageError(f"{new_heads} heads do not divide into {new_groups} key-value heads")
    per, new_per = heads // groups, new_heads // new_groups
    if new_per < per:
        raise UsageError(
            f"{new_per} query heads for each key-value head are fewer than the {per} there are",
            hint="more heads or fewer kv_heads",
        )
    group_map = duplicate(groups, new_groups, rng, balanced=balanced, what="key-value heads")
    source = []
    for group in group_map.source:
        inside = duplicate(per, new_per, rng, balanced=balanced)
        source.append(group * per + inside.source)
    return Copies.of(np.concatenate(source)), group_map
