"""What an address asks for, field by field: checked, with a default, within bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request

from tilth.errors import UsageError, nearest
from tilth.serving.refusal import Refused

# Letters of a question or a query, and of any other field.
QUESTION, FIELD = 2000, 500
LARGEST = 10**9


def words(request: Request, name: str, most: int = FIELD) -> str:
    """A text, without blanks at its ends; empty where it is missing."""
    found = request.query_params.get(name, "").strip()
    if len(found) > most:
        raise UsageError(f"{name} has {len(found):,} letters; at most {most:,} are taken")
    return found


def choice(request: Request, name: str, known: Sequence[str], default: str) -> str:
    """One of a few words."""
    found = request.query_params.get(name, "") or default
    if found not in known:
        raise UsageError(f"{name} is not {found[:80]!r}", hint=nearest(found[:80], known))
    return found


def whole(request: Request, name: str, default: int, low: int, high: int = LARGEST) -> int:
    """A whole number; what lies beyond the ends is taken for the end."""
    found = request.query_params.get(name, "").strip()
    if not found:
        return default
    if len(found) > 18 or not found.removeprefix("-").isascii() or not found[-1].isdigit():
        raise UsageError(f"{name} is a whole number, not {found[:40]!r}")
    try:
        return min(max(int(found), low), high)
    except ValueError:
        raise UsageError(f"{name} is a whole number, not {found[:40]!r}") from None


def number(text: str, name: str) -> float:
    """A finite number from a field."""
    try:
        found = float(text.strip().replace(",", ""))
    except ValueError:
        raise UsageError(f"{name} is a number, not {text[:40]!r}") from None
    if not math.isfinite(found):
        raise UsageError(f"{name} is a finite number, not {text[:40]!r}")
    return found


def own_page(request: Request) -> bool:
    """Whether a page of this server, or a person who typed the address, asks.

    Browsers say so. Where one does not (an old one, or an address without TLS that is not
    loopback), the page that it comes from must be of this very host.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    try:
        host = urlsplit(request.headers.get("referer", "")).netloc.lower()
    except ValueError:
        return False
    return bool(host) and host == request.headers.get("host", "").lower()


def refuse_cross_site(request: Request) -> None:
    """Refuse what a page of another site loads without leaving it, as pictures and frames: no
    visitor sees that, and it would use this machine's cores. A link may be followed."""
    headers = request.headers
    if headers.get("sec-fetch-site") != "cross-site":
        return
    follows = headers.get("sec-fetch-mode") == "navigate"
    if not follows or headers.get("sec-fetch-dest", "document") != "document":
        raise Refused(403, "pages of another site are not served", code="origin")


def none_such(what: str) -> Refused:
    """The refusal of what is not there."""
    return Refused(404, what, code="not_found")
