"""An interval with its margin as SVG inside a page: lines and words, no style, no script.

Positions are percentages and letters have the size of the page's, so one drawing fits a phone and a
desk. Colours come from the classes in `static/site.css`, for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from markupsafe import Markup

from tilth.evaluation.results import interval, number

# Of the width, left and right of the outermost thing.
ROOM = 0.08


def figure(claim: Mapping[str, Any]) -> Markup:
    """One claim of a result: difference (dot), interval (bar), 0, margin (dashed), ticks.

    `paper`, where it is not None, is drawn as a diamond. Empty where there is no difference.
    """
    scale = _Scale(claim)
    if not scale.known:
        return Markup("")
    parts = [_beyond(scale, claim["margin"], 16, 52)]
    for tick in scale.ticks():
        parts.append(_line(scale.at(tick), 68, 73, "axis"))
        parts.append(_word(scale.at(tick), 88, _tick(tick), "tick", "middle"))
    parts.append('<line x1="0" x2="100%" y1="68" y2="68" class="axis"/>')
    parts.append(_line(scale.at(0.0), 16, 68, "zero"))
    parts.append(_line(scale.at(claim["margin"]), 16, 68, "margin"))
    at = scale.at(claim["margin"])
    side, shift = ("end", -5) if at > 60 else ("start", 5)
    parts.append(_word(at, 11, f"margin {number(claim['margin'])}", "tick", side, shift))
    parts += _interval(scale, claim, 42, 7, 6)
    if claim["paper"] is not None:
        parts.append(f'<svg x="{scale.at(claim["paper"]):.2f}%" y="42" overflow="visible">'
                     '<path d="M0-7 7 0 0 7-7 0z" class="paper"/></svg>')  # fmt: skip
    words = (
        f"{claim['metric']}: {claim['method']} against {claim['baseline']}; difference "
        f"{number(claim['difference'])}, 95 % interval {interval(claim)}, margin "
        f"{number(claim['margin'])}"
    )
    if claim["paper"] is not None:
        words += f", the paper's {number(claim['paper'])}"
    parts.append('<text x="0" y="110" class="tick">\u2190 baseline better</text>')
    parts.append(
        '<text x="100%" y="110" class="tick" text-anchor="end">method better \u2192</text>'
    )
    return Markup(
        f'<svg class="interval" height="116" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}</svg>"
    )


def spark(claim: Mapping[str, Any]) -> Markup:
    """The same in the height of a line, without words; for eyes only."""
    scale = _Scale(claim)
    if not scale.known:
        return Markup("")
    parts = [
        _beyond(scale, claim["margin"], 0, 18),
        _line(scale.at(0.0), 0, 18, "zero"),
        _line(scale.at(claim["margin"]), 0, 18, "margin"),
        *_interval(scale, claim, 9, 3.5, 3.5),
    ]
    return Markup(f'<svg class="spark" height="18" aria-hidden="true">{"".join(parts)}</svg>')


class _Scale:
    """Values of one claim as percentages of a width."""

    def __init__(self, claim: Mapping[str, Any]) -> None:
        given = [claim[name] for name in ("difference", "ci_low", "ci_high", "paper")]
        values = [0.0, claim["margin"], *(one for one in given if one is not None)]
        self.known = claim["difference"] is not None
        self.low, self.high = min(values), max(values)
        room = ROOM * (self.high - self.low) or 1.0
        self.low, self.high = self.low - room, self.high + room

    def at(self, value: float) -> float:
        return 100 * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Three to six round numbers inside."""
        least = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(least))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= least)
        return [n * step for n in range(math.ceil(self.low / step), int(self.high // step) + 1)]


def _tick(value: float) -> str:
    return f"{value:.3g}".replace("-", "\u2212") if value else "0"


def _beyond(scale: _Scale, margin: float, top: float, height: float) -> str:
    at = scale.at(margin)
    return (f'<rect x="{at:.2f}%" width="{100 - at:.2f}%" y="{top}" height="{height}" '
            'class="beyond"/>')  # fmt: skip


def _line(at: float, top: float, bottom: float, kind: str) -> str:
    return f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="{top}" y2="{bottom}" class="{kind}"/>'


def _word(at: float, y: float, text: str, kind: str, anchor: str, shift: float = 0) -> str:
    return (f'<text x="{at:.2f}%" y="{y}" dx="{shift}" class="{kind}" '
            f'text-anchor="{anchor}">{escape(text)}</text>')  # fmt: skip


def _interval(
    scale: _Scale, claim: Mapping[str, Any], y: float, cap: float, dot: float
) -> list[str]:
    parts = []
    if claim["ci_low"] is not None and claim["ci_high"] is not None:
        low, high = scale.at(claim["ci_low"]), scale.at(claim["ci_high"])
        parts.append(f'<line x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}" class="bar"/>')
        parts += [_line(end, y - cap, y + cap, "bar") for end in (low, high)]
    parts.append(f'<circle cx="{scale.at(claim["difference"]):.2f}%" cy="{y}" r="{dot}" '
                 'class="dot"/>')  # fmt: skip
    return parts
