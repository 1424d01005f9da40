"""From measurements of two arms to a difference, an interval and a verdict.

The difference is oriented: positive means that the method is better. Two intervals are made where
both can be, and the wider one counts: a paired t interval over seeds, and, where the metric is a
mean or a ratio of sums over examples, a bootstrap over seeds, then examples. Where examples are
the same for every seed they are drawn once for all seeds, so that their own chance is not averaged
away. A metric that is the same at every seed has no chance in its seeds: its interval comes from
examples alone (the wider of bootstrap and t), and says so.

A claim `holds` where the whole interval lies beyond the margin; `direction only` where it lies
beyond 0 but not beyond the margin; `does not hold here` where no part lies beyond the margin and
it reaches or passes 0; else it is `undecided`. What cannot be judged (a value that is not a number,
too few seeds or examples) is `undecided` too, with the reason and what would decide.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.errors import UsageError
from tilth.evaluation.card import Ratio

LEVEL = 0.95
DRAWS = 2000
# More examples than this are averaged in as many random groups before they are drawn.
GROUPS = 4096
# If all of five examples agree, a sign test at 5 % still says nothing; with six it does.
MINIMUM_EXAMPLES = 6

Sums = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. Numbers are NaN where there is none; `problem` then says why.

    `interval_from`: how the interval was made. `examples`: per seed, 0 where the metric is one
    number. `would_decide`: what would decide an undecided comparison.
    """

    method_value: float
    baseline_value: float
    difference: float
    ci_low: float
    ci_high: float
    verdict: str
    seeds: int
    examples: int
    interval_from: str = ""
    problem: str = ""
    would_decide: str = ""


def verdict(ci_low: float, ci_high: float, margin: float) -> str:
    """The verdict of an oriented interval. See the module for the rules; NaN never holds."""
    if not (math.isfinite(ci_low) and math.isfinite(ci_high) and math.isfinite(margin)):
        return "undecided"
    if ci_low > margin:
        return "holds"
    if ci_low > 0:
        return "direction only"
    return "does not hold here" if ci_high <= margin else "undecided"


def compare(
    method: Mapping[Any, Any],
    baseline: Mapping[Any, Any],
    *,
    direction: int = 1,
    margin: float = 0.0,
    paired: bool = True,
    is_mean: bool = True,
    relative: bool = False,
    exact: bool = False,
    minimum_seeds: int = 5,
) -> Comparison:
    """Compare two arms, each a mapping from seed to one number, a sequence or a `Ratio`.

    `paired`: both arms share seeds, and examples in the same order. `is_mean` False takes a
    sequence only for its mean and draws no examples. `relative` compares by factor (method over
    baseline, or the inverse where less is better) minus 1. `exact`: the number is a property that
    neither seed nor sample changes; its interval is itself. Raises UsageError where pairs do not
    match.
    """
    arms = [_sums(values) for values in (method, baseline)]
    if paired:
        _check_pairs(method, baseline, *arms)
    values = [_values(arm) for arm in arms]
    seeds = min(len(method), len(baseline))
    drawn = is_mean and min((len(n) for arm in arms for n, _ in arm), default=0) > 1
    examples = min(len(n) for arm in arms for n, _ in arm) if drawn else 0
    means = [float(np.mean(v)) if len(v) else math.nan for v in values]

    def result(center: float, low: float, high: float, source: str, problem: str) -> Comparison:
        found = "undecided" if problem else verdict(low, high, margin)
        return Comparison(
            *means, center, low, high, found, seeds, examples, source, problem,
            _would_decide(center, low, high, margin, seeds, examples, source)
            if found == "undecided" and not problem else "",
        )  # fmt: skip

    effects = _effect(*_level(values, paired), direction, relative) if seeds else np.empty(0)
    center = float(np.mean(effects)) if len(effects) else math.nan
    if not np.isfinite(effects).all() or not seeds:
        nothing = "not a number" if seeds else "there is no measurement"
        return result(
            math.nan, math.nan, math.nan, "none", f"a value is {nothing}" if seeds else nothing
        )
    back = math.expm1 if relative else float
    if exact:
        same = all(np.ptp(v) == 0 for v in values)
        problem = "" if same else "values differ between seeds, so they are not exact"
        return result(back(center), *(back(center) for _ in "ab"), "exact", problem)
    intervals: list[tuple[float, float]] = []
    if seeds > 1 and (np.ptp(effects) > 0 or (not paired and any(np.ptp(v) > 0 for v in values))):
        source = "seeds"
        intervals.append(_t_interval(effects) if paired else _welch(*values, direction, relative))
        if drawn:
            source = "seeds and examples"
            intervals.append(_bootstrap(*arms, direction, relative, paired, True))
    elif drawn and examples >= MINIMUM_EXAMPLES:
        source = "examples only: the same at every seed" if seeds > 1 else "examples only: one seed"
        intervals.append(_influence_interval(*arms, center, direction, relative, paired))
        intervals.append(_bootstrap(*arms, direction, relative, paired, False))
    else:
        source = "none"
    problem = ""
    if seeds < minimum_seeds:
        problem = f"{seeds} seeds of at least {minimum_seeds}"
    elif not intervals and drawn:
        problem = f"the same at every seed, and {examples} examples of at least {MINIMUM_EXAMPLES}"
    elif not intervals:
        problem = "the same difference at every seed, and no values per example"
    low, high = max(intervals, key=lambda i: i[1] - i[0], default=(math.nan, math.nan))
    return result(back(center), back(low), back(high), source, problem)


