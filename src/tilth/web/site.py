"""All pages: the literal table of their routes, and what they are drawn from.

    site = Site(library, measured, secret)
    app = Guard(application([*routes(site), *serving.http.routes(service)]), page=refused_page)

A handler is a plain function of the site and the request that gives a response. It runs in a thread
of its own, so it may wait for the disk. `cli/serve.py` composes pages and API behind one guard.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tilth import lookup
from tilth.errors import TilthError
from tilth.serving.guard import Receive, Send, is_open
from tilth.serving.openai_forms import Refused, refusal

# Method, path, handler. All but what guard.is_open names want the key where there is one.
ROUTES = (
    ("GET", "/", "tilth.web.site:front"),
    ("GET", "/static/{name}", "tilth.web.static:send"),
)


@dataclass
class Site:
    """What the pages are drawn from. `library`: a papers.library.Library. `measured`: slug of a
    system -> what is known of it. `secret`: bytes that sign the cookies of visitors. `run`: what
    pages of a run are drawn from, None where none is served."""

    library: Any
    measured: Mapping[str, Any] = field(default_factory=dict)
    secret: bytes = b""
    run: Any = None


def routes(site: Site) -> list[Route]:
    """The routes of a site, from the literal table."""
    table = {f"{method} {path}": handler for method, path, handler in ROUTES}
    return [
        Route(path, Endpoint(site, lookup.load("page", table, f"{method} {path}"), method),
              methods=[method])
        for method, path, _ in ROUTES
    ]  # fmt: skip


class Endpoint:
    """A route's application: the body is read, a form of another page refused, errors told.

    `source`: the first argument of the handler, what it draws from.
    """

    def __init__(self, source: Any, handler: Callable[..., Response], method: str) -> None:
        self._handler, self._method = functools.partial(handler, source), method

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        request.state.body = await request.body()
        if self._method == "POST" and not is_open(scope["path"]):
            check_own(request)
        try:
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
