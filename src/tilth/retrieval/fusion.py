"""Several rankings as one, and whether that was worth it.

- `reciprocal_rank`: sum over rankings of 1 / (60 + rank) (Cormack, Clarke and Buettcher, 2009).
  Needs no training and looks at no score.
- `weighted`: sum of weight times score, each retriever's scores brought to mean 0 and deviation 1
  over the query's candidates (Bruch, Gai and Ingber, 2023, compare such sums with ranks). Needs a
  weight: `cross_fitted` takes it from other queries than those it is judged on.

When: where the inputs find different documents. When not: where one input is much better; fusion
then pulls it down. So a fusion is compared with its best single input (`judge`), which is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tilth.errors import UsageError, nearest
from tilth.retrieval.texts import named
from tilth.types import Retriever, Run

METHODS = ("reciprocal_rank", "weighted")
CONSTANT = 60
# Answers that each input gives to a fusion.
DEPTH = 100
DRAWS = 2000


def reciprocal_rank(runs: Mapping[str, Run], k: int = 10, constant: int = CONSTANT) -> Run:
    """The runs of several retrievers (name -> run over the same queries) by their ranks alone."""
    totals: dict[str, dict[str, float]] = {}
    for name in sorted(runs):
        for query, answers in runs[name].rows.items():
            total = totals.setdefault(query, defaultdict(float))
            for rank, (document, _) in enumerate(answers, start=1):
                total[document] += 1 / (constant + rank)
    return Run({query: _best(total, k) for query, total in totals.items()})


def weighted(scores: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Fused scores of the candidates of one query, float64 (candidates,).

    scores: name -> (candidates,), where -inf (nothing to compare) counts as the lowest there is.
    """
    total = np.zeros(len(next(iter(scores.values()))))
    for name in sorted(scores):
        known = np.isfinite(scores[name])
        if not known.any():
            continue
        values = np.where(known, scores[name], scores[name][known].min())
        spread = values.std()
        if spread > 0:
            total += weights[name] * (values - values.mean()) / spread
    return total


class Fused:
    """Two or more retrievers over the same documents, searched as one.

    `weights`: name -> weight, for the method `weighted`; equal ones by default.
    """

    def __init__(
        self,
        retrievers: Mapping[str, Retriever],
        *,
        method: str = "reciprocal_rank",
        weights: Mapping[str, float] | None = None,
        depth: int = DEPTH,
    ) -> None:
        if method not in METHODS:
            raise UsageError(f"no fusion is called {method!r}", hint=nearest(method, METHODS))
        self.retrievers, self.method, self.depth = dict(retrievers), method, depth
        self.weights = dict(weights or {name: 1 / len(retrievers) for name in retrievers})
        if set(self.weights) != set(self.retrievers):
            raise UsageError(f"weights of {sorted(self.weights)}, not {sorted(self.retrievers)}")

    def search(self, queries: Sequence[str] | Mapping[str, str], k: int = 10) -> Run:
        """The k best documents of each query, by fused score, then by id."""
        given = named(queries, k)
        depth = max(self.depth, k)
        runs = {name: made.search(given, k=depth) for name, made in self.retrievers.items()}
        if self.method == "reciprocal_rank":
            return reciprocal_rank(runs, k)
        rows = {}
        for query, text in given.items():
            ids, scores = self.candidates(
                text, {name: run.rows[query] for name, run in runs.items()}
            )
            rows[query] = _best(dict(zip(ids, weighted(scores, self.weights).tolist())), k)
        return Run(rows)

    def candidates(
        self, text: str, answers: Mapping[str, list[tuple[str, float]]]
    ) -> tuple[list[str], dict[str, np.ndarray]]:
        """All that any input found for a query, sorted, and every input's score of each."""
        ids = sorted({document for found in answers.values() for document, _ in found})
        scores = {name: made.score([text], ids)[0] for name, made in self.retrievers.items()}
        return ids, scores


def _best(total: Mapping[str, float], k: int) -> list[tuple[str, float]]:
    return sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def cross_fitted(values: np.ndarray, folds: int = 5, seed: int = 0) -> tuple[np.ndarray, int]:
    """The number of the setting that other queries chose for each query, and the best of all.

    values: (settings, queries), more is better. Queries are dealt to folds at random; each fold is
    given the setting with the best mean over the others. The second answer is chosen on all.
    """
    queries = values.shape[1]
    deal = np.random.default_rng(seed).permutation(queries) % min(folds, queries)
    chosen = np.zeros(queries, dtype=np.int64)
    for fold in range(min(folds, queries)):
        here = deal == fold
        rest = values[:, ~here] if queries > 1 else values
        chosen[here] = int(rest.mean(axis=1).argmax())
    return chosen, int(values.mean(axis=1).argmax())


def judge(inputs: Mapping[str, np.ndarray], fused: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """The best single input by its mean, and whether fusion beats it.

    inputs: name -> one value a query, more is better; fused: the same queries. JSON values:
    `best`, `difference` (fused minus best, query by query), `ci_low` and `ci_high` (bootstrap
    over queries, 95 %), `verdict`: "yes" where they lie above 0, "no" below, else "undecided".
    The best input is chosen on these queries too, which favours it.
    """
    best = max(inputs, key=lambda name: (inputs[name].mean(), name))
    found = paired(fused, inputs[best], seed)
    verdict = "yes" if found["ci_low"] > 0 else "no" if found["ci_high"] < 0 else "undecided"
    return {"best": best, **found, "verdict": verdict}


def paired(first: np.ndarray, second: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Mean of first minus second over the same queries, with a bootstrap interval of 95 %."""
    difference = first - second
    draws = np.random.default_rng(seed).choice(difference, (DRAWS, len(difference))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"difference": float(difference.mean()), "ci_low": float(low), "ci_high": float(high)}
