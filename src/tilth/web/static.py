"""Style sheets and scripts, from a literal table: no path comes from a request."""

from __future__ import annotations

import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from tilth.serving.refusal import Refused

if TYPE_CHECKING:
    from tilth.web.site import Site

SCRIPT, STYLE = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
FILES = {
    "site.css": STYLE,
    "papers.js": SCRIPT,
    "run.css": STYLE,
    "run.js": SCRIPT,
    "mark.svg": "image/svg+xml",
}


def send(site: Site, request: Request) -> Response:
    """One file of the table. Its address holds its digest, so browsers keep it for good."""
    name = request.path_params["name"]
    if name not in FILES:
        raise Refused(404, "there is no such file here", code="not_found")
    kept = "max-age=31536000, immutable" if request.url.query else "no-cache"
    headers: dict[str, Any] = {"cache-control": kept, "x-content-type-options": "nosniff",
                               "content-security-policy": "default-src 'none'"}  # fmt: skip
    return Response(contents(name), headers=headers, media_type=FILES[name])


@functools.cache
def contents(name: str) -> bytes:
    """The bytes of a file of the table."""
    if name not in FILES:
        raise KeyError(name)
    return files("tilth.web").joinpath("static", name).read_bytes()


@functools.cache
def address(name: str) -> str:
    """The address of a file of the table, with its digest."""
    return f"/static/{name}?{hashlib.sha256(contents(name)).hexdigest()[:10]}"
