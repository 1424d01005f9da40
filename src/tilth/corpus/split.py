"""Splits that nothing crosses: documents joined by origin, group or cluster stay together.

Made before anything is fitted. Components are taken in the order of a digest of (seed, component),
so the order of files does not matter and a new document moves few others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilth.errors import DataError
from tilth.store.digest import digest


def components(*columns: Sequence[str | None]) -> np.ndarray:
    """Number of the connected component of each row; rows that share a value are connected.

    Each column is aligned by row; None and "" connect nothing.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = len(columns[0])
    links: list[tuple[np.ndarray, np.ndarray]] = []
    nodes = rows
    for column in columns:
        values = np.array([value or "" for value in column], dtype=object)
        _, number = np.unique(values.astype(str), return_inverse=True)
        here = np.flatnonzero(values != "")
        links.append((here, number[here] + nodes))
        nodes += int(number.max(initial=-1)) + 1
    left = np.concatenate([link[0] for link in links])
    right = np.concatenate([link[1] for link in links])
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(nodes, nodes))
    _, labels = connected_components(graph, directed=False)
    return labels[:rows]


def split_by_component(
    component: np.ndarray,
    ids: Sequence[str],
    sizes: Sequence[int] | np.ndarray,
    share: float,
    seed: int = 0,
) -> np.ndarray:
    """True for rows held out: whole components, about `share` of the bytes.

    A component is named by its smallest id; one without any size (all dropped) stays where it is.
    One that alone would overshoot the share by a fifth stays in training; where every one would,
    the smallest is held out. Raises DataError where there is only one component: nothing can then
    be held out honestly.
    """
    weights = np.bincount(component, weights=np.asarray(sizes, dtype=np.float64))
    if not weights.any():
        raise DataError(
            "no document was kept, so none can be held out",
            hint="tilth corpus stats says why; loosen the rule",
        )
    if np.count_nonzero(weights) < 2:
        raise DataError(
            "all documents belong to one group, so none can be held out",
            hint="give more files, or a finer group",
        )
    names: dict[int, str] = {}
    for label, name in zip(component.tolist(), ids):
        if weights[label] and (label not in names or name < names[label]):
            names[label] = name
    order = sorted(names, key=lambda label: digest("split", seed, names[label]))
    target, taken, chosen = share * float(weights.sum()), 0.0, []
    for label in order:
        if taken >= target:
            break
        if taken + weights[label] <= 1.2 * target:
            chosen.append(label)
            taken += float(weights[label])
    if not chosen:
        chosen = [min(order, key=lambda label: (weights[label], names[label]))]
    return np.isin(component, chosen)
