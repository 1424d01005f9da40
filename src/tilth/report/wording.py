"""Text and numbers for people: clean, masked, cut, rounded; the same on every machine."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

NOT_MEASURED = "not measured yet"
EXCERPT_CHARACTERS = 160

# Control characters, lone surrogates, and marks that turn the direction of what follows: none of
# them may reach a terminal or a page from a document.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
    "\ud800-\udfff]"
)
_ADDRESS = re.compile(r"[\w.+%'-]+@\w[\w-]*(?:\.[\w-]+)*")
# In file names `logo@2x.png` and `package@1.2` are no addresses: the host begins with a letter.
_ADDRESS_IN_PATH = re.compile(r"[\w.+%'-]+@[^\W\d_][\w-]*(?:\.[\w-]+)*")
# So much of a document is looked at for an excerpt.
_HEAD_CHARACTERS = 4000


def clean(text: str) -> str:
    """The text with U+FFFD for everything that could disturb a page or a terminal."""
    return _UNSAFE.sub("\ufffd", text)


def mask(text: str) -> str:
    """`name@host` becomes `[e-mail]`."""
    return _ADDRESS.sub("[e-mail]", text)


def place(source: str) -> str:
    """A source as it is shown: clean, on one line, addresses masked."""
    return _ADDRESS_IN_PATH.sub("[e-mail]", clean(" ".join(source.split())))


def excerpt(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a text on one line, clean, addresses masked before it is cut."""
    words = text[:_HEAD_CHARACTERS].split()
    if len(text) > _HEAD_CHARACTERS and len(words) > 1:
        words.pop()  # half an address would not be seen as one
    line = mask(clean(" ".join(words)))
    cut = len(line) > characters or len(text) > _HEAD_CHARACTERS
    return line[:characters].rstrip() + (" …" if cut else "")


def plain_json(value: Any) -> Any:
    """A JSON value with clean strings; a number that is not finite becomes null."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): plain_json(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [plain_json(entry) for entry in value]
    return value


def number(value: Any) -> float | None:
    """The value where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def count(value: float, noun: str = "", many: str = "") -> str:
    """`1,234 documents`, `1 document`."""
    text = f"{value:,.0f}"
    if noun:
        text += f" {noun}" if value == 1 else f" {many or noun + 's'}"
    return text


def short(value: float) -> str:
    """`812`, `12 k`, `1.3 M`, `3.0e+15`: two digits that count."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        # Just below a unit, two digits would round up to it.
        if value >= 0.995 * unit and value < 995e9:
            scaled = value / unit
            return f"{scaled:.1f}{name}" if scaled < 9.95 else f"{scaled:,.0f}{name}"
    return f"{value:.1e}" if value >= 995e9 else f"{value:,.0f}"


def size(value: float) -> str:
    """`1.3 MB`, in powers of ten."""
    text = short(value)
    return text + ("B" if text[-1] in "kMG" else " bytes")


def share(part: float, whole: float) -> str:
    """`12 %`; what is little is not called nothing, what is not all is not called all."""
    if whole <= 0:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "under 1 %"
    if 99 < percent < 100:
        return "over 99 %"
    return f"{percent:.0f} %"


def figure(value: Any) -> str:
    """A measured number with at most four digits that count; a dash where there is none."""
    known = number(value)
    if known is None:
        return "–"
    if known == int(known) and abs(known) < 1e15:
        return f"{known:,.0f}"
    return f"{known:,.1f}" if abs(known) >= 1000 else f"{known:.4g}"


def listed(entries: Sequence[tuple[str, float]], most: int = 3) -> str:
    """`cp1252 10, latin-1 3 and 2 others`."""
    shown = ", ".join(f"{name} {count(n)}" for name, n in entries[:most])
    rest = len(entries) - most
    return f"{shown} and {count(rest, 'other')}" if rest > 0 else shown
