"""All pages: the literal table of their routes, and what they are drawn from.

    site = Site(open_library(), Known("results"), secret)
    app = Guard(application([*routes(site), *http.routes(service)]), drawn=page.refused_page)

A handler is a plain function of the site and the request that gives a response. It runs in a thread
of its own, so it may wait for the disk. `cli/serve.py` composes pages and API behind one guard.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tilth import lookup
from tilth.errors import TilthError
from tilth.papers.library import Library
from tilth.papers.measured import Measured
from tilth.papers.paper import Paper
from tilth.papers.search import Search
from tilth.serving.guard import Receive, Send, is_open
from tilth.serving.refusal import Refused, refusal
from tilth.web.known import Facts, Known
from tilth.web.smoke import Smokes
from tilth.web.visitors import Visitors

log = logging.getLogger("tilth.web")
# Papers that a search gives at most.
BEST = 50
# Method, path, handler. All but what guard.is_open names want the key where there is one.
ROUTES = (
    ("GET", "/", "tilth.web.site:front"),
    ("GET", "/static/{name}", "tilth.web.static:send"),
    ("GET", "/papers", "tilth.web.papers:feed"),
    ("GET", "/papers/{id}", "tilth.web.papers:paper"),
    ("POST", "/papers/{id}/vote", "tilth.web.papers:vote"),
    ("POST", "/papers/{id}/smoke", "tilth.web.smoke_pages:start"),
    ("GET", "/smoke/{number}", "tilth.web.smoke_pages:show"),
    ("GET", "/smoke/{number}/events", "tilth.web.smoke_pages:events"),
    ("POST", "/smoke/{number}/cancel", "tilth.web.smoke_pages:cancel"),
    ("GET", "/day/{day}", "tilth.web.papers:day"),
    ("GET", "/board", "tilth.web.board:board"),
    ("POST", "/subscribe", "tilth.web.mail:subscribe"),
    ("GET", "/mail/confirm/{token}", "tilth.web.mail:confirm_page"),
    ("POST", "/mail/confirm/{token}", "tilth.web.mail:confirm"),
    ("GET", "/mail/unsubscribe/{token}", "tilth.web.mail:unsubscribe_page"),
    ("POST", "/mail/unsubscribe/{token}", "tilth.web.mail:unsubscribe"),
)


@dataclass
class Site:
    """What the pages are drawn from.

    `library`: of papers. `known`: cards and results. `secret`: bytes that sign the cookies of
    visitors and the links of mails. `run`: what pages of a run are drawn from, None where none is
    served. `post`: called after a subscription was asked for, so that its mail leaves at once.
    `encoder`: a folder or an object, for the search of papers by meaning; None takes tilth's own.
    """

    library: Library
    known: Known
    secret: bytes
    run: Any = None
    post: Callable[[], None] | None = None
    encoder: Any = None
    visitors: Visitors = field(init=False)
    smokes: Smokes = field(init=False)

    def __post_init__(self) -> None:
        self.visitors = Visitors(self.secret)
        self.smokes = Smokes(self.facts.cards)
        self._search = Search(self.library, self.encoder)

    @property
    def facts(self) -> Facts:
        """Cards and results of this moment."""
        return self.known.facts

    @property
    def measured(self) -> Mapping[str, Measured]:
        """What is measured, by slug."""
        return self.facts.measured

    def search(self, query: str, how: str, **only: Any) -> list[Paper]:
        """The `BEST` papers for a query, or fewer; see papers.search."""
        return [hit.paper for hit in self._search(query, BEST, how, **only)]

    def warm(self) -> None:
        """Make the indexes of the papers: what the first search would wait for."""
        try:
            self._search("warm", 1)
        except Exception:
            log.exception("the index of papers cannot be made")

    def stop(self) -> None:
        """End what runs."""
        self.smokes.stop()


def routes(site: Site) -> list[Route]:
    """The routes of a site, from the literal table."""
    return routed(ROUTES, site, Endpoint)


def routed(
    table: Sequence[tuple[str, str, str]], source: Any, endpoint: type[Endpoint]
) -> list[Route]:
    """The routes of a literal table of (method, path, handler); `source` as for `Endpoint`."""
    named = {f"{method} {path}": handler for method, path, handler in table}
    return [
        Route(path, endpoint(source, lookup.load("page", named, f"{method} {path}"), method),
              methods=[method])
        for method, path, _ in table
    ]  # fmt: skip


class Endpoint:
    """A route's application: the body is read, a form of another page refused, errors told.

    `source`: the first argument of the handler, what it draws from. A handler that is a coroutine
    runs in the loop and must not block it.
    """

    def __init__(self, source: Any, handler: Callable[..., Response], method: str) -> None:
        self._handler, self._method = functools.partial(handler, source), method

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request.state.body = await request.body()
        if self._method == "POST" and not is_open(scope["path"]):
            check_own(request)
        try:
            if inspect.iscoroutinefunction(self._handler):
                response = await self._handler(request)
            else:
                response = await run_in_threadpool(self._handler, request)
        except TilthError as error:
            raise refusal(error) from None
        await response(scope, receive, send)


def check_own(request: Request) -> None:
    """Refuse what changes something and was not sent by a page of this server.

    The guard has refused any other origin; here there must be one, for all browsers send it.
    """
    if "origin" not in request.headers:
        raise Refused(403, "a form is taken from this server's own pages only", code="origin")


def front(site: Site, request: Request) -> Response:
    """The first page: search where a run is served, else the papers."""
    return RedirectResponse("/papers" if site.run is None else "/search", 303)