def _sums(values: Mapping[Any, Any]) -> Sums:
    found = []
    for seed in sorted(values, key=str):
        value = values[seed]
        if isinstance(value, Ratio):
            top, bottom = np.asarray(value.numerators, float), np.asarray(value.denominators, float)
        else:
            top = np.atleast_1d(np.asarray(value, dtype=float))
            bottom = np.ones_like(top)
        if top.ndim != 1 or top.shape != bottom.shape or not len(top):
            raise UsageError(f"seed {seed}: values of shape {top.shape} are not one an example")
        found.append((top, bottom))
    return found


def _check_pairs(method: Mapping, baseline: Mapping, left: Sums, right: Sums) -> None:
    if set(method) != set(baseline):
        raise UsageError(f"seeds do not pair: {sorted(map(str, set(method) ^ set(baseline)))}")
    for seed, (m, _), (b, _) in zip(sorted(method, key=str), left, right):
        if len(m) != len(b):
            raise UsageError(f"seed {seed}: {len(m)} examples against {len(b)} do not pair")


def _values(arm: Sums) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.array([top.sum() / bottom.sum() for top, bottom in arm])


def _level(values: Sequence[np.ndarray], paired: bool) -> Sequence[np.ndarray]:
    return values if paired else [np.atleast_1d(np.mean(v)) for v in values]


def _effect(method: Any, baseline: Any, direction: int, relative: bool) -> Any:
    """The oriented difference, or the logarithm of the factor."""
    if not relative:
        return direction * (method - baseline)
    with np.errstate(all="ignore"):
        return direction * (np.log(method) - np.log(baseline))


def _t_interval(effects: np.ndarray) -> tuple[float, float]:
    from scipy import stats

    size = len(effects)
    half = stats.t.ppf((1 + LEVEL) / 2, size - 1) * effects.std(ddof=1) / math.sqrt(size)
    center = effects.mean()
    return float(center - half), float(center + half)


def _welch(
    method: np.ndarray, baseline: np.ndarray, direction: int, relative: bool
) -> tuple[float, float]:
    from scipy import stats

    if min(len(method), len(baseline)) < 2:
        return -math.inf, math.inf
    left, right = (np.log(v) if relative else v for v in (method, baseline))
    parts = [v.var(ddof=1) / len(v) for v in (left, right)]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (left, right)))
    half = stats.t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(sum(parts))
    center = direction * (left.mean() - right.mean())
    return float(center - half), float(center + half)


