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
GROUPS = 2048
# If all of five examples agree, a sign test at 5 % still says nothing; with six it does.
MINIMUM_EXAMPLES = 6

# Numerators and denominators of each seed; what an interval is made of, its ends.
Sums = list[tuple[np.ndarray, np.ndarray]]
Interval = tuple[str, float, float]


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. Numbers are NaN where there is none.

    `interval_from`: what the interval was made of. `examples`: per seed, 0 where the metric is one
    number. `would_decide`: what an undecided comparison lacks; empty where it is decided.
    """

    method_value: float
    baseline_value: float
    difference: float
    ci_low: float
    ci_high: float
    verdict: str
    seeds: int
    examples: int
    interval_from: str
    would_decide: str


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
    levels = [_level(value, relative) for value in values]
    seeds = min(map(len, values))
    examples = min((len(top) for arm in arms for top, _ in arm), default=0) if is_mean else 0
    examples = examples if examples > 1 else 0
    center, problem, source = math.nan, "", "none"
    intervals: list[Interval] = []
    if not seeds:
        problem = "there is no measurement"
    elif not all(np.isfinite(level).all() for level in levels):
        problem = "a value is not a finite number" + (" above 0" if relative else "")
    else:
        center = direction * float(levels[0].mean() - levels[1].mean())
        source, intervals, problem = _intervals(
            arms, levels, center, direction, paired, relative, exact, examples
        )
        if seeds < minimum_seeds:
            problem = f"{seeds} of at least {minimum_seeds} seeds"
    none = ("seeds", math.nan, math.nan)
    widest, low, high = max(intervals, key=lambda found: found[2] - found[1], default=none)
    center, low, high = (math.expm1(x) if relative else x for x in (center, low, high))
    decided = "undecided" if problem else verdict(low, high, margin)
    wanted = ""
    if decided == "undecided":
        have = seeds if widest == "seeds" else examples
        wanted = problem or _would_decide(center, low, high, margin, widest, have)
    left, right = (float(value.mean()) if len(value) else math.nan for value in values)
    return Comparison(left, right, center, low, high, decided, seeds, examples, source, wanted)


def _intervals(
    arms: Sequence[Sums],
    levels: Sequence[np.ndarray],
    center: float,
    direction: int,
    paired: bool,
    relative: bool,
    exact: bool,
    examples: int,
) -> tuple[str, list[Interval], str]:
    """What the intervals come from, the intervals, and why there is none."""
    seeds = min(map(len, levels))
    if exact:
        same = all(np.ptp(level) == 0 for level in levels)
        return (
            "exact",
            [("seeds", center, center)],
            "" if same else "values differ by seed: not exact",
        )
    spread = [levels[0] - levels[1]] if paired else levels
    noise = 1e-12 * max(float(np.abs(level).max()) for level in levels)
    if seeds > 1 and any(np.ptp(level) > noise for level in spread):
        found = [("seeds", *_t_interval(spread, direction))]
        if not examples:
            return "seeds", found, ""
        found.append(("examples", *_bootstrap(arms, direction, paired, relative)))
        return "seeds and examples", found, ""
    if examples >= MINIMUM_EXAMPLES:
        # Chance is in the examples alone; what seeds add to it is nothing.
        first = [arm[:1] for arm in arms]
        found = [("examples", *_influence_interval(first, center, direction, paired, relative))]
        found.append(("examples", *_bootstrap(first, direction, paired, relative)))
        return "examples only, the same at every seed", found, ""
    if examples:
        reason = f"the same at every seed, and {examples} of at least {MINIMUM_EXAMPLES} examples"
        return "none", [], reason
    return "none", [], "the same difference at every seed, and no values per example"


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


def _level(values: np.ndarray, relative: bool) -> np.ndarray:
    """The scale on which values are averaged and subtracted: factors by their logarithms."""
    if not relative:
        return values
    with np.errstate(all="ignore"):
        return np.log(values)


def _quantile(freedom: float) -> float:
    """Student's t quantile of the level, two-sided."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))


def _t_interval(parts: Sequence[np.ndarray], direction: int) -> tuple[float, float]:
    """Of the mean of one part (pairs), or of the difference of the means of two (Welch).

    At least one part must have a spread.
    """
    if min(map(len, parts)) < 2:
        return -math.inf, math.inf
    center = direction * float(parts[0].mean() - (parts[1].mean() if len(parts) > 1 else 0.0))
    # In units of the spread, so that squares of very small numbers do not vanish.
    unit = max(float(np.ptp(part)) for part in parts)
    shares = [float((part / unit).var(ddof=1)) / len(part) for part in parts]
    total = sum(shares)
    freedom = 1 / sum((one / total) ** 2 / (len(part) - 1) for one, part in zip(shares, parts))
    half = _quantile(freedom) * math.sqrt(total) * unit
    return center - half, center + half


def _influence_interval(
    arms: Sequence[Sums], center: float, direction: int, paired: bool, relative: bool
) -> tuple[float, float]:
    """A t interval over the examples of one seed, by what each adds to the ratio of sums."""
    parts = []
    for ((top, bottom),) in arms:
        value = top.sum() / bottom.sum()
        parts.append((top - value * bottom) / (bottom.mean() * (value if relative else 1.0)))
    if paired:
        parts = [parts[0] - parts[1]]
    if all(np.ptp(part) == 0 for part in parts):
        return center, center
    low, high = _t_interval([part - part.mean() for part in parts], direction)
    return center + low, center + high


def _bootstrap(
    arms: Sequence[Sums], direction: int, paired: bool, relative: bool
) -> tuple[float, float]:
    """The percentile interval over seeds, then examples. Pairs are drawn together."""
    means = []
    for number, arm in enumerate(arms):
        stream = 0 if paired else number
        levels = _level(_resampled(arm, stream), relative)
        means.append(np.take_along_axis(levels, _seed_draws(len(arm), stream), 1).mean(axis=1))
    with np.errstate(invalid="ignore"):
        # Where draws of both arms are 0 their factor is no number; it is met on the next line.
        drawn = direction * (means[0] - means[1])
    if not np.isfinite(drawn).all():
        return -math.inf, math.inf
    tail = _expanded_tail(min(len(top) for arm in arms for top, _ in arm))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


@functools.lru_cache(maxsize=64)
def _expanded_tail(examples: int) -> float:
    """The tail that makes a percentile interval as wide as a t interval for few examples.

    Percentile intervals are too short by the factor sqrt((n - 1) / n) and by the normal quantile
    in place of t's; Hesterberg (2015), "What teachers should know about the bootstrap".
    """
    from scipy import special

    quantile = _quantile(examples - 1) * math.sqrt(examples / (examples - 1))
    return float(special.ndtr(-quantile))


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
    center: float, low: float, high: float, margin: float, what: str, have: int
) -> str:
    """How much more of what the interval is made of would decide, if the difference stays."""
    half, distance = max(high - center, center - low), max(center, abs(center - margin))
    if not math.isfinite(half):
        return "more examples: in some draws the metric has no value"
    if distance == 0 or (half / distance) ** 2 > 100:
        return f"more than 100 times the {what}: the difference is too near the edge"
    need = max(have + 1, math.ceil(have * (half / distance) ** 2))
    return f"about {need:,} {what} in place of {have:,}, if the difference stays"
