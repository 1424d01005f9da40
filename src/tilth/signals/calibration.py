"""Scores to probabilities, and how far the probabilities can be believed.

What: Platt scaling (Platt 1999, with the targets and the Newton steps of Lin, Lin and Weng 2007),

    p(s) = 1 / (1 + exp(-(a s + b)))

fitted to targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), so that few labels give no certainty; or
isotonic regression (Zadrozny and Elkan 2002), the best rising steps. Reliability is the expected
calibration error (Naeini, Cooper and Hauskrecht 2015): texts sorted by probability in bins of equal
size, the mean distance of a bin's mean probability from its share of positives.

When: Platt from some dozen labels on; isotonic from about a thousand on. Labels must be held out
from the scorer's training, else every probability is too sure. When not: on texts of another kind
or another share of positives: there the numbers are wrong, while the order may still be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError, nearest

STEPS = 100


def area_under_curve(scores: Any, labels: Any) -> float:
    """Chance that a positive text scores above a negative one; ties count half (ROC-AUC)."""
    scores, positive = checked(scores, labels)
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Mid-ranks: the mean rank of all that share a score.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(positive.sum())
    above = ranks[positive].sum() - ones * (ones + 1) / 2
    return float(above / (ones * (len(scores) - ones)))


def expected_calibration_error(probabilities: Any, labels: Any, bins: int = 10) -> float:
    """0 for perfect reliability, at most 1; see the module. Fewer texts than bins: a bin each."""
    return float(sum(row["share"] * abs(row["mean"] - row["positive"])
                     for row in reliability(probabilities, labels, bins)))  # fmt: skip


def reliability(probabilities: Any, labels: Any, bins: int = 10) -> list[dict[str, float]]:
    """A row a bin: `mean` probability, share of `positive` texts, `share` of all texts."""
    probabilities, positive = checked(probabilities, labels)
    order = np.argsort(probabilities, kind="stable")
    rows = []
    for part in np.array_split(order, min(bins, len(order))):
        rows.append(
            {
                "mean": float(probabilities[part].mean()),
                "positive": float(positive[part].mean()),
                "share": len(part) / len(order),
            }
        )
    return rows


class Platt:
    """A logistic curve over scores; `slope` is negative where a low score means positive."""

    name = "platt"

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        self.slope, self.intercept = float(slope), float(intercept)

    def parameters(self) -> dict[str, Any]:
        return {"slope": self.slope, "intercept": self.intercept}

    def fit(self, scores: Any, labels: Any) -> Platt:
        """Raises DataError where a class is missing or a score is not finite."""
        scores, positive = checked(scores, labels)
        ones = int(positive.sum())
        zeros = len(scores) - ones
        targets = np.where(positive, (ones + 1) / (ones + 2), 1 / (zeros + 2))
        middle, spread = float(scores.mean()), float(scores.std()) or 1.0
        x = np.stack([(scores - middle) / spread, np.ones(len(scores))], axis=1)
        found = np.array([0.0, np.log((ones + 1) / (zeros + 1))])
        loss = _log_loss(x @ found, targets)
        for _ in range(STEPS):
            p = _logistic(x @ found)
            gradient = x.T @ (p - targets)
            curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
            step = np.linalg.solve(curvature, gradient)
            size = 1.0
            while size > 1e-10 and _log_loss(x @ (found - size * step), targets) > loss:
                size /= 2
            found = found - size * step
            before, loss = loss, _log_loss(x @ found, targets)
            if size <= 1e-10 or before - loss < 1e-10 * before:
                break
        self.slope = float(found[0] / spread)
        self.intercept = float(found[1] - found[0] * middle / spread)
        return self

    def __call__(self, scores: Any) -> np.ndarray:
        return _logistic(self.slope * np.asarray(scores, float) + self.intercept)


class Isotonic:
    """Steps that rise with the score, straight lines between them, flat at both ends.

    `direction` -1: they fall. Only the order of scores is used.
    """

    name = "isotonic"

    def __init__(
        self, at: Sequence[float] = (), values: Sequence[float] = (), direction: int = 1
    ) -> None:
        self.at, self.values = np.array(at, float), np.array(values, float)
        self.direction = direction

    def parameters(self) -> dict[str, Any]:
        return {
            "at": self.at.tolist(), "values": self.values.tolist(), "direction": self.direction,
        }  # fmt: skip

    def fit(self, scores: Any, labels: Any) -> Isotonic:
        """Raises DataError where a class is missing or a score is not finite."""
        from sklearn.isotonic import isotonic_regression

        scores, positive = checked(scores, labels)
        at, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
        share = np.bincount(inverse, positive) / counts
        rising = self.direction > 0
        values = isotonic_regression(share, sample_weight=counts, increasing=rising)
        # Only where the steps change is anything said.
        edge = np.ones(len(at), bool)
        edge[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
        self.at, self.values = at[edge], values[edge]
        return self

    def __call__(self, scores: Any) -> np.ndarray:
        if not len(self.at):
            raise UsageError("the calibration was not fitted yet", hint="call fit")
        return np.interp(np.asarray(scores, float), self.at, self.values)


CALIBRATIONS = {"platt": Platt, "isotonic": Isotonic}


def calibrate(method: str, scores: Any, labels: Any, direction: int = 1) -> Platt | Isotonic:
    """A fitted calibration. Raises UsageError for an unknown method, DataError for a lone class."""
    if method not in CALIBRATIONS:
        hint = nearest(method, CALIBRATIONS)
        raise UsageError(f"no calibration is called {method!r}", hint=hint)
    made = Isotonic(direction=direction) if method == "isotonic" else Platt()
    return made.fit(scores, labels)


def from_json(value: Mapping[str, Any]) -> Platt | Isotonic:
    """What `to_json` wrote."""
    return CALIBRATIONS[value["method"]](**value["parameters"])


def to_json(calibration: Platt | Isotonic) -> dict[str, Any]:
    return {"method": calibration.name, "parameters": calibration.parameters()}


def checked(scores: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Finite scores and labels of both classes, as many of each; else DataError."""
    scores = np.asarray(scores, np.float64)
    positive = np.asarray(labels).astype(bool)
    if scores.shape != positive.shape or scores.ndim != 1:
        raise DataError(f"{scores.shape} scores and {positive.shape} labels do not pair")
    if not np.isfinite(scores).all():
        raise DataError("a score is not a finite number")
    if positive.all() or not positive.any():
        raise DataError("labels of both classes are needed")
    return scores, positive


def _logistic(x: np.ndarray) -> np.ndarray:
    # Through tanh, which does not overflow.
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _log_loss(x: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0.0, x) - targets * x).sum())
