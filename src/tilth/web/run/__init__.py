"""The pages of a run: search, a document, ask, the corpus, its report, its model.

    pages = RunPages(Run("my-run"), text=text_model, asker=asker)
    application([*site.routes(Site(library, run=pages)), *run.routes(pages)])

Handlers read the run and never write to it. Every page works by links and forms alone; `run.js`
makes some of them quicker. What costs is limited for each visitor and for all; see `RunPages`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from tilth.serving.guard import Receive, Send
from tilth.web.run.asked import refuse_cross_site
from tilth.web.run.pages import RunPages
from tilth.web.site import Endpoint, routed

__all__ = ["ROUTES", "RunPages", "routes"]

# Method, path, handler. All want the key where there is one.
ROUTES = (
    ("GET", "/search", "tilth.web.run.search:search"),
    ("GET", "/document/{id}", "tilth.web.run.document:document"),
    ("GET", "/ask", "tilth.web.run.ask:ask"),
    ("POST", "/ask/stream", "tilth.web.run.ask:stream"),
    ("GET", "/corpus", "tilth.web.run.corpus:overview"),
    ("GET", "/corpus/documents", "tilth.web.run.documents:documents"),
    ("GET", "/corpus/signals", "tilth.web.run.corpus:signals"),
    ("GET", "/corpus/threshold", "tilth.web.run.threshold:threshold"),
    ("GET", "/report", "tilth.web.run.report:report"),
    ("GET", "/report/whole", "tilth.web.run.report:whole"),
    ("GET", "/model", "tilth.web.run.model:model"),
    ("POST", "/model", "tilth.web.run.model:generate"),
    ("POST", "/model/stream", "tilth.web.run.model:stream"),
)


def routes(pages: RunPages) -> list[Route]:
    """The routes of the pages of a run, from the literal table."""
    return routed(ROUTES, pages, OwnEndpoint)


class OwnEndpoint(Endpoint):
    """A route that no page of another site can ask, other than by a link that is followed."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        refuse_cross_site(Request(scope))
        await super().__call__(scope, receive, send)
