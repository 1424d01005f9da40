"""The board: all results with verdicts and intervals, and what is not measured yet."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.evaluation.results import NOTE, primary
from tilth.papers.measured import VERDICTS
from tilth.web import page, plot
from tilth.web.known import Facts
from tilth.web.site import Site


def board(site: Site, request: Request) -> Response:
    """Every row, or those of one family."""
    facts, family = site.facts, request.query_params.get("family", "")[:80]
    families = sorted({card.family for card in facts.cards.values()})
    rows = [
        {**row, "title": facts.cards[row["slug"]].title, **_quoted(facts, row["slug"])}
        for row in facts.board
        if row["slug"] in facts.cards and family in ("", row["family"])
    ]  # fmt: skip
    waiting = [
        card for slug, card in sorted(facts.cards.items())
        if slug not in facts.results and family in ("", card.family)
    ]  # fmt: skip
    counts = {
        verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS
    }  # fmt: skip
    # A system of another package may measure a paper that this library does not hold.
    held = site.library.many(list(facts.cards))
    return page.render(
        "papers/board.html", here="board", run=site.run, rows=rows, waiting=waiting, note=NOTE,
        family=family, families=families, counts=counts, held=held,
    )  # fmt: skip


def _quoted(facts: Facts, slug: str) -> dict[str, Any]:
    """The paper's own figure, and the interval as a small drawing."""
    claim = primary(facts.results[slug])
    return {"paper": claim["paper"], "spark": plot.spark(claim)}
