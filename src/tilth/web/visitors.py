"""Who votes: a random name in a signed cookie, given with the first vote and never before.

The signature (HMAC-SHA256) makes names that were not given out worthless; how many are given out is
limited for each sender. A name says nothing of a person and is no key to anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from starlette.requests import Request
from starlette.responses import Response

from tilth.web.limiter import Limiter, visitor_of

COOKIE = "tilth-visitor"
YEAR = 365 * 24 * 3600
_FORM = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class Visitors:
    """`secret`: bytes that sign the names; with others all visitors are new ones."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        # New names: an hour, for one sender and for all together.
        self._new = Limiter(each=(30, 3600.0), everyone=(1000, 3600.0))

    def named(self, request: Request) -> str:
        """The visitor of a request; empty for one without a cookie of ours."""
        form = _FORM.fullmatch(request.cookies.get(COOKIE, ""))
        if form is None or not hmac.compare_digest(form[2], self._signature(form[1])):
            return ""
        return form[1]

    def admitted(self, request: Request) -> str:
        """The visitor of a request, a new one where there is none. Raises Refused (429)."""
        found = self.named(request)
        if not found:
            self._new.check(visitor_of(request), "new visitors")
        return found or secrets.token_hex(16)

    def remember(self, visitor: str, response: Response) -> None:
        """Give a visitor the cookie."""
        response.set_cookie(COOKIE, f"{visitor}.{self._signature(visitor)}", max_age=YEAR,
                            httponly=True, samesite="strict")  # fmt: skip

    def _signature(self, visitor: str) -> str:
        what = f"tilth visitor\n{visitor}".encode()
        return hmac.digest(self._secret, what, hashlib.sha256).hex()