def _influence_interval(
    method: Sums, baseline: Sums, center: float, direction: int, relative: bool, paired: bool
) -> tuple[float, float]:
    """A t interval over the examples of one seed, by what each adds to the ratio of sums."""
    from scipy import stats

    parts = []
    for top, bottom in (method[0], baseline[0]):
        value = top.sum() / bottom.sum()
        part = (top - value * bottom) / bottom.mean()
        parts.append(direction * (part / value if relative else part))
    size = min(len(part) for part in parts)
    if paired:
        error = (parts[0] - parts[1]).std(ddof=1) / math.sqrt(size)
    else:
        error = math.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    half = stats.t.ppf((1 + LEVEL) / 2, size - 1) * error
    return float(center - half), float(center + half)


def _bootstrap(
    method: Sums, baseline: Sums, direction: int, relative: bool, paired: bool, draw_seeds: bool
) -> tuple[float, float]:
    """The percentile interval over seeds, then examples; without `draw_seeds` of one seed."""
    if not draw_seeds:
        method, baseline = method[:1], baseline[:1]
    left, seeds = _resampled(method, 1), len(method)
    right = _resampled(baseline, 1 if paired else 2)
    if paired:
        drawn = np.take_along_axis(
            _effect(left, right, direction, relative), _seed_draws(seeds, 1), axis=1
        ).mean(axis=1)
    else:
        means = [
            np.take_along_axis(arm, _seed_draws(arm.shape[1], number), axis=1).mean(axis=1)
            for number, arm in ((1, left), (2, right))
        ]
        drawn = _effect(*means, direction, relative)
    if not np.isfinite(drawn).all():
        return -math.inf, math.inf
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(arm: Sums, stream: int) -> np.ndarray:
    """The value of each seed in each draw of examples, (draws, seeds)."""
    tops, bottoms = zip(*[_grouped(top, bottom) for top, bottom in arm])
    with np.errstate(all="ignore"):
        if len({len(top) for top in tops}) == 1:
            counts = _counts(len(tops[0]), stream, 0)
            return (counts @ np.stack(tops, axis=1)) / (counts @ np.stack(bottoms, axis=1))
        columns = []
        for number, (top, bottom) in enumerate(zip(tops, bottoms)):
            counts = _counts(len(top), stream, number)
            columns.append((counts @ top) / (counts @ bottom))
        return np.stack(columns, axis=1)


def _grouped(top: np.ndarray, bottom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = len(top)
    if size <= GROUPS:
        return top, bottom
    order = np.random.default_rng([size, 7]).permutation(size)
    starts = np.arange(GROUPS) * size // GROUPS
    return np.add.reduceat(top[order], starts), np.add.reduceat(bottom[order], starts)


@functools.lru_cache(maxsize=4)
def _counts(size: int, stream: int, number: int) -> np.ndarray:
    """How often each example is drawn in each draw, (draws, size). The same at every call."""
    generator = np.random.default_rng([size, stream, number])
    drawn = generator.integers(size, size=(DRAWS, size))
    drawn += np.arange(DRAWS)[:, None] * size
    counts = np.bincount(drawn.ravel(), minlength=DRAWS * size)
    return counts.reshape(DRAWS, size).astype(np.float64)


@functools.lru_cache(maxsize=16)
def _seed_draws(seeds: int, stream: int) -> np.ndarray:
    return np.random.default_rng([seeds, stream, 99]).integers(seeds, size=(DRAWS, seeds))


def _would_decide(
    center: float, low: float, high: float, margin: float, seeds: int, examples: int, source: str
) -> str:
    """How much more of what the interval is made of would decide, if the difference stays."""
    gap = max(center, center - margin if center > margin else margin - center) if center > 0 else (
        margin - center
    )  # fmt: skip
    if margin < 0 or center <= 0:
        gap = abs(center - margin)
    half = max(high - center, center - low)
    what, have = ("examples", examples) if source.startswith("examples") else ("seeds", seeds)
    if not math.isfinite(half) or gap <= 0:
        return "a difference that is not at the edge itself"
    need = math.ceil(have * (half / gap) ** 2)
    if (what == "seeds" and need > 200) or need > 10**7:
        return (
            f"more than a thousandfold work: the difference is too near the edge ({need:,} {what})"
        )
    return f"about {max(need, have + 1):,} {what} in place of {have:,}, if the difference stays"
