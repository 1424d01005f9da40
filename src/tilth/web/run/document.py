"""A document: its text with the cited span marked, and beside it why it was kept or dropped."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
from starlette.requests import Request
from starlette.responses import Response

from tilth.corpus.histograms import limits
from tilth.corpus.snapshot import Snapshot
from tilth.documents.document import Document
from tilth.report.wording import count, figure
from tilth.store.digest import canonical_json
from tilth.web.page import address
from tilth.web.run.asked import choice, none_such, whole
from tilth.web.run.pages import RunPages
from tilth.web.run.shown import cut, parts

# Letters of one page: escaped, the worst of them make a page of 250 kB.
PART = 40_000
# Letters before a cited span that begins too far down for the first page.
BEFORE = 4_000
ENTRIES, VALUE, FAMILY = 40, 200, 20
CODE = frozenset({"code", "docstring"})


class Cut(NamedTuple):
    """The part of a text that a page shows: letters [start, stop) of `total`."""

    start: int
    stop: int
    total: int
    pieces: Any
    before: str
    after: str

    @property
    def hidden(self) -> int:
        return self.total - (self.stop - self.start)


def document(pages: RunPages, request: Request) -> Response:
    """The document with this id. `start`, `stop`: a span to mark, in `unit` characters or bytes.

    `at`: from which letter on the text is shown, where it is too long for one page.
    """
    id = request.path_params["id"]
    found = pages.reader.get(id)
    if found is None:
        raise none_such("no document of this run has that id")
    row = pages.held.row(id)
    start, stop = whole(request, "start", 0, 0), whole(request, "stop", 0, 0)
    if choice(request, "unit", ("characters", "bytes"), "characters") == "bytes":
        start, stop = characters(found.text, start), characters(found.text, stop)
    span = (min(start, len(found.text)), min(stop, len(found.text)))
    shown = part(found, span, whole(request, "at", -1, 0))
    held = pages.held
    return pages.render(
        "document.html", "corpus", id=id, shown=shown,
        title=cut(title(found), 200), source=cut(found.source, 300), document=found,
        code=found.format in CODE, cited=span[1] > span[0], outside=start > len(found.text),
        decision=None if row is None else held.decision(row),
        reasons=[] if row is None else reasons(held, row),
        signals=[] if row is None else signals(held, row),
        family=None if row is None else family(held, row),
        metadata=metadata(found), made_by=[cut(found.made_by, 200)] if found.made_by else [],
    )  # fmt: skip


def title(found: Document) -> str:
    """What a document is called: by its metadata, else by its file."""
    named = found.metadata.get("title") or found.metadata.get("qualified_name")
    return str(named) if named else found.source.rsplit("/", 1)[-1] or found.id


def characters(text: str, offset: int) -> int:
    """An offset in bytes of UTF-8 as one in characters; within a character, the one before it."""
    return len(text.encode("utf-8")[:offset].decode("utf-8", "ignore"))


def part(found: Document, span: tuple[int, int], at: int = -1) -> Cut:
    """The part that holds the span, or that begins at `at`."""
    text, (start, stop) = found.text, span
    if at < 0:
        # From the beginning if the span is on the first page, else a little before the span.
        at = 0 if stop <= PART else max(0, start - BEFORE)
    at = min(at, max(0, len(text) - 1))
    end = min(len(text), at + PART)
    low, high = max(at, start), min(end, stop)
    marks = [(low - at, high - at)] if high > low else []
    path = f"/document/{found.id}"
    return Cut(
        at, end, len(text), parts(text[at:end], marks),
        address(path, at=max(0, at - PART)) if at else "",
        address(path, at=end) if end < len(text) else "",
    )  # fmt: skip


def reasons(held: Snapshot, row: int) -> list[dict[str, str]]:
    """Each condition of the rule, whether the document meets it, and its value."""
    if held.rule is None:
        return []
    decision, known = held.decision(row), {}
    for limit in limits(held.rule, held.columns.column_names):
        known[limit.condition] = figure(held.columns.column(limit.column)[row].as_py())
    return [
        {
            "name": name,
            "expression": cut(expression, VALUE),
            "state": "unknown" if name in decision.unknown
            else "failed" if name in decision.reasons else "met",
            "value": known.get(name, ""),
        }
        for name, expression in held.rule.conditions.items()
    ]  # fmt: skip


def signals(held: Snapshot, row: int) -> list[tuple[str, str]]:
    """The measured columns of a document, and their values for people."""
    values = held.values(row)
    return [(name, value_of(values[name])) for name in held.signals]


def value_of(value: Any) -> str:
    """A value for people: a number rounded, a text cut, a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figure(value)
    return cut(value if isinstance(value, str) else canonical_json(value), VALUE) or "–"


def family(held: Snapshot, row: int) -> dict[str, Any] | None:
    """The family of duplicates that a document stands in, its kept one first; None where alone."""
    if "cluster" not in held.columns.column_names:
        return None
    cluster = held.columns.column("cluster")[row]
    if not cluster.is_valid:
        return None
    rows = np.flatnonzero(pc.fill_null(pc.equal(held.columns.column("cluster"), cluster), False))
    kept = held.kept
    order = sorted(rows.tolist(), key=lambda one: (not kept[one], one))
    members = [
        {
            "id": held.columns.column("id")[one].as_py(),
            "source": cut(held.columns.column("source")[one].as_py(), 160),
            "position": held.columns.column("position")[one].as_py(),
            "kept": bool(kept[one]),
            "here": one == row,
        }
        for one in order[:FAMILY]
    ]
    return {"members": members, "size": len(rows), "more": count(max(0, len(rows) - FAMILY))}


def metadata(found: Document) -> dict[str, Any]:
    """What the reader noted: names and values, cut, and how many are left out."""
    entries = [(cut(str(name), 60), value_of(value)) for name, value in found.metadata.items()]
    return {"entries": entries[:ENTRIES], "more": max(0, len(entries) - ENTRIES)}
