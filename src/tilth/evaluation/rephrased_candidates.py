"""The most similar training items of each test item, by character n-grams.

TF-IDF over the character 3- to 5-grams of the text in lower case with single blanks; cosine. The
weights are scikit-learn's (smooth idf, unit length). Training items pass in pieces: memory holds
the test items, one piece, k candidates each, and a number for each different n-gram.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SIZES = (3, 4, 5)
PIECE_ITEMS = 2000
PIECE_CHARACTERS = 4_000_000
TEST_ITEMS = 500
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Candidates(NamedTuple):
    """For each test item its candidates, best first; ties by place. Shape (test items, k).

    `places` are those of the training items. With fewer than k training items k is their number.
    """

    places: np.ndarray
    similarities: np.ndarray


def nearest_items(test: Sequence[str], training: Sequence[str], k: int) -> Candidates:
    """The k most similar training items of each test item."""
    k = min(k, len(training))
    vocabulary, weights = inverse_frequencies(_pieces([*test, *training]))
    best = np.full((len(test), k), -1.0)
    places = np.full((len(test), k), -1, dtype=np.int64)
    blocks = [
        _weighted(test[start : start + TEST_ITEMS], vocabulary, weights).T.tocsr()
        for start in range(0, len(test), TEST_ITEMS)
    ]
    first = 0
    for texts in _pieces(training):
        piece = _weighted(texts, vocabulary, weights)
        for number, block in enumerate(blocks):
            rows = slice(number * TEST_ITEMS, number * TEST_ITEMS + block.shape[1])
            found = np.asarray((piece @ block).todense()).T
            _merge(best, places, rows, found, first)
        first += len(texts)
    return Candidates(places, np.clip(best, 0.0, 1.0))


def inverse_frequencies(pieces: Iterable[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
    """All different n-grams, as sorted 64-bit hashes, and the weight of each."""
    vocabulary, frequency = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    documents = 0
    for texts in pieces:
        found = np.concatenate([vocabulary, *(ngrams(text)[0] for text in texts)])
        added = np.ones(len(found) - len(vocabulary), np.int64)
        counts = np.concatenate([frequency, added])
        vocabulary, place = np.unique(found, return_inverse=True)
        frequency = np.bincount(place, counts, len(vocabulary)).astype(np.int64)
        documents += len(texts)
    return vocabulary, np.log((1 + documents) / (1 + frequency)) + 1


def ngrams(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The different n-grams of a text as sorted hashes, and how often each occurs."""
    plain = normalise(text).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(plain, dtype=np.uint32).astype(np.uint64)
    found = []
    for size in SIZES:
        count = max(0, len(codes) - size + 1)
        hashed = np.full(count, size, dtype=np.uint64)
        for offset in range(size):
            hashed = (hashed ^ codes[offset : offset + count]) * MULTIPLIER
            hashed ^= hashed >> np.uint64(29)
        found.append(hashed)
    return np.unique(np.concatenate(found), return_counts=True)


def normalise(text: str) -> str:
    """Lower case, white space as single blanks, none at both ends."""
    return " ".join(text.lower().split())


def _weighted(texts: Sequence[str], vocabulary: np.ndarray, weights: np.ndarray) -> csr_matrix:
    """Rows of unit length, one a text."""
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    counted = [ngrams(text) for text in texts]
    starts = np.cumsum([0, *(len(found) for found, _ in counted)])
    nothing = np.zeros(0, np.uint64)
    columns = np.searchsorted(vocabulary, np.concatenate([nothing, *(f for f, _ in counted)]))
    values = np.concatenate([nothing, *(count for _, count in counted)]) * weights[columns]
    shape = (len(texts), max(1, len(vocabulary)))
    return normalize(csr_matrix((values, columns, starts), shape=shape), copy=False)


def _pieces(texts: Sequence[str]) -> Iterator[list[str]]:
    piece: list[str] = []
    characters = 0
    for text in texts:
        if piece and (len(piece) == PIECE_ITEMS or characters + len(text) > PIECE_CHARACTERS):
            yield piece
            piece, characters = [], 0
        piece.append(text)
        characters += len(text)
    if piece:
        yield piece


def _merge(
    best: np.ndarray, places: np.ndarray, rows: slice, found: np.ndarray, first: int
) -> None:
    """Take the similarities of a piece, whose first item has this place, into the best so far."""
    k = best.shape[1]
    if found.shape[1] > k:
        # Ties at the edge must go to the first place, so all that reach the k-th value stay.
        edge = np.partition(found, -k, axis=1)[:, -k]
        kept = [np.flatnonzero(row >= least) for row, least in zip(found, edge)]
    else:
        kept = [np.arange(found.shape[1])] * len(found)
    for row, (number, columns) in enumerate(zip(range(rows.start, rows.stop), kept)):
        values = np.concatenate([best[number], found[row, columns]])
        where = np.concatenate([places[number], columns + first])
        order = np.lexsort((where, -values))[:k]
        best[number], places[number] = values[order], where[order]
