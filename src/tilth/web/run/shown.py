"""Texts of documents as pages show them: harmless letters, marked parts, cut with a count.

Templates escape everything. What escaping leaves, letters that turn the direction of what follows
and control characters, becomes U+FFFD here, one for one, so offsets stay right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tilth.report.wording import clean, count


class Part(NamedTuple):
    """A piece of a text, and whether it is marked."""

    text: str
    marked: bool


def shown(text: str) -> str:
    """The text with as many letters, none of which disturbs a page."""
    return clean(text.replace("\r\n", " \n").replace("\r", "\n"))


def parts(text: str, spans: Sequence[tuple[int, int]]) -> list[Part]:
    """The text in pieces; `spans` ascend, do not overlap and lie within it."""
    found, at = [], 0
    safe = shown(text)
    for start, stop in spans:
        if start > at:
            found.append(Part(safe[at:start], False))
        found.append(Part(safe[start:stop], True))
        at = stop
    if at < len(safe) or not found:
        found.append(Part(safe[at:], False))
    return found


def cut(text: str, letters: int) -> str:
    """The first letters of a text on one line, and how many more there are."""
    line = " ".join(shown(text[:letters]).split())
    rest = len(text) - letters
    return line if rest <= 0 else f"{line} … ({count(rest, 'more character')})"


def lines(text: str) -> str:
    """A passage as it stands, without blank lines at its ends."""
    return shown(text).strip("\n")
