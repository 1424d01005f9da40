"""The compiled loops of BM25. `bm25` explains the formula and is the one caller.

Queries are rows of a compressed matrix: query q has the terms `starts[q]:starts[q + 1]`, in the
order of the terms, each with its place in the segment's vocabulary (-1 if it is not there) and its
weight (idf times its count in the query). `norms` holds k1 (1 - b + b length / average) of each
document, -1 where it was removed. Scores are summed in the order of the terms in every loop here,
so that all give the same bits.
"""

from __future__ import annotations

import numba
import numpy as np

# Less than the share of any term in any document: what does not reach it was not found.
LEAST = 1e-300


@numba.njit(cache=True, nogil=True, inline="always")
def part(weight: float, count: int, norm: float) -> float:
    """One term's share in a document's score."""
    return weight * (count / (count + norm))


@numba.njit(cache=True, nogil=True, inline="always")
def _worse(score: float, row: int, other_score: float, other_row: int) -> bool:
    """Whether an answer comes after another one: a lower score, or the same and a later row."""
    return score < other_score or (score == other_score and row > other_row)


@numba.njit(cache=True, nogil=True)
def _sink(rows: np.ndarray, scores: np.ndarray, size: int) -> None:
    """Bring the first entry of a heap whose worst answer stands first to its place."""
    at = 0
    row, score = rows[0], scores[0]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _worse(scores[right], rows[right], scores[child], rows[child]):
            child = right
        if not _worse(scores[child], rows[child], score, row):
            break
        rows[at], scores[at] = rows[child], scores[child]
        at = child
    rows[at], scores[at] = row, score


@numba.njit(cache=True, nogil=True)
def _rise(rows: np.ndarray, scores: np.ndarray, at: int) -> None:
    """Bring the last entry of the heap to its place."""
    row, score = rows[at], scores[at]
    while at > 0:
        above = (at - 1) >> 1
        if not _worse(score, row, scores[above], rows[above]):
            break
        rows[at], scores[at] = rows[above], scores[above]
        at = above
    rows[at], scores[at] = row, score


@numba.njit(cache=True, nogil=True)
def search(
    query_starts: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    documents: np.ndarray,
    counts: np.ndarray,
    norms: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The k best rows of each query with a score above 0: (found, rows, scores).

    rows and scores are (queries, k), best first, of which the first `found[q]` are filled.
    """
    queries = len(query_starts) - 1
    found = np.zeros(queries, np.int64)
    rows, scores = np.empty((queries, k), np.int64), np.empty((queries, k), np.float64)
    total = np.zeros(len(norms), np.float64)
    touched = np.empty(len(norms), np.int64)
    for query in range(queries):
        first, last = query_starts[query], query_starts[query + 1]
        entries = 0
        for term in range(first, last):
            if places[term] >= 0:
                entries += starts[places[term] + 1] - starts[places[term]]
        # Looking at every document afterwards is cheaper than a list of those that were reached,
        # unless they are few.
        few = 4 * entries < len(norms)
        seen = 0
        for term in range(first, last):
            if places[term] < 0:
                continue
            weight = weights[term]
            for entry in range(starts[places[term]], starts[places[term] + 1]):
                row = documents[entry]
                norm = norms[row]
                if norm < 0:
                    continue
                before = total[row]
                if few and before == 0:
                    touched[seen] = row
                    seen += 1
                total[row] = before + part(weight, counts[entry], norm)
        heap_rows, heap_scores, size = rows[query], scores[query], 0
        bar = LEAST
        for number in range(seen if few else len(norms)):
            row = touched[number] if few else number
            score = total[row]
            total[row] = 0
            if score < bar:
                continue
            if size < k:
                heap_rows[size], heap_scores[size] = row, score
                _rise(heap_rows, heap_scores, size)
                size += 1
            elif _worse(heap_scores[0], heap_rows[0], score, row):
                heap_rows[0], heap_scores[0] = row, score
                _sink(heap_rows, heap_scores, k)
            if size == k:
                bar = heap_scores[0]
        found[query] = size
        # Taking out the worst again and again leaves the best in front.
        for left in range(size - 1, 0, -1):
            row, score = heap_rows[0], heap_scores[0]
            heap_rows[0], heap_scores[0] = heap_rows[left], heap_scores[left]
            _sink(heap_rows, heap_scores, left)
            heap_rows[left], heap_scores[left] = row, score
    return found, rows, scores


@numba.njit(cache=True, nogil=True)
def score(
    query_starts: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    documents: np.ndarray,
    counts: np.ndarray,
    norms: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """The scores (queries, rows) of given rows; each term's posting is found by bisection."""
    queries = len(query_starts) - 1
    out = np.zeros((queries, len(rows)), np.float64)
    for query in range(queries):
        for term in range(query_starts[query], query_starts[query + 1]):
            if places[term] < 0:
                continue
            first, last = starts[places[term]], starts[places[term] + 1]
            for number in range(len(rows)):
                low, high = first, last
                while low < high:
                    middle = (low + high) >> 1
                    if documents[middle] < rows[number]:
                        low = middle + 1
                    else:
                        high = middle
                if low < last and documents[low] == rows[number]:
                    share = part(weights[term], counts[low], norms[rows[number]])
                    out[query, number] += share
    return out
