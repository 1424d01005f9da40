"""The papers: feed, a day, one paper, a vote.

Each choice of the feed is a field of its address, so every list can be kept, sent and gone back to.
A paper without a system says `not built yet` and offers no run; a figure of a paper is shown only
where a result holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from tilth.errors import UsageError
from tilth.evaluation.documentation import own_command
from tilth.evaluation.results import NOTE, primary
from tilth.papers.digest.subscriptions import wanted
from tilth.papers.feed import day_page, verdicts
from tilth.papers.measured import NOT_BUILT, VERDICTS, verdict_of
from tilth.papers.paper import Paper
from tilth.serving.refusal import Refused
from tilth.web import page, plot
from tilth.web.known import Facts
from tilth.web.site import BEST, Site

# Papers of one page; pages that can be asked for; letters of a query; authors named in a row;
# families listed, the largest, of however many an import brought.
EACH, PAGES, QUERY, AUTHORS, FAMILIES = 25, 1000, 500, 3, 30
# Words of a search that may stand in one paper all together, as a mail wants them.
FEW = 3
ORDERS = {"new": "New", "trending": "Trending"}
WAYS = {"both": "words and meaning", "words": "words", "meaning": "meaning"}
# Where a form leads back to: a page of papers on this server, with letters that an address has.
_BACK = re.compile(r"/(?:papers|day)(?:/[\w.%-]+)?(?:\?[\w.%=&+~-]*)?(?:#[\w.-]+)?", re.ASCII)


def feed(site: Site, request: Request) -> Response:
    """New or trending papers, or those that a query finds; by family and verdict."""
    given = request.query_params
    query = " ".join(given.get("q", "").split())
    if len(query) > QUERY:
        raise UsageError(f"a query has at most {QUERY:,} letters")
    choice = {
        "q": query,
        "how": _one(given.get("how", ""), WAYS, "way to search") if query else "",
        "family": given.get("family", "")[:80],
        "verdict": _one(given.get("verdict", ""), dict.fromkeys(VERDICTS), "verdict"),
        "order": _one(given.get("order", ""), ORDERS, "order"),
    }
    number, facts = _page_number(given.get("page", "")), site.facts
    only: dict[str, Any] = {
        "family": choice["family"],
        "verdict": choice["verdict"],
        "measured": facts.measured,
    }
    if query:
        found = site.search(query, choice["how"] or "both", **only)
        total, papers = len(found), found[(number - 1) * EACH : number * EACH]
    else:
        total = site.library.count(**only)
        order: Any = choice["order"] or "new"
        papers = site.library.papers(**only, order=order, offset=(number - 1) * EACH, limit=EACH)
    pages = max(1, -(-total // EACH))
    if number > pages:
        raise Refused(404, f"there are {page.many(pages, 'page')}", code="not_found")
    return page.render(
        "papers/feed.html", here="papers", run=site.run, choice=choice, total=total, number=number,
        pages=pages, rows=_rows(site, request, papers, facts), families=_families(site),
        verdicts=verdicts(site.library, facts.measured), orders=ORDERS, ways=WAYS,
        best=BEST,
        built=len(facts.cards), judged=len(facts.results), every=site.library.count(),
        back=_here(request), grouped=not query and choice["order"] != "trending",
        mails=site.post is not None, mailed=_mailed(query, choice["how"]),
    )  # fmt: skip


def day(site: Site, request: Request) -> Response:
    """The papers that were added on one day (UTC), with the days before and after."""
    number = _page_number(request.query_params.get("page", ""))
    try:
        found = day_page(
            site.library, request.path_params["day"], offset=(number - 1) * EACH, limit=EACH
        )
    except UsageError as error:
        raise Refused(404, str(error), code="not_found") from None
    return page.render(
        "papers/day.html", here="papers", run=site.run, day=found, number=number,
        rows=_rows(site, request, found.papers, site.facts),
        pages=max(1, -(-found.total // EACH)), back=_here(request),
    )  # fmt: skip


def paper(site: Site, request: Request) -> Response:
    """One paper: what it is, what it claims, what was measured here, how to use it."""
    found, facts = _found(site, request), site.facts
    card, result = facts.cards.get(found.id), facts.results.get(found.id)
    claims = []
    if result is not None:
        claims = [{**claim, "spark": plot.spark(claim)} for claim in result["claims"]]
    return page.render(
        "papers/paper.html", here="papers", run=site.run, paper=found, card=card,
        measured=facts.measured.get(found.id), result=result, claims=claims,
        figure=plot.figure(primary(result)) if result else "",
        primary=primary(result) if result else None, note=NOTE, not_built=NOT_BUILT,
        own=own_command(card) if card else "", row=_row(site, request, found, facts),
        back=_here(request), trusted=page.trusted(request), running=site.smokes.current,
    )  # fmt: skip


def vote(site: Site, request: Request) -> Response:
    """Take a vote, one for each visitor and paper, and lead back; a program gets the count."""
    found, visitor = _found(site, request), site.visitors.admitted(request)
    fields = page.form(request)
    if fields.get("take") == "back":
        votes, voted = site.library.withdraw(found.id, visitor), False
    else:
        votes, voted = site.library.vote(found.id, visitor), True
    answer: Response
    if "application/json" in request.headers.get("accept", ""):
        answer = JSONResponse({"votes": votes, "voted": voted}, headers=page.HEADERS)
    else:
        back = fields.get("back", "")
        inside = _BACK.fullmatch(back) is not None
        answer = RedirectResponse(back if inside else f"/papers/{quote(found.id)}", 303)
    site.visitors.remember(visitor, answer)
    return answer


def _found(site: Site, request: Request) -> Paper:
    id = request.path_params["id"]
    found = site.library.many([id]).get(id)
    if found is None:
        raise Refused(404, "there is no such paper in this library", code="not_found")
    return found


def _rows(
    site: Site, request: Request, papers: Iterable[Paper], facts: Facts
) -> list[dict[str, Any]]:
    return [_row(site, request, paper, facts) for paper in papers]


def _row(site: Site, request: Request, paper: Paper, facts: Facts) -> dict[str, Any]:
    """What a row of a list shows of a paper."""
    visitor, known = site.visitors.named(request), facts.measured.get(paper.id)
    names = ", ".join(paper.authors[:AUTHORS])
    if len(paper.authors) > AUTHORS:
        names += f" and {len(paper.authors) - AUTHORS:,} more"
    return {
        "paper": paper,
        "names": names,
        "verdict": verdict_of(facts.measured, paper.id),
        "stale": bool(known and known.stale),
        "spark": plot.spark(vars(known.primary)) if known and known.primary else "",
        "voted": bool(visitor) and site.library.voted(paper.id, visitor),
    }


def _families(site: Site) -> dict[str, int]:
    found = sorted(site.library.families().items(), key=lambda one: (-one[1], one[0]))
    return dict(sorted(one for one in found[:FAMILIES] if one[0]))


def _mailed(query: str, how: str) -> str:
    """The query as the filter of a mail, which wants all its words in a paper; empty where it is
    more of a question, or cannot be one."""
    if how != "words" and len(query.split()) > FEW:
        return ""
    try:
        return wanted("daily", query, "", ())[1]
    except UsageError:
        return ""


def _one(given: str, known: Mapping[str, Any], what: str) -> str:
    if given and given not in known:
        raise UsageError(f"there is no {what} {given[:40]!r}")
    return given


def _page_number(given: str) -> int:
    if not given:
        return 1
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= PAGES):
        raise UsageError(f"a page is a number from 1 to {PAGES:,}")
    return int(given[:9])


def _here(request: Request) -> str:
    """The address of this page, where a vote leads back to."""
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
