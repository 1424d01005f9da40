"""Plots as SVG text to be put inside a page: small, the same bytes each time, for light and dark.

Text and axes take the colour of the page (`currentColor`); data have two mid-tone colours that are
told apart by shape too. Labels are never read as mathematics: they may come from documents.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tilth.report.wording import count, figure, short

FIRST, SECOND = "#2b7fc4", "#d07a12"
# Stands for the colour of the page's text until the SVG is finished.
_INK = "#010203"
_LONGEST_LABEL = 36


def _render(
    name: str, title: str, description: str, inches: tuple[float, float],
    draw: Callable[[Axes], None],
) -> str:  # fmt: skip
    """One SVG element; `name` makes its ids unique in the page."""
    settings: Any = {
        "svg.hashsalt": "tilth",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "axes.formatter.use_mathtext": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9.0,
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
    } | dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK
    )
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Sizes are estimated with one font; a letter that it lacks is still drawn by the browser.
        # A label too long for its plot is a matter of looks, never a failed build.
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        canvas = FigureCanvasSVG(Figure(figsize=inches, layout="constrained"))
        axes = canvas.figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        out = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        canvas.figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    return _inline(out.getvalue(), name, title, description)


def _inline(svg: str, name: str, title: str, description: str) -> str:
    """The SVG element alone: unique ids, title and description, no fixed size, no style rule."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="([^"]*)"', body)
    assert box is not None
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([\w-]+)', body))
    body = re.sub(
        r' id="([\w.-]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body
    )
    body = re.sub(r'xlink:href="#|href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace(_INK, "currentColor")
    body = re.sub(r"\n\s*", "\n", body).strip()
    width = box[1].split()[2]
    return (
        f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{name}-title {name}-desc" '
        f'style="max-width:{float(width) * 4 / 3:.0f}px">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>\n{body}'
    )


def _label(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


def bars(name: str, title: str, entries: Sequence[tuple[str, int]]) -> str:
    """Horizontal bars, the first on top, each with its number."""

    def draw(axes: Axes) -> None:
        rows = range(len(entries))
        values = [value for _, value in entries]
        drawn = axes.barh(rows, values, color=FIRST, height=0.7)
        axes.bar_label(drawn, [count(value) for value in values], padding=3)
        axes.set_yticks(rows, [_label(label) for label, _ in entries])
        axes.invert_yaxis()
        axes.set_xlim(0, max(values) * 1.15)
        axes.xaxis.set_visible(False)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)

    description = "; ".join(f"{label}: {count(value)}" for label, value in entries)
    return _render(name, title, description, (6.5, 0.35 + 0.27 * len(entries)), draw)


def bars_between(name: str, title: str, edges: Sequence[float], counts: Sequence[int]) -> str:
    """A small histogram: bars of equal width, with the first, middle and last edge named."""

    def draw(axes: Axes) -> None:
        rows = range(len(counts))
        # One outline instead of a path a bar: a report has many of these.
        axes.fill_between(range(len(edges)), [*counts, counts[-1]], step="post", color=FIRST, lw=0)
        marks = sorted({0, len(edges) // 2, len(edges) - 1})
        axes.set_xticks(marks, [_edge(edges[mark]) for mark in marks])
        axes.set_xlim(0, len(rows))
        axes.set_ylim(0, max(counts) * 1.05)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)

    most = max(range(len(counts)), key=lambda n: counts[n])
    description = (
        f"{count(sum(counts), 'document')} from {_edge(edges[0])} to {_edge(edges[-1])}; the "
        f"fullest bar, from {_edge(edges[most])} to {_edge(edges[most + 1])}, has "
        f"{count(counts[most])}."
    )
    return _render(name, title, description, (2.9, 1.25), draw)


def _edge(value: float) -> str:
    return short(value) if abs(value) >= 1000 else figure(float(f"{value:.3g}"))


def lines(
    name: str, title: str, curve: Sequence[Mapping[str, Any]],
    series: Mapping[str, str], across: str, up: str,
) -> str:  # fmt: skip
    """Curves over tokens on a logarithmic axis; `series` maps a key of the points to its label."""
    styles = [(FIRST, "o", "-"), (SECOND, "s", "--")]

    def draw(axes: Axes) -> None:
        for (key, label), (colour, marker, style) in zip(series.items(), styles, strict=False):
            known = [point for point in curve if point.get(key) is not None]
            few = len(known) <= 40
            axes.plot(
                [point["tokens"] for point in known],
                [point[key] for point in known],
                color=colour, marker=marker if few else "", markersize=5, linestyle=style,
                label=label,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        tokens = [point["tokens"] for point in curve]
        if max(tokens) < 12 * min(tokens):
            # Less than a decade has too few round powers; name both ends.
            axes.set_xticks(sorted({min(tokens), max(tokens)}))
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        if len(series) > 1:
            axes.legend(frameon=False)

    ends = [
        f"{label} {figure(known[0])} to {figure(known[-1])}"
        for key, label in series.items()
        if (known := [point[key] for point in curve if point.get(key) is not None])
    ]
    first, last = curve[0]["tokens"], curve[-1]["tokens"]
    description = f"{up} from {short(first)} to {short(last)} tokens: {'; '.join(ends)}."
    return _render(name, title, description, (6.5, 3.0), draw)
