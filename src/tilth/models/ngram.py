"""Interpolated modified Kneser-Ney n-gram model (Chen and Goodman 1999; Heafield et al. 2013).

What: the strongest model that only counts. With c = w1..wk-1 the tokens before w,

    p(w | c) = max(0, a(c w) - D(a(c w))) / A(c) + g(c) p(w | w2..wk-1)
    A(c) = sum over w of a(c w)          g(c) = sum over w of D(a(c w)) / A(c)

where a is the count for n-grams of the highest order and for those that start at the beginning of
a sequence, and else the number of different tokens seen before the n-gram; D(0) = 0, and D(1),
D(2), D(3 and more) are an order's own, from how many of its n-grams have a = 1, 2, 3, 4. The order
below the first is uniform over the vocabulary and the end. The estimates are those of KenLM's
`lmplz` without pruning.

When: a baseline that any neural model must pass, a quality signal, a fast scorer. When not: to
write text, or where the memory (about 17 bytes a distinct n-gram) is too much or words that match
exactly are too little.

Sequences: before each one stands a begin (a context, never predicted), after each one an end (an
event, id `vocabulary`, never a context). Ids 0..vocabulary - 1 are all possible, seen or not; a
closed vocabulary needs no unknown token, for an open one the caller reserves an id (see
`ngram_scorer`).

How: sorted keys build a trie in flat arrays (`ngram_kernels`). Each n-gram stores its interpolated
probability, a link to the n-gram without its first token, and, below the highest order, g: so a
token is scored by one look-up where its context is known. Computed in float64, stored in float32:
a distribution sums to 1 within 1e-6.

Not covered: pruning, quantisation, an ARPA file.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError, DataError, LimitError
from tilth.models import ngram_kernels as kernels
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest
from tilth.store.write import atomic_write

FALLBACK = (0.5, 1.0, 1.5)  # lmplz's default discounts where an order gives none
WIDE = 2**31  # from so many nodes on, their numbers take 8 bytes
ARRAYS = ("tokens", "first_child", "suffix", "probability", "backoff")


def discounts(count_of_counts: Sequence[int]) -> tuple[float, float, float] | None:
    """D(1), D(2), D(3 and more) from n1, n2, n3, n4; Chen and Goodman's equation 26.

    None where they do not exist: one of n1, n2, n3 is 0, or a discount is not above 0 and at most
    its count. (`lmplz` accepts a discount of exactly 0, which can make an event impossible.)
    """
    n = [0, *(int(value) for value in count_of_counts)]
    if 0 in n[1:4]:
        return None
    share = n[1] / (n[1] + 2 * n[2])
    first, second, third = (j - (j + 1) * share * n[j + 1] / n[j] for j in (1, 2, 3))
    return (first, second, third) if min(first, second, third) > 0 else None


class NGram:
    """A trained model. Make it with `train` or `load`; it does not change afterwards.

    - `vocabulary`, `order`: as in training. Distributions have vocabulary + 1 entries, end last.
    - `counts`: how many different n-grams were seen, an entry for each order from 1 (end counted,
      begin not).
    - `discounts`: float64 (order, 3), the D(1), D(2), D(3 and more) of each order.
    - `fallbacks`: the orders whose discounts are `FALLBACK`, because theirs do not exist (small or
      artificial data; order 1 of a small vocabulary).
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        order: int,
        counts: Sequence[int],
        discounts: Any,
        fallbacks: Sequence[int],
        arrays: dict[str, np.ndarray],
    ) -> None:
        self.vocabulary, self.order = vocabulary, order
        self.counts, self.fallbacks = tuple(counts), tuple(fallbacks)
        self.discounts = np.asarray(discounts, np.float64)
        # Read-only like arrays mapped from disk, so that each kernel is compiled once.
        for array in arrays.values():
            array.setflags(write=False)
        self._arrays = arrays
        self._trie = tuple(arrays[name] for name in ("tokens", "first_child", "suffix"))
        self._probability, self._backoff = arrays["probability"], arrays["backoff"]

    @classmethod
    def train(
        cls, tokens: np.ndarray, offsets: np.ndarray, *, vocabulary: int, order: int = 5
    ) -> NGram:
        """A model of the sequences `tokens[offsets[i]:offsets[i + 1]]`.

        tokens: integers (n,) in 0..vocabulary - 1. offsets: integers (sequences + 1,), from 0 to n,
        never falling; a sequence may be empty. The same input gives the same model, bit for bit.
        Memory while it runs: about 40 bytes a distinct n-gram (0.7 GB for 30 MB of novels).
        Raises DataError for other input, LimitError where the numbers of n-grams do not fit.
        """
        if order < 1:
            raise DataError(f"the order is {order}", hint="give 1 or more; 5 is usual")
        if vocabulary < 1:
            raise DataError(f"the vocabulary is {vocabulary}", hint="give the number of token ids")
        tokens, offsets = _checked(tokens, offsets, vocabulary)
        if len(offsets) < 2:
            raise DataError("there is no sequence to count", hint="give at least one document")
        trie, starts, counts = _count(tokens, offsets, vocabulary, order)
        seen = [int(np.count_nonzero(counts[a:b])) for a, b in pairwise(starts[1:])]
        _adjust(counts, trie, starts, vocabulary)
        chosen = [discounts(_count_of_counts(counts[a:b])) for a, b in pairwise(starts[1:])]
        table = np.array([found or FALLBACK for found in chosen])
        probability, backoff = _estimate(counts, trie, starts, table)
        probability[_begin_node(vocabulary)] = 0.0
        arrays = (*trie, probability.astype(np.float32), backoff.astype(np.float32))
        return cls(
            vocabulary=vocabulary,
            order=order,
            counts=seen,
            discounts=table,
            fallbacks=[k for k, found in enumerate(chosen, start=1) if found is None],
            arrays=dict(zip(ARRAYS, arrays)),
        )

    def score(self, tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Natural logarithms of the probabilities of all tokens and of each sequence's end.

        Input as for `train`; there may be no sequence. Gives float64 (tokens + sequences,): those
        of sequence i stand at offsets[i] + i, its end last, at offsets[i + 1] + i. Each is given
        the tokens of its own sequence before it. Raises DataError for an id out of range.
        """
        tokens, offsets = _checked(tokens, offsets, self.vocabulary)
        begin = self.vocabulary + 1
        return kernels.score(tokens, offsets, begin, *self._trie, self._probability, self._backoff)

    def next_distribution(self, context: Sequence[int], *, begins: bool = True) -> np.ndarray:
        """The probabilities of all that may follow: float64 (vocabulary + 1,), the end last.

        `context` is the sequence so far; with `begins=False` it is a piece from its middle.
        """
        return self._distribution(self._state(context, begins))

    def sample(
        self, rng: np.random.Generator, length: int, prefix: Sequence[int] = ()
    ) -> np.ndarray:
        """Up to `length` tokens that follow `prefix` in one sequence; it stops before the end."""
        state, out = self._state(prefix, True), []
        while len(out) < length:
            cumulative = np.cumsum(self._distribution(state))
            # Rounding may leave the sum a little off 1, so it is measured.
            token = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
            if token >= self.vocabulary:
                break
            out.append(token)
            state = self._next_state(state, token)
        return np.array(out, np.int64)

    def save(self, folder: str | Path) -> None:
        """Write one .npy file an array and, last, the manifest. Same model, same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in ARRAYS:
            with atomic_write(folder / f"{name}.npy") as file:
                np.lib.format.write_array(file, self._arrays[name], allow_pickle=False)
        write_manifest(
            folder,
            [f"{name}.npy" for name in ARRAYS],
            kind="ngram",
            version=1,
            vocabulary=self.vocabulary,
            order=self.order,
            counts=list(self.counts),
            discounts=self.discounts.tolist(),
            fallbacks=list(self.fallbacks),
        )

    @classmethod
    def load(cls, folder: str | Path) -> NGram:
        """The model of a folder, its arrays mapped into memory and read when needed.

        Raises DamagedError where the folder is unfinished or its sizes disagree; that every byte is
        right, `tilth.store.manifest.verify` says.
        """
        folder = Path(folder)
        if not is_complete(folder, {"kind": "ngram", "version": 1}):
            raise DamagedError("not a finished n-gram model", where=str(folder))
        manifest = read_manifest(folder) or {}
        arrays = {}
        for name in ARRAYS:
            try:
                mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            except ValueError as error:
                raise DamagedError(str(error), where=str(folder / f"{name}.npy")) from None
            arrays[name] = np.asarray(mapped)
        fields = ("vocabulary", "order", "counts", "discounts", "fallbacks")
        return cls(arrays=arrays, **{field: manifest[field] for field in fields})

    def _state(self, context: Sequence[int], begins: bool) -> int:
        """The node of the longest known end of the context."""
        state = _begin_node(self.vocabulary) if begins and self.order > 1 else 0
        for token in context:
            if not 0 <= token < self.vocabulary:
                raise DataError(f"token {token} is not in 0..{self.vocabulary - 1}")
            state = self._next_state(state, int(token))
        return state

    def _next_state(self, state: int, token: int) -> int:
        node, _ = kernels.advance(state, token, *self._trie, self._backoff)
        return int(node if node < len(self._backoff) else self._trie[2][node])

    def _distribution(self, state: int) -> np.ndarray:
        tokens, first_child, suffix = self._trie
        chain = []
        while state:
            chain.append(state)
            state = int(suffix[state])
        out = self._probability[1 : self.vocabulary + 2].astype(np.float64)
        for context in reversed(chain):
            children = slice(first_child[context], first_child[context + 1])
            out *= np.float64(self._backoff[context])
            out[tokens[children]] = self._probability[children]
        return out


def _checked(
    tokens: np.ndarray, offsets: np.ndarray, vocabulary: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both as the kernels want them. Raises DataError that names the first mistake."""
    tokens, offsets = np.asarray(tokens), np.asarray(offsets)
    for name, array in (("tokens", tokens), ("offsets", offsets)):
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise DataError(f"{name} are not integers in one row", where="n-gram")
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(tokens):
        raise DataError(f"offsets do not go from 0 to {len(tokens)}, the number of tokens")
    if np.any(offsets[1:] < offsets[:-1]):
        raise DataError("offsets fall somewhere; each sequence must end at or after its start")
    if len(tokens) and not (tokens.min() >= 0 and tokens.max() < vocabulary):
        place = int(np.argmax((tokens < 0) | (tokens >= vocabulary)))
        raise DataError(
            f"token {place} has the id {tokens[place]}, outside 0..{vocabulary - 1}",
            hint="the vocabulary must hold every id",
        )
    return np.ascontiguousarray(tokens, np.int32), np.ascontiguousarray(offsets, np.int64)


def _count(
    tokens: np.ndarray, offsets: np.ndarray, vocabulary: int, order: int
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], list[int], np.ndarray]:
    """The trie of all n-grams (tokens, first_child, suffix), where orders start, and counts."""
    end, begin = vocabulary, vocabulary + 1
    sequences = np.arange(len(offsets) - 1)
    most_nodes = order * (len(tokens) + 2 * len(sequences)) + vocabulary + 3
    if begin >= 2**31 or most_nodes * begin >= 2**63:
        raise LimitError("too many tokens for this order and vocabulary", where="n-gram")
    stream = np.full(len(tokens) + 2 * len(sequences), -1, np.int32)
    stream[offsets[:-1] + 2 * sequences] = begin
    stream[offsets[1:] + 2 * sequences + 1] = end
    stream[stream < 0] = tokens
    number = np.int32 if most_nodes < WIDE else np.int64
    nodes = stream.astype(number) + 1
    starts = [0, 1, vocabulary + 3]
    labels = [np.zeros(1, np.int32), np.arange(vocabulary + 2, dtype=np.int32)]
    children, suffixes = [np.ones(1, number)], [np.zeros(vocabulary + 3, number)]
    counts = [np.zeros(1, number), np.bincount(stream, minlength=vocabulary + 2).astype(number)]
    for k in range(2, order + 1):
        keys = kernels.extension_keys(nodes, stream, begin, vocabulary + 1)
        keys.sort()
        size = kernels.count_distinct(keys)
        label, count = np.empty(size, np.int32), np.zeros(size, number)
        first_child = np.empty(starts[k] - starts[k - 1] + 1, number)
        kernels.split_keys(
            keys, vocabulary + 1, starts[k - 1], starts[k], label, count, first_child
        )
        suffix = np.empty(size, number)
        kernels.extend(nodes, stream, begin, starts[k - 1], starts[k], label, first_child, suffix)
        labels.append(label)
        children.append(first_child[:-1])
        suffixes.append(suffix)
        counts.append(count)
        starts.append(starts[k] + size)
    children.append(np.array([starts[-1]], number))
    trie = tuple(np.concatenate(parts) for parts in (labels, children, suffixes))
    counts = np.concatenate(counts)
    counts[_begin_node(vocabulary)] = 0
    return trie, starts, counts


def _begin_node(vocabulary: int) -> int:
    return 1 + vocabulary + 1


def _adjust(
    counts: np.ndarray,
    trie: tuple[np.ndarray, np.ndarray, np.ndarray],
    starts: list[int],
    vocabulary: int,
) -> None:
    """Turn counts into a(.) of the module's docstring, in place."""
    _, first_child, suffix = trie
    # n-grams that start with the begin are the last of their order, because its id is the largest.
    begins = _begin_node(vocabulary)
    for k in range(1, len(starts) - 2):
        counts[starts[k] : begins] = 0
        begins = first_child[begins]
    kernels.count_extensions(suffix, starts[2], counts)


def _count_of_counts(counts: np.ndarray) -> np.ndarray:
    """How many of the counts are 1, 2, 3 and 4."""
    return np.bincount(np.minimum(counts, 5), minlength=6)[1:5]


def _estimate(
    counts: np.ndarray,
    trie: tuple[np.ndarray, np.ndarray, np.ndarray],
    starts: list[int],
    table: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The interpolated probability of each n-gram, and g of each that is a context; float64."""
    _, first_child, suffix = trie
    probability, backoff = np.empty(starts[-1]), np.empty(starts[-2])
    # The root's children are the vocabulary, the end and the begin, which is no event.
    probability[0] = 1 / (starts[2] - starts[1] - 1)
    for k, row in enumerate(table, start=1):
        cut = np.concatenate([[0.0], row])
        contexts = (starts[k - 1], starts[k])
        kernels.interpolate(contexts, first_child, suffix, counts, cut, probability, backoff)
    return probability, backoff
