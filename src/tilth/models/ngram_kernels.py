"""The compiled loops of the n-gram model. `ngram` explains the trie and is the one caller.

The trie in short: node 0 is the root, the nodes of order 1 follow, then those of order 2, and so
on, each order sorted by (parent, token). So the children of node n are
`first_child[n] : first_child[n + 1]`, and their tokens are sorted. Node ids are global.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def find(tokens: np.ndarray, start: int, stop: int, token: int) -> int:
    """Where `token` stands in the sorted `tokens[start:stop]`, -1 where it does not."""
    low, high = np.int64(start), np.int64(stop)
    while low < high:
        middle = (low + high) >> 1
        if tokens[middle] < token:
            low = middle + 1
        else:
            high = middle
    return low if low < stop and tokens[low] == token else -1


@numba.njit(cache=True, nogil=True)
def extension_keys(nodes: np.ndarray, stream: np.ndarray, begin: int, base: int) -> np.ndarray:
    """One integer, parent * base + token, for each position where a longer n-gram ends.

    `nodes[i]` is the n-gram that ends at i, -1 where a begin stands inside it.
    """
    keys = np.empty(len(stream), np.int64)
    count = 0
    for i in range(1, len(stream)):
        if stream[i] != begin and nodes[i - 1] >= 0:
            keys[count] = np.int64(nodes[i - 1]) * base + stream[i]
            count += 1
    return keys[:count]


@numba.njit(cache=True, nogil=True)
def count_distinct(keys: np.ndarray) -> int:
    """How many different values the sorted keys have."""
    distinct = 0
    for i in range(len(keys)):
        distinct += i == 0 or keys[i] != keys[i - 1]
    return distinct


@numba.njit(cache=True, nogil=True)
def split_keys(
    keys: np.ndarray,
    base: int,
    parent_start: int,
    child_start: int,
    tokens: np.ndarray,
    counts: np.ndarray,
    first_child: np.ndarray,
) -> None:
    """Sorted keys to the tokens and counts of the new nodes and the first child of each parent.

    `tokens` and `counts` have one entry a distinct key, counts are zero before. `first_child` has
    one entry a parent and one more, the end of the last.
    """
    child = -1
    opened = 0  # parents whose first child is known
    for i in range(len(keys)):
        if i == 0 or keys[i] != keys[i - 1]:
            child += 1
            parent = keys[i] // base
            tokens[child] = keys[i] - parent * base
            while opened <= parent - parent_start:
                first_child[opened] = child_start + child
                opened += 1
        counts[child] += 1
    first_child[opened:] = child_start + child + 1


@numba.njit(cache=True, nogil=True)
def extend(
    nodes: np.ndarray,
    stream: np.ndarray,
    begin: int,
    parent_start: int,
    child_start: int,
    tokens: np.ndarray,
    first_child: np.ndarray,
    suffix: np.ndarray,
) -> None:
    """Replace `nodes` by the n-grams one token longer, and link each to the one it replaces.

    That one is the new n-gram without its first token: its suffix.
    """
    # From the end, because each position still needs the old node of the one before it.
    for i in range(len(stream) - 1, -1, -1):
        if i == 0 or stream[i] == begin or nodes[i - 1] < 0:
            nodes[i] = -1
            continue
        parent = nodes[i - 1] - parent_start
        start = first_child[parent] - child_start
        stop = first_child[parent + 1] - child_start
        child = find(tokens, start, stop, stream[i])
        suffix[child] = nodes[i]
        nodes[i] = child_start + child


@numba.njit(cache=True, nogil=True)
def count_extensions(suffix: np.ndarray, start: int, counts: np.ndarray) -> None:
    """Add to each n-gram the number of different tokens seen before it."""
    for node in range(start, len(suffix)):
        counts[suffix[node]] += 1


@numba.njit(cache=True, nogil=True)
def interpolate(
    contexts: tuple[int, int],
    first_child: np.ndarray,
    suffix: np.ndarray,
    counts: np.ndarray,
    discounts: np.ndarray,
    probability: np.ndarray,
    backoff: np.ndarray,
) -> None:
    """The probabilities of the children of all `contexts`, and the weight of what they leave.

    The children's suffixes are one order lower and must have their probabilities already.
    """
    for context in range(contexts[0], contexts[1]):
        start, stop = first_child[context], first_child[context + 1]
        if start == stop:
            backoff[context] = 1.0
            continue
        total = 0.0
        saved = 0.0
        for child in range(start, stop):
            total += counts[child]
            saved += discounts[min(counts[child], 3)]
        weight = saved / total
        backoff[context] = weight
        for child in range(start, stop):
            own = (counts[child] - discounts[min(counts[child], 3)]) / total
            probability[child] = own + weight * probability[suffix[child]]


@numba.njit(cache=True, nogil=True)
def advance(
    state: int,
    token: int,
    tokens: np.ndarray,
    first_child: np.ndarray,
    suffix: np.ndarray,
    backoff: np.ndarray,
) -> tuple[int, float]:
    """The longest n-gram that ends with `token` after the context `state`, and the weight.

    Its probability times the weight is the probability of the token. `state` is the longest known
    context; the walk goes to shorter ones until the token was seen.
    """
    weight = 1.0
    context = np.int64(state)
    while context != 0:
        child = find(tokens, first_child[context], first_child[context + 1], token)
        if child >= 0:
            return child, weight
        weight *= backoff[context]
        context = np.int64(suffix[context])
    return np.int64(1 + token), weight  # the root has every token as a child, in order


@numba.njit(cache=True, nogil=True)
def score(
    stream: np.ndarray,
    offsets: np.ndarray,
    begin: int,
    tokens: np.ndarray,
    first_child: np.ndarray,
    suffix: np.ndarray,
    probability: np.ndarray,
    backoff: np.ndarray,
) -> np.ndarray:
    """The natural logarithm of the probability of each token and of each sequence's end."""
    out = np.empty(len(stream) + len(offsets) - 1)
    for sequence in range(len(offsets) - 1):
        state = np.int64(1 + begin) if 1 + begin < len(backoff) else np.int64(0)
        for i in range(offsets[sequence], offsets[sequence + 1] + 1):
            token = stream[i] if i < offsets[sequence + 1] else begin - 1
            node, weight = advance(state, token, tokens, first_child, suffix, backoff)
            out[i + sequence] = np.log(weight * probability[node])
            # An n-gram of the highest order is no context: its suffix is the longest one.
            state = node if node < len(backoff) else np.int64(suffix[node])
    return out
