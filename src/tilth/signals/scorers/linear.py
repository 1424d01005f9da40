"""Logistic regression on hashed words and character n-grams.

What: the classifier of fastText's paper in its plainest form (Joulin et al. 2017, "Bag of tricks
for efficient text classification"; hashing after Weinberger et al. 2009), with TF-IDF weights and
an exact solver (Fan et al. 2008, LIBLINEAR) in place of embeddings and stochastic steps: the same
texts give the same weights.

When: labels of both classes are there, from the kind of text that will be scored; it is the
fastest and usually the best scorer. When not: where one class is everything else in the world: it
learns what tells its two training sets apart, and that may be the genre, the site or the length
of a line. Try it on a kind of text that it has not seen, and compare with the n-gram scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.signals.scorers.arrays import load_arrays, save_arrays
from tilth.signals.scorers.features import Features, inverse_frequency, read_only

KIND = {"kind": "scorer", "scorer": "linear", "version": 1}


class Linear:
    """A scorer: log-odds of the positive class, higher is more like it.

    - `bits`, `words`, `shortest`, `longest`: what is counted, see `features.Features`.
    - `cost`: how much an error costs against large weights (C of LIBLINEAR).

    Vectors have unit length, so a long text is not surer by its length alone. Scores are finite;
    a text without any word gets the intercept. Probabilities come from `tilth.signals.calibration`.
    """

    name = "linear"
    version = 1
    direction = 1

    def __init__(
        self,
        *,
        bits: int = 18,
        words: int = 2,
        shortest: int = 3,
        longest: int = 5,
        cost: float = 10.0,
    ) -> None:
        if not cost > 0:
            raise UsageError(f"cost must be above 0, not {cost}")
        self.features = Features(bits, words, shortest, longest)
        self.cost = float(cost)
        self._fitted: tuple[np.ndarray, np.ndarray, float] | None = None

    def parameters(self) -> dict[str, Any]:
        return {**self.features.parameters(), "cost": self.cost}

    def fit(self, texts: Sequence[str], labels: Sequence[Any] | None = None) -> Linear:
        """Learn from texts of both classes; `labels` are true for the positive one.

        Raises UsageError without labels, DataError where a class is missing.
        """
        if labels is None:
            raise UsageError(
                "the linear scorer needs labels", hint="with one class take the scorer 'ngram'"
            )
        positive = np.array([bool(label) for label in labels])
        if len(positive) != len(texts):
            raise DataError(f"{len(texts)} texts and {len(positive)} labels do not pair")
        if len(set(positive.tolist())) < 2:
            raise DataError("the linear scorer needs texts of both classes")
        from sklearn.linear_model import LogisticRegression

        _, hits = self.features.count(texts)
        idf = inverse_frequency(hits, len(texts))
        solver = LogisticRegression(C=self.cost, solver="liblinear", random_state=0)
        solver.fit(self.features.rows(texts, idf), positive)
        self._fitted = idf, read_only(solver.coef_.T), float(solver.intercept_[0])
        return self

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Log-odds, float64 (texts,). Raises UsageError before `fit`."""
        if self._fitted is None:
            raise UsageError("the linear scorer has learned nothing yet", hint="call fit, or load")
        idf, weights, intercept = self._fitted
        return self.features.project(texts, idf, weights)[:, 0] + intercept

    def save(self, folder: str | Path) -> None:
        """Write the weights and, last, the manifest. Same fit, same bytes."""
        self.score([])
        idf, weights, intercept = self._fitted or ()
        arrays = {"idf": idf, "weights": weights}
        save_arrays(folder, arrays, **KIND, parameters=self.parameters(), intercept=intercept)

    @classmethod
    def load(cls, folder: str | Path) -> Linear:
        """A fitted scorer. Raises DamagedError where the folder is unfinished or does not fit."""
        manifest, arrays = load_arrays(folder, KIND, ("idf", "weights"))
        scorer = cls(**manifest["parameters"])
        buckets = scorer.features.buckets
        arrays.check({"idf": (buckets,), "weights": (buckets, 1)})
        scorer._fitted = arrays["idf"], arrays["weights"], float(manifest["intercept"])
        return scorer
