"""Where to cut a column of scores: two hills, a target of precision, or a budget.

- `two_hills`: no labels, only the scores of a sample. Two kinds of text often give two hills; the
  cut lies in the valley, where two normal curves fitted to the scores (Dempster, Laird and Rubin
  1977) are equally likely, or where the variance within both parts is smallest (Otsu 1979).
  Where the smoothed counts do not show a valley deeper than chance, there is no cut, and it says
  so: one hill cut in two would be a verdict on nothing.
- `for_precision`: some labels. The loosest cut whose kept texts are good at least as often as
  asked: not as the sample has it, but by the lower end of its interval (Wilson 1927), at a level
  divided by the number of cuts that are tried, since the best of many looks better than it is.
- `for_budget`: the best texts until a number of documents, characters or tokens is reached.

A text without a score is never kept and counted as `unscored`. All texts of one score are kept or
dropped together. A cut holds for the texts and the scorer that it was chosen on: another language,
tokenizer or kind of text needs its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.signals.hills import gaussian_cut, otsu_cut, valley

CUTS = 20
LEVEL = 0.95


@dataclass(frozen=True)
class Threshold:
    """A choice. `threshold` is None where there is none, and `why` says so.

    With `direction` +1 scores at or above it are kept, with -1 those at or below it. `size` and
    `total_size` are in the unit of the budget, else in documents. `precision`: (lower bound, as
    counted in the sample) where it was asked for.
    """

    threshold: float | None
    direction: int
    documents: int
    kept: int
    unscored: int
    size: float
    total_size: float
    why: str
    precision: tuple[float, float] | None = None

    def condition(self, column: str) -> str:
        """A line for the rule of a plan; empty where there is no threshold."""
        sign = ">=" if self.direction > 0 else "<="
        return "" if self.threshold is None else f"{column} {sign} {self.threshold!r}"


def two_hills(scores: Any, *, direction: int = 1, method: str = "gaussians") -> Threshold:
    """A cut in the valley between two hills, without labels. `method`: "gaussians" or "otsu"."""
    if method not in ("gaussians", "otsu"):
        raise UsageError(f"there is no method {method!r}", hint="gaussians or otsu")
    values, known = _known(scores, direction)
    found = valley(values[known])
    if not found.two:
        return _chosen(values, known, direction, None, f"there are not two hills: {found.why}")
    cut = otsu_cut(values[known]) if method == "otsu" else gaussian_cut(values[known])
    if not found.left < cut < found.right:
        cut, method = found.at, "smoothed counts"
    why = (
        f"two hills, at {found.left:.6g} and {found.right:.6g}; the valley between them is "
        f"{found.depth:.0%} as high as the lower one; cut by {method}"
    )
    return _chosen(values, known, direction, float(cut), why)


def for_precision(
    scores: Any, good: Any, *, target: float, direction: int = 1, level: float = LEVEL
) -> Threshold:
    """The loosest cut whose kept texts are good with at least this precision, at this level.

    `good`: a label a text, true for what should be kept. `CUTS` cuts are tried, each keeping a
    share of the texts with a score. Raises DataError for labels that do not pair.
    """
    if not 0 < target < 1:
        raise UsageError(f"a precision lies between 0 and 1, not {target}")
    values, known = _known(scores, direction)
    good = np.asarray(good).astype(bool)
    if good.shape != values.shape:
        raise DataError(f"{len(values)} scores and {len(good)} labels do not pair")
    order = np.sort(values[known])[:: -1 if direction > 0 else 1]
    best, reached = None, (0.0, 0.0)
    cuts = sorted({order[len(order) * n // CUTS - 1] for n in range(1, CUTS + 1)} if known.any()
                  else (), reverse=direction > 0)  # fmt: skip
    for cut in cuts:
        kept = _kept(values, known, direction, cut)
        hits, count = int(good[kept].sum()), int(kept.sum())
        lower = wilson(hits, count, 1 - (1 - level) / max(1, len(cuts)))[0]
        reached = max(reached, (lower, hits / count))
        if lower >= target:
            best, bounds = cut, (lower, hits / count)
    if best is None:
        why = (
            f"no cut is good with at least {target:.1%}: the best of {len(cuts)} has "
            f"{reached[1]:.1%} in the sample, at least {reached[0]:.1%} at level {level:.0%}; "
            "label more texts, or ask for less"
        )
        return _chosen(values, known, direction, None, why)
    why = (
        f"{bounds[1]:.1%} of the kept labelled texts are good; at least {bounds[0]:.1%} at level "
        f"{level:.0%}, over {len(cuts)} cuts tried"
    )
    return _chosen(values, known, direction, float(best), why, precision=bounds)


def for_budget(
    scores: Any,
    budget: float,
    *,
    sizes: Any = None,
    unit: str = "documents",
    direction: int = 1,
) -> Threshold:
    """The best texts whose sizes add up to at most the budget; `sizes` are 1 where not given."""
    if not budget > 0:
        raise UsageError(f"a budget is above 0, not {budget}")
    values, known = _known(scores, direction)
    weights = np.ones(len(values)) if sizes is None else np.asarray(sizes, float)
    if weights.shape != values.shape or not (np.isfinite(weights) & (weights >= 0)).all():
        raise DataError(f"sizes are not one number a text, in {unit}")
    levels, inverse = np.unique(values[known], return_inverse=True)
    sums = np.bincount(inverse, weights[known], minlength=len(levels))
    if direction > 0:
        levels, sums = levels[::-1], sums[::-1]
    fits = int(np.searchsorted(np.cumsum(sums), budget, side="right"))
    if fits == 0:
        why = f"nothing fits: the best texts together are larger than {budget:,.0f} {unit}"
        return _chosen(values, known, direction, None, why, weights)
    rest = "all that have a score" if fits == len(levels) else "the next ones would go beyond it"
    why = f"the best texts up to {budget:,.0f} {unit}; {rest}"
    return _chosen(values, known, direction, float(levels[fits - 1]), why, weights)


def wilson(hits: int, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's interval of a share, each end one-sided at the level; (0, 1) for no text."""
    from scipy.special import ndtri

    if count == 0:
        return 0.0, 1.0
    z = float(ndtri(level))
    share, shrink = hits / count, 1 + z * z / count
    middle = (share + z * z / (2 * count)) / shrink
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / shrink
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def _known(scores: Any, direction: int) -> tuple[np.ndarray, np.ndarray]:
    if direction not in (1, -1):
        raise UsageError(f"direction is +1 or -1, not {direction}", hint="which side is good?")
    values = np.array([np.nan if s is None else s for s in scores], np.float64)
    return values, np.isfinite(values)


def _kept(values: np.ndarray, known: np.ndarray, direction: int, cut: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return known & (values >= cut if direction > 0 else values <= cut)


def _chosen(
    values: np.ndarray,
    known: np.ndarray,
    direction: int,
    cut: float | None,
    why: str,
    sizes: np.ndarray | None = None,
    precision: tuple[float, float] | None = None,
) -> Threshold:
    sizes = np.ones(len(values)) if sizes is None else sizes
    kept = np.zeros(len(values), bool) if cut is None else _kept(values, known, direction, cut)
    return Threshold(
        threshold=cut,
        direction=direction,
        documents=len(values),
        kept=int(kept.sum()),
        unscored=int((~known).sum()),
        size=float(sizes[kept].sum()),
        total_size=float(sizes.sum()),
        why=why,
        precision=precision,
    )
