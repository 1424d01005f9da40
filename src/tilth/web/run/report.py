"""The run's report: its first screen as a page here, and the whole as the file that was built.

The whole report is served byte for byte, for its manifest names its digest. It holds its styles
inside, which no page here may: so it gets a policy of its own, which allows those and nothing else,
and a sandbox, in which no script runs, no form is sent and nothing of this server's origin is near.
"""

from __future__ import annotations

import functools
import html
import re

from starlette.requests import Request
from starlette.responses import Response

from tilth.web.page import HEADERS
from tilth.web.run.pages import RunPages
from tilth.web.run.shown import shown

POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SECTION = re.compile(r'<h2 id="([\w-]+)">([^<]*)</h2>')
# Findings whose evidence a page here shows better than the report: its documents can be opened.
PAGES = {"duplicates": "/corpus#duplicates", "not-read": "/corpus/documents?show=unread",
         "training": "/model"}  # fmt: skip


def report(pages: RunPages, request: Request) -> Response:
    """Five findings, three questions, what is weak; and the way to the rest."""
    screen = pages.report["first_screen"]
    return pages.render(
        "report.html", "report", screen=screen, title=shown(pages.report["title"])[:200],
        sections=sections(whole_report(pages)), pages=PAGES,
    )  # fmt: skip


def whole(pages: RunPages, request: Request) -> Response:
    """The file of the report."""
    headers = {**HEADERS, "content-security-policy": POLICY}
    return Response(whole_report(pages), headers=headers, media_type="text/html; charset=utf-8")


def whole_report(pages: RunPages) -> bytes:
    """The bytes of report.html."""
    return (pages.run.folder / "report" / "report.html").read_bytes()


@functools.lru_cache(maxsize=2)
def sections(page: bytes) -> list[tuple[str, str]]:
    """Anchor and title of each section of a report."""
    found = _SECTION.findall(page.decode("utf-8"))
    return [
        (anchor, html.unescape(name))
        for anchor, name in found
        if anchor not in ("findings", "questions")
    ]
