"""Who is let in: the key as Bearer or as the password of Basic; without a key, a token once.

On loopback without a key everybody on this machine may read. What costs or changes is for who has
opened the printed address with its token, which is then changed for a cookie: a page of another
origin has no cookie (SameSite) and cannot read one (HttpOnly), and the token stays out of the
address, the history and the referrer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs, quote

from tilth.serving.refusal import Refused


class Admission:
    """`key`: empty for none. `token`: of the printed address, where there is no key."""

    def __init__(self, key: str, token: str) -> None:
        self._key, self._token = key.encode("utf-8"), token.encode("utf-8")
        # What the cookie holds does not open the address, and names nothing else.
        self._pass = hmac.digest(self._token, b"cookie", hashlib.sha256).hex() if token else ""

    @property
    def wanted(self) -> bool:
        """Whether a key is asked for."""
        return bool(self._key)

    def trusts(self, scope: MutableMapping[str, Any], headers: MutableMapping[bytes, str]) -> bool:
        """Whether the key, or without one the cookie, came with a request."""
        if not self._key:
            given = _cookie(headers.get(b"cookie", ""), _name(scope))
            return bool(self._pass) and hmac.compare_digest(given.encode(), self._pass.encode())
        kind, _, given = headers.get(b"authorization", "").partition(" ")
        key = given.strip().encode("latin-1")
        if kind.lower() == "basic":
            try:
                key = base64.b64decode(key, validate=True).partition(b":")[2]
            except ValueError:
                return False
        return kind.lower() in ("bearer", "basic") and hmac.compare_digest(key, self._key)

    def changed(self, scope: MutableMapping[str, Any]) -> dict[str, str] | None:
        """The headers of a redirect that changes the token of an address for the cookie; None for
        an address without one. Raises Refused for a wrong one."""
        if not self._token or scope["method"] != "GET":
            return None
        given = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if "token" not in given:
            return None
        if not hmac.compare_digest(given["token"][0].encode("utf-8"), self._token):
            raise Refused(403, "this token is not that of this server: it printed its address when "
                          "it was started", code="token")  # fmt: skip
        return {
            # One slash at the front: two would name another host.
            "location": "/" + quote(scope["path"].lstrip("/\\")),
            "set-cookie": f"{_name(scope)}={self._pass}; Path=/; HttpOnly; SameSite=Strict",
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
        }


def _name(scope: MutableMapping[str, Any]) -> str:
    """Cookies do not know ports: servers on two ports of one machine have a name each."""
    return f"tilth-{(scope.get('server') or ('', 0))[1]}"


def _cookie(header: str, name: str) -> str:
    """The value of a cookie; empty where there is none."""
    for part in header.split(";"):
        found, _, value = part.strip().partition("=")
        if found == name:
            return value
    return ""
