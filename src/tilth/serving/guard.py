"""The one guard before all routes: Host, Origin, key, limits; in this order, before any route.

Host: an IP address, `localhost` or a name that the server was given, so that no page on the web can
reach a server on loopback through a name of its own that it turns to 127.0.0.1. Origin: none, or
the server's own, so that no other page's script is served. Key: on every path that `is_open` does
not name, known or not; programs send it as Bearer, browsers as the password of Basic. Limits:
requests at a time, bytes and seconds of a body.

What costs or changes asks for `scope["tilth.trusted"]` as well; see `admission`.

An ASGI application around another. What comes out of that as `Refused` or as any other error is
answered in OpenAI's form, or as a page where a browser asks; the server goes on.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tilth.serving.admission import Admission
from tilth.serving.limits import Limits
from tilth.serving.refusal import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# The only paths that are served without the key; below the second, one part that is a signed token.
OPEN = frozenset({"/health"})
OPEN_BELOW = ("/mail/confirm/", "/mail/unsubscribe/")
CHALLENGE = {"www-authenticate": "Bearer"}
# Browsers ask for a name and a password; the password is the key, the name may be any.
CHALLENGE_BROWSERS = {"www-authenticate": 'Basic realm="tilth", charset="UTF-8"'}
log = logging.getLogger("tilth.serving")

# A refusal as a page: its bytes and headers.
Drawn = Callable[[Refused], tuple[bytes, dict[str, str]]]


def is_open(path: str) -> bool:
    """Whether a path is served without the key."""
    for prefix in OPEN_BELOW:
        last = path.removeprefix(prefix)
        if last != path and last and "/" not in last:
            return True
    return path in OPEN


class Guard:
    """`app`: what is guarded. `key`: empty for none; `names`: further names of this host.

    `token`: of the printed address, where there is no key; empty for none. `drawn` makes pages of
    refusals for browsers; None answers them like programs.
    """

    def __init__(
        self, app: App, *, key: str = "", names: Sequence[str] = (), limits: Limits | None = None,
        token: str = "", drawn: Drawn | None = None,
    ) -> None:  # fmt: skip
        self.app, self.limits, self._drawn = app, limits or Limits(), drawn
        self._admission = Admission(key, token)
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._now = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served")
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self._now += 1
        try:
            self.check(scope)
            redirect = self._admission.changed(scope)
            if redirect is not None:
                return await send_body(sending, 303, b"", redirect)
            body = await self._body(scope, receive)
            if body is None:
                return
            await self.app(scope, _again(body, receive), sending)
        except Refused as refused:
            if started:
                log.warning("an answer was broken off: %s", refused.message)
            else:
                await self._refuse(scope, send, refused)
        except Exception:
            log.exception("a request failed")
            if not started:
                failed = Refused(500, "the server failed; its log says why")
                await self._refuse(scope, send, failed)
        finally:
            self._now -= 1

    def check(self, scope: MutableMapping[str, Any]) -> None:
        """Raises Refused for a request that is not to be served, whatever it asks."""
        headers = _headers(scope)
        host = headers.get(b"host", "")
        if not self._known(host):
            raise Refused(403, "this host name is not served: tilth serve --name NAME", code="host")
        origin = headers.get(b"origin")
        if origin is not None and not _same(origin, host):
            raise Refused(403, "pages of another origin are not served", code="origin")
        scope["tilth.trusted"] = trusted = self._admission.trusts(scope, headers)
        if self._admission.wanted and not trusted and not is_open(scope["path"]):
            challenge = CHALLENGE_BROWSERS if self._draws(headers) else CHALLENGE
            raise Refused(401, "this server wants its key: Authorization: Bearer KEY, or any name "
                          "and the key as password", code="invalid_key",
                          headers=challenge)  # fmt: skip
        if self._now > self.limits.requests:
            raise Refused(429, f"{self.limits.requests:,} requests are served at a time",
                          headers={"retry-after": "1"})  # fmt: skip
        size = headers.get(b"content-length", "0")
        if not size.isascii() or not size.isdigit() or len(size) > 18:
            raise Refused(400, "content-length is no number")
        if int(size) > self.limits.body:
            raise self._large()

    def _draws(self, headers: dict[bytes, str]) -> bool:
        return self._drawn is not None and "text/html" in headers.get(b"accept", "")

    async def _refuse(
        self, scope: MutableMapping[str, Any], send: Send, refused: Refused
    ) -> None:  # fmt: skip
        if self._drawn is None or not self._draws(_headers(scope)):
            return await send_json(send, refused.status, refused.form(), refused.headers)
        body, headers = self._drawn(refused)
        await send_body(send, refused.status, body, {**headers, **refused.headers})

    def _known(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _large(self) -> Refused:
        return Refused(413, f"a body has at most {self.limits.body:,} bytes")

    async def _body(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
        """The whole body; None where the sender is gone."""
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] != "http.request":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > self.limits.body:
                        raise self._large()
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refused(408, f"the body was not there within {self.limits.body_seconds:g} "
                          "seconds", headers={"connection": "close"}) from None  # fmt: skip
        return b"".join(parts)


def _headers(scope: MutableMapping[str, Any]) -> dict[bytes, str]:
    """Of two of one name the first."""
    return {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}


def _same(origin: str, host: str) -> bool:
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    return found.scheme in ("http", "https") and found.netloc.lower() == host.lower()


def _again(body: bytes, receive: Receive) -> Receive:
    """The body in one piece, then what comes after it: that the sender is gone."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return receiving


async def send_json(
    send: Send, status: int, value: Any, headers: MutableMapping[str, str] | None = None
) -> None:
    """A whole answer that is JSON; `value`: bytes where it has been written as such."""
    body = value
    if not isinstance(body, bytes):
        body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    named = {"content-type": "application/json", "x-content-type-options": "nosniff"}
    await send_body(send, status, body, {**named, "cache-control": "no-store", **(headers or {})})


async def send_body(
    send: Send, status: int, body: bytes, headers: MutableMapping[str, str]
) -> None:  # fmt: skip
    """A whole answer with its length."""
    named = {**headers, "content-length": str(len(body))}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
