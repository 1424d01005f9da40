"""The table of documents: what was kept and dropped, and why; what could not be read."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.corpus.rules import DUPLICATE
from tilth.corpus.snapshot import SHOW, UNKNOWN, Snapshot, counted, listed
from tilth.web.run.asked import FIELD, choice, whole, words
from tilth.web.run.document import value_of
from tilth.web.run.pages import RunPages
from tilth.web.run.shown import cut

PAGE = 40
SOURCE, EXCERPT = 160, 110
# The order of the table where nobody chooses: as the documents lie.
PLACE = "source"


async def documents(pages: RunPages, request: Request) -> Response:
    """A page of the table."""
    return await pages.in_turn(table, request)


def table(pages: RunPages, request: Request) -> Response:
    """The page, drawn. `show`, `reason`, `source`: a choice; `order`, `down`: by a column."""
    held = pages.held
    show = choice(request, "show", SHOW, "all")
    order = choice(request, "order", (PLACE, *held.signals), PLACE)
    down = choice(request, "down", ("", "1"), "")
    reason, source = words(request, "reason"), words(request, "source", FIELD)
    page = whole(request, "page", 1, 1)
    chosen = {"show": show if show != "all" else "", "reason": reason, "source": source,
              "order": order if order != PLACE else "", "down": down}  # fmt: skip
    given: dict[str, Any] = {"show": show, "reason": reason, "source": source, "limit": PAGE}
    with pages.turns:
        found = listed(held, order="" if order == PLACE else order, descending=bool(down),
                       offset=(page - 1) * PAGE, **given)  # fmt: skip
        last = max(1, -(-found.total // PAGE))
        if page > last:
            page = last
            found = listed(held, order="" if order == PLACE else order, descending=bool(down),
                           offset=(page - 1) * PAGE, **given)  # fmt: skip
        rows = [drawn(pages, row, order) for row in found.rows]
        fill(pages, rows)
    return pages.render(
        "documents.html", "corpus", tab="documents", chosen=chosen, show=show, order=order,
        down=bool(down), place=PLACE, reason=reason, source=source, total=found.total, rows=rows,
        problems=[
            {"source": cut(problem.source, SOURCE), "position": problem.position,
             "reason": problem.reason, "detail": cut(problem.detail, EXCERPT)}
            for problem in found.problems
        ],
        page=page, last=last, reasons=every_reason(pages, show), columns=held.signals,
    )  # fmt: skip


def drawn(pages: RunPages, row: int, order: str) -> dict[str, Any]:
    """A document as a line of the table, without its text."""
    decision = pages.held.decision(row)
    value = ""
    if order != PLACE:
        value = value_of(pages.held.columns.column(order)[row].as_py())
    return {
        "id": decision.id, "source": cut(decision.source, SOURCE), "position": decision.position,
        "kept": decision.kept, "value": value, "stands": decision.representative,
        "why": [*decision.reasons, *(f"{name}{UNKNOWN}" for name in decision.unknown)],
    }  # fmt: skip


def named(held: Snapshot, row: int) -> dict[str, Any]:
    """A document as it is named in a list."""
    id, source, position = (
        held.columns.column(name)[row].as_py() for name in ("id", "source", "position")
    )
    return {"id": id, "source": cut(source, SOURCE), "position": position}


def fill(pages: RunPages, rows: list[dict[str, Any]]) -> None:
    """Give lines the beginning of their texts, all read at once."""
    texts = pages.reader.get_many([row["id"] for row in rows])
    for row in rows:
        found = texts.get(row["id"])
        row["begins"] = "" if found is None else cut(found.text.lstrip(), EXCERPT)


def every_reason(pages: RunPages, show: str) -> list[tuple[str, int]]:
    """What a document may have been dropped for, or not read for, and how many were."""
    if show == "unread":
        return sorted(pages.stats["problems"].items())
    held = pages.held
    if held.rule is None or held.decisions is None:
        return []
    found: list[tuple[str, int]] = []
    for name, (failed, unknown) in counted(held.decisions, held.rule).items():
        if failed or name != DUPLICATE:
            found.append((name, failed))
        if unknown:
            found.append((name + UNKNOWN, unknown))
    return found
