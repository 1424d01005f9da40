"""Move a threshold of the rule and see what it would change. Nothing is measured or written.

`focus` is the condition that is looked at, `at.NAME` the number for a condition. The answer is the
same page with and without script; the script asks for its part `results` alone.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.corpus.histograms import Histogram, Limit
from tilth.corpus.rules import DUPLICATE
from tilth.corpus.what_if import SIGNS, Turned, WhatIf, plain, select_command, what_if
from tilth.errors import TilthError
from tilth.report.wording import figure
from tilth.web.limiter import visitor_of
from tilth.web.page import address
from tilth.web.run.asked import FIELD, none_such, number, words
from tilth.web.run.corpus import rule_limits
from tilth.web.run.documents import fill, named
from tilth.web.run.pages import RunPages
from tilth.web.run.plots import bars, mark
from tilth.web.run.shown import cut

AT = "at."
EXAMPLES = 6


async def threshold(pages: RunPages, request: Request) -> Response:
    """The page of a move, in its turn."""
    return await pages.in_turn(moved, request)


def moved(pages: RunPages, request: Request) -> Response:
    """The page of one condition; only what a move changes where `part` is asked for."""
    found = {limit.condition: limit for limit in rule_limits(pages)}
    if not found:
        raise none_such("the rule of this run compares no column with a number, so no threshold "
                        "can be moved")  # fmt: skip
    focus = words(request, "focus") or next(iter(found))
    if focus not in found:
        raise none_such(f"no condition {focus[:80]!r} of the rule has a threshold")
    pages.moves.check(visitor_of(request), "thresholds")
    limit, wrong = found[focus], ""
    moves: dict[str, float] = {}
    for name in found:
        text = request.query_params.get(AT + name, "")[:FIELD]
        if text.strip():
            try:
                moves[name] = number(text, name)
            except TilthError as error:
                wrong = error.what
    with pages.turns:
        change = what_if(pages.held, moves, focus=focus, examples=EXAMPLES)
        values = {"change": change, "results": results(pages, change, focus), "wrong": wrong}
    if request.query_params.get("part"):
        return pages.render("_moved.html", "corpus", **values)
    value = moves.get(focus, limit.number)
    drawn = pages.histograms[limit.column]
    return pages.render(
        "threshold.html", "corpus", tab="threshold", focus=focus, limit=limit,
        sign=SIGNS[limit.comparison], value=plain(value), before=plain(limit.number),
        bars=bars(drawn), was=mark(drawn, limit, limit.number), now=mark(drawn, limit, value),
        slider=slider(drawn, limit, value), others=others(pages, found, focus, moves),
        carried={AT + n: plain(v) for n, v in moves.items() if n != focus}, at=AT, **values,
    )  # fmt: skip


def slider(drawn: Histogram, limit: Limit, value: float) -> dict[str, Any]:
    """What the script needs to turn a place on the axis into a number, and back."""
    return {
        "edges": json.dumps(drawn.edges), "whole": "1" if drawn.whole else "",
        "above": "1" if limit.above else "", "at": round(1000 * drawn.place(value)),
    }  # fmt: skip


def others(
    pages: RunPages, found: dict[str, Limit], focus: str, moves: dict[str, float]
) -> list[dict[str, Any]]:
    """The conditions of the rule as links that keep what was moved."""
    assert pages.held.rule is not None
    kept = {AT + name: plain(number) for name, number in moves.items()}
    return [
        {
            "name": name, "expression": cut(expression, 120), "here": name == focus,
            "moved": name in moves and moves[name] != found[name].number,
            "address": address("/corpus/threshold", focus=name, **kept) if name in found else "",
        }
        for name, expression in pages.held.rule.conditions.items()
    ]  # fmt: skip


def results(pages: RunPages, change: WhatIf, focus: str) -> dict[str, Any]:
    """What a move changes, ready to be drawn; texts are read of the few that are shown."""
    sides = {
        "newly kept": (change.newly_kept.total, change.newly_kept.nearest),
        "newly dropped": (change.newly_dropped.total, change.newly_dropped.nearest),
    }
    turned: dict[str, dict[str, Any]] = {
        name: {"total": total, "rows": [line(one, change) for one in nearest]}
        for name, (total, nearest) in sides.items()
    }
    near = [
        {
            "id": entry.id, "source": cut(entry.source, 160), "position": entry.position,
            "value": figure(entry.value), "met": entry.met, "kept": entry.kept,
        }
        for entry in change.near
    ]  # fmt: skip
    families: list[dict[str, Any]] = [
        {"size": one.size, "sides": [somebody(pages, id) for id in (one.before, one.now)]}
        for one in change.successions.largest
    ]
    everyone = [row for side in turned.values() for row in side["rows"]]
    fill(pages, [*everyone, *near, *(side for one in families for side in one["sides"] if side)])
    return {
        "turned": turned, "near": near, "families": families,
        "command": select_command(str(pages.run.folder), change.rule),
        "duplicate": DUPLICATE, "focus": focus,
        "share": figure(round(100 * change.kept / max(change.documents, 1), 1)),
    }  # fmt: skip


def line(one: Turned, change: WhatIf) -> dict[str, Any]:
    """A document that turned: what it was dropped for before, or is now."""
    dropped = one.before if one.now.kept else one.now
    return {
        "id": one.now.id, "source": cut(one.now.source, 160), "position": one.now.position,
        "value": "" if one.value is None else figure(one.value),
        "why": [*dropped.reasons, *(f"{name} (unknown)" for name in dropped.unknown)],
        "stands": dropped.representative,
    }  # fmt: skip


def somebody(pages: RunPages, id: str) -> dict[str, Any] | None:
    """A document by its id, as it is named in a list; None for nobody."""
    row = pages.held.row(id) if id else None
    return None if row is None else named(pages.held, row)
