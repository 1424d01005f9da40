"""What followed the last tokens in a text: counts of n-grams, mixed with fixed weights.

    P(token | context) = sum over n of w_n count(last n tokens, token) / count(last n tokens)

over contexts of 1 to 6 tokens. Only contexts that were seen count, and nothing is smoothed: this
tells apart what a text knows from what it does not. For a proper model of text: `models.ngram`.
A context is kept as a digest of 64 bits; two that share one are unlikely, and would only be mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

# Superposed Decoding's weights, by the length of the context.
WEIGHTS = (0.01, 0.04, 0.15, 0.18, 0.12, 0.5)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Grams:
    """Counts of token sequences (documents); no n-gram reaches from one to the next."""

    def __init__(
        self, documents: Iterable[Sequence[int]], weights: Sequence[float] = WEIGHTS
    ) -> None:
        self.weights = tuple(weights)
        rows = [np.asarray(one, dtype=np.uint64) for one in documents]
        self._tables = []
        for size in range(1, len(weights) + 1):
            contexts, whole = [], []
            for ids in rows:
                if len(ids) > size:
                    names = _names(ids[:-1], size)
                    contexts.append(names)
                    whole.append(_joined(names, ids[size:]))
            self._tables.append((_counted(contexts), _counted(whole)))

    def chances(self, context: Sequence[int], tokens: np.ndarray) -> np.ndarray:
        """The weighted share of each of `tokens` behind the context, (tokens), float64."""
        found = np.zeros(len(tokens))
        for size, (weight, (seen, followed)) in enumerate(zip(self.weights, self._tables), 1):
            if len(context) < size:
                break
            name = _names(np.asarray(context[-size:], dtype=np.uint64), size)
            times = _looked_up(seen, name)[0]
            if times:
                both = _joined(np.repeat(name, len(tokens)), np.asarray(tokens, dtype=np.uint64))
                found += weight * _looked_up(followed, both) / times
        return found


def _joined(names: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """A digest of a sequence and one more token; arithmetic modulo 2^64."""
    mixed = (names ^ (tokens + np.uint64(1))) * MULTIPLIER
    return mixed ^ (mixed >> np.uint64(29))


def _names(ids: np.ndarray, size: int) -> np.ndarray:
    """A digest of each run of `size` tokens."""
    count = len(ids) - size + 1
    names = np.full(count, size, dtype=np.uint64)
    for place in range(size):
        names = _joined(names, ids[place : place + count])
    return names


def _counted(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    empty = np.zeros(0, dtype=np.uint64)
    return np.unique(np.concatenate(parts or [empty]), return_counts=True)


def _looked_up(table: tuple[np.ndarray, np.ndarray], names: np.ndarray) -> np.ndarray:
    keys, counts = table
    if not len(keys):
        return np.zeros(len(names))
    at = np.minimum(np.searchsorted(keys, names), len(keys) - 1)
    return np.where(keys[at] == names, counts[at], 0)
