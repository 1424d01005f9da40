"""Running the smoke scale of a system from its page: start, watch, cancel.

Only with the key or the token of the printed address. Progress comes as server-sent events; without
script the page loads itself again while the run goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from tilth.serving.refusal import Refused
from tilth.serving.streaming import EVENTS
from tilth.web import page
from tilth.web.site import Site
from tilth.web.smoke import Smoke

# Pages that may watch one run at a time; seconds after which a silent stream says that it lives.
WATCHERS, SILENT = 16, 15.0


def start(site: Site, request: Request) -> Response:
    """Begin the run of a paper's system and lead to its page."""
    _check(request)
    run = site.smokes.start(request.path_params["id"])
    return RedirectResponse(f"/smoke/{run.number}", 303)


def show(site: Site, request: Request) -> Response:
    """What a run has said until now; its result as a table once it is through."""
    run = site.smokes.find(request.path_params["number"])
    state, lines = run.state, list(run.lines)
    table = [line.split("\t") for line in lines if "\t" in line]
    paper = site.library.many([run.slug]).get(run.slug)
    return page.render(
        "papers/smoke.html", here="papers", run=site.run, smoke=run, state=state, lines=lines,
        title=paper.title if paper else "", trusted=page.trusted(request),
        table=table if state != "running" and len({len(row) for row in table}) == 1 else [],
    )  # fmt: skip


def events(site: Site, request: Request) -> Response:
    """Lines and the end of a run as events; each has the number of its line, so a stream that
    broke off goes on where it was."""
    run = site.smokes.find(request.path_params["number"])
    if run.watchers >= WATCHERS:
        raise Refused(429, f"{WATCHERS} pages watch this run", headers={"retry-after": "5"})
    last = request.headers.get("last-event-id", "0")
    first = int(last) if last.isascii() and last.isdigit() and len(last) < 9 else 0
    headers = {name.decode(): value.decode() for name, value in EVENTS}
    return StreamingResponse(_told(run, first), headers=headers)


def cancel(site: Site, request: Request) -> Response:
    """End a run and lead back to its page."""
    _check(request)
    run = site.smokes.find(request.path_params["number"])
    run.cancel()
    run.wait(10)
    return RedirectResponse(f"/smoke/{run.number}", 303)


async def _told(run: Smoke, place: int) -> AsyncIterator[str]:
    async with run.watched() as changed:
        while True:
            changed.clear()
            state, lines = run.state, run.lines
            for line in lines[place:]:
                place += 1
                yield f"id: {place}\nevent: line\ndata: {json.dumps(line)}\n\n"
            if state != "running":
                yield f"id: {place}\nevent: end\ndata: {json.dumps(state)}\n\n"
                return
            try:
                await asyncio.wait_for(changed.wait(), SILENT)
            except TimeoutError:
                yield ": still there\n\n"


def _check(request: Request) -> None:
    if not page.trusted(request):
        raise Refused(403, "running something wants the key, or the token of the address that "
                      "tilth serve printed", code="token")  # fmt: skip
