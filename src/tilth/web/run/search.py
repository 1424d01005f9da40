"""Search: ranked passages, the query's words marked, each a link to its place in the document."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from tilth.web.page import address
from tilth.web.run.asked import QUESTION, choice, whole, words
from tilth.web.run.pages import RunPages
from tilth.web.run.shown import Part, cut, parts

SHOWN, MORE, MOST = 10, 20, 100
TITLE = 160


class Found(NamedTuple):
    """A hit as it is drawn."""

    rank: int
    title: str
    source: str
    address: str
    passage: list[Part]


async def search(pages: RunPages, request: Request) -> Response:
    """The form, and what was found for `q`; the form alone waits for nobody."""
    if words(request, "q", QUESTION):
        return await pages.in_turn(page, request)
    return page(pages, request)


def page(pages: RunPages, request: Request) -> Response:
    """The page, drawn."""
    query = words(request, "q", QUESTION)
    using = choice(request, "with", pages.searches, pages.best)
    k = whole(request, "k", SHOWN, 1, MOST)
    values: dict[str, Any] = {"found": [], "more": ""}
    if query:
        hits = pages.search(query, k, using)
        values["found"] = [drawn(hit) for hit in hits]
        if len(hits) == k < MOST:
            values["more"] = address("/search", q=query, **{"with": using}, k=min(k + MORE, MOST))
    return pages.render(
        "search.html", "search", query=query, using=using, searches=pages.searches,
        best=pages.best, documents=len(pages.run.index), **values,
    )  # fmt: skip


def drawn(hit: Any) -> Found:
    """A hit of `build.run.Run.search`; its address shows the passage."""
    return Found(
        hit.rank, cut(hit.title or hit.source.rsplit("/", 1)[-1], TITLE), cut(hit.source, TITLE),
        cited(hit.id, hit.start, hit.start + len(hit.passage)), parts(hit.passage, hit.matches),
    )  # fmt: skip


def cited(id: str, start: int, stop: int) -> str:
    """The address of a span of a document, in characters."""
    return address(f"/document/{id}", start=start, stop=stop) + "#cited"
