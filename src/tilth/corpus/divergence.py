"""How far apart word counts are: the Jensen-Shannon divergence (Lin 1991).

Use it to compare books or collections by the words they use (Gerlach and Font-Clos 2018); not for
short texts, whose counts say little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def nearest(counts: Sequence[Mapping[str, int]]) -> list[int]:
    """For each, the other with the smallest Jensen-Shannon divergence of relative frequencies."""
    import numpy as np
    from scipy.special import entr

    names = {name: place for place, name in enumerate(sorted(set().union(*counts)))}
    shares = np.zeros((len(counts), len(names)))
    for row, one in enumerate(counts):
        shares[row, [names[name] for name in one]] = list(one.values())
    shares /= shares.sum(axis=1, keepdims=True)
    entropies = entr(shares).sum(axis=1)
    found = []
    for row in range(len(counts)):
        mixed = entr((shares + shares[row]) / 2).sum(axis=1)
        divergence = mixed - (entropies + entropies[row]) / 2
        divergence[row] = np.inf
        found.append(int(divergence.argmin()))
    return found
