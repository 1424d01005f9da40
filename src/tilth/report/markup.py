"""HTML that escapes by default: whatever is not `Html` already is text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_EMPTY = {"meta", "link", "br", "hr"}


class Html(str):
    """Text that is markup; only the functions here and the plots make it."""

    __slots__ = ()


def join(*children: object) -> Html:
    """Children side by side; None is left out, lists are opened, strings are escaped."""
    parts = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, list | tuple):
            parts.append(str(join(*child)))
        else:
            parts.append(escape(str(child)))
    return Html("".join(parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """One element. `class_` stands for `class`, `aria_label` for `aria-label`."""
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY:
        return Html(f"<{name}{words}>")
    return Html(f"<{name}{words}>{join(*children)}</{name}>")


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Html:
    """A table in a box that scrolls by itself. Heads that end in `#` are columns of numbers."""
    numbers = [head.endswith("#") for head in heads]
    kinds = ["number" if is_number else None for is_number in numbers]
    head = [
        tag("th", text.rstrip("#"), scope="col", class_=kind) for text, kind in zip(heads, kinds)
    ]
    body = [
        tag("tr", [tag("td", cell, class_=kind) for cell, kind in zip(row, kinds)], "\n")
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body))
    return tag("div", inner, class_="scroll", role="region", aria_label=caption, tabindex=0)


def link(anchor: str, text: object) -> Html:
    """A link to an anchor of the same page."""
    return tag("a", text, href=f"#{anchor}")
