"""Plots as numbers for a template to draw: paths of an SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tilth.corpus.histograms import Histogram, Limit
from tilth.report.wording import count, figure, short

WIDTH, HEIGHT = 480, 96
# A bar with one document is still seen.
LEAST = 1.5


class Mark(NamedTuple):
    """A threshold in a plot: where its line stands, and the side that fails it."""

    condition: str
    number: float
    shown: str
    at: float
    start: float
    width: float


@dataclass(frozen=True)
class Bars:
    """A histogram: the outline of its bars, marks, and what a reader who sees nothing is told."""

    name: str
    path: str
    ends: tuple[str, str, str]
    missing: int
    told: str
    marks: tuple[Mark, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT


def bars(drawn: Histogram, limits: Sequence[Limit] = ()) -> Bars:
    """A histogram with the thresholds on its column."""
    most = max(*drawn.counts, 1)
    step = WIDTH / len(drawn.counts)
    path = [f"M0 {HEIGHT}"]
    for place, documents in enumerate(drawn.counts):
        tall = max(LEAST, (HEIGHT - 4) * documents / most) if documents else 0.0
        path.append(f"V{HEIGHT - tall:.1f}H{step * (place + 1):.1f}")
    fullest = drawn.counts.index(max(drawn.counts))
    low, high = drawn.edges[fullest], drawn.edges[fullest + 1]
    told = (
        f"{drawn.name}: {count(sum(drawn.counts), 'document')} from {edge(drawn.edges[0])} to "
        f"{edge(drawn.edges[-1])}; the fullest bar, {edge(low)} to {edge(high)}, has "
        f"{count(max(drawn.counts))}"
    )
    marks = [mark(drawn, limit, limit.number) for limit in limits if limit.column == drawn.name]
    if marks:
        told += "; threshold" + ("s " if len(marks) > 1 else " ")
        told += ", ".join(f"{one.shown} of {one.condition}" for one in marks)
    middle = drawn.edges[len(drawn.edges) // 2]
    ends = (edge(drawn.edges[0]), edge(middle), edge(drawn.edges[-1]))
    return Bars(drawn.name, "".join(path) + f"V{HEIGHT}Z", ends, drawn.missing, told, tuple(marks))


def mark(drawn: Histogram, limit: Limit, number: float) -> Mark:
    """A threshold at a number."""
    at = WIDTH * drawn.place(number)
    start, width = (0.0, at) if limit.above else (at, WIDTH - at)
    return Mark(limit.condition, number, edge(number), round(at, 1), round(start, 1),
                round(width, 1))  # fmt: skip


def edge(value: float) -> str:
    """A number on an axis."""
    return short(value) if abs(value) >= 10_000 else figure(float(f"{value:.3g}"))


class Tick(NamedTuple):
    """A number on an axis, and where."""

    at: float
    shown: str


class Line(NamedTuple):
    """One curve: its name, its path, its points where they are few, its last value."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class Curves:
    """Curves over tokens. Offsets are within the box; the template adds its margins."""

    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    lines: tuple[Line, ...]
    told: str
    width: int = 600
    height: int = 200


def curves(
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]], unit: str, *, logarithmic: bool
) -> Curves | None:
    """Named points (tokens, value) as curves; None where there are fewer than two points.

    logarithmic: the axis of tokens, for points that double.
    """
    known = [(name, [p for p in points if _drawable(p, logarithmic)]) for name, points in series]
    known = [(name, sorted(points)) for name, points in known if len(points) > 1]
    if not known:
        return None
    values = [point[1] for _, points in known for point in points]
    tokens = [point[0] for _, points in known for point in points]
    ups = steps(min(values), max(values))
    low, high = ups[0], ups[-1]
    left, right = min(tokens), max(tokens)
    if left == right:
        return None
    made = Curves((), (), (), "")

    def x(token: float) -> float:
        if logarithmic:
            share = math.log(token / left) / math.log(right / left)
        else:
            share = (token - left) / (right - left)
        return round(share * made.width, 1)

    def y(value: float) -> float:
        return round(made.height * (high - value) / (high - low), 1)

    drawn = []
    for name, points in known:
        places = [(x(token), y(value)) for token, value in points]
        path = "M" + "L".join(f"{a:g} {b:g}" for a, b in places)
        few = tuple(places) if len(places) <= 20 else ()
        drawn.append(Line(name, path, few, figure(points[-1][1])))
    told = f"{unit} from {short(left)} to {short(right)} tokens: " + "; ".join(
        f"{name} {figure(points[0][1])} to {figure(points[-1][1])}" for name, points in known
    )
    across = tuple(Tick(x(token), short(token)) for token in _between(left, right, logarithmic))
    up = tuple(Tick(y(value), f"{value:.4g}") for value in ups)
    return Curves(across, up, tuple(drawn), told)


def _drawable(point: tuple[float, float], logarithmic: bool) -> bool:
    return all(math.isfinite(value) for value in point) and (point[0] > 0 or not logarithmic)


def steps(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers of equal distance from at most `low` to at least `high`."""
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-3):
        high = low + 0.1 * (abs(low) if abs(low) > 1e-9 else 1.0)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def _between(low: float, high: float, logarithmic: bool) -> list[float]:
    if not logarithmic:
        return [value for value in steps(low, high, 4) if low <= value <= high]
    # Both ends, and halves of the last: the points double.
    found = [high]
    while found[-1] / 4 > low * 1.5:
        found.append(found[-1] / 4)
    return [low, *reversed(found)]
