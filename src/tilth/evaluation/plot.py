"""Intervals and margins of a result as an SVG: one line a claim, each in its own unit.

The same result gives the same bytes for one version of matplotlib: no date, fixed ids.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

COLORS = {
    "holds": "#1b7837",
    "direction only": "#7a9a01",
    "undecided": "#777777",
    "does not hold here": "#b2182b",
    "not judged": "#777777",
}


def intervals_svg(result: Mapping[str, Any]) -> bytes:
    """Difference (dot), interval (bar), 0 (thin line) and margin (dashed line) of each claim."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    claims = result["claims"]
    settings: Any = {"svg.hashsalt": "tilth", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "svg", **settings}):
        figure = Figure(figsize=(8, 0.5 + 0.95 * len(claims)))
        FigureCanvasSVG(figure)
        rows = figure.subplots(len(claims), 1, squeeze=False)[:, 0]
        for axis, claim in zip(rows, claims):
            _row(axis, claim)
        rows[-1].set_xlabel("difference (positive: the method is better; dashed: margin)")
        figure.tight_layout(h_pad=0.6)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _row(axis: Any, claim: Mapping[str, Any]) -> None:
    color = COLORS[claim["verdict"]]
    marks = [0.0, claim["margin"]]
    for value in (claim["ci_low"], claim["ci_high"], claim["difference"]):
        marks += [value] if value is not None else []
    span = max(marks) - min(marks) or 1.0
    axis.set_xlim(min(marks) - 0.08 * span, max(marks) + 0.08 * span)
    axis.set_ylim(-1, 1)
    axis.axvline(0.0, color="#000000", linewidth=0.8)
    axis.axvline(claim["margin"], color="#000000", linewidth=0.8, linestyle="--")
    if claim["ci_low"] is not None:
        axis.plot([claim["ci_low"], claim["ci_high"]], [0, 0], color=color, linewidth=3)
    if claim["difference"] is not None:
        axis.plot([claim["difference"]], [0], "o", color=color)
    star = "* " if claim["primary"] else ""
    title = f"{star}{claim['metric']}: {claim['method']} against {claim['baseline']}"
    axis.set_title(f"{title} — {claim['verdict']}", loc="left", fontsize=9)
    axis.set_yticks([])
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
