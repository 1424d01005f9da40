"""One answer over HTTP: whole, or by server-sent events; cut off where nobody listens.

An `Endpoint` is an ASGI application around a piece of work. The work ends when its sender hangs up
and at its deadline; so does what it asked of the engine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from tilth.errors import TilthError
from tilth.serving.guard import Message, Receive, Send, send_body, send_json
from tilth.serving.refusal import Refused, refusal

# Seconds in which a reader takes the last word of an answer that is broken off.
LAST = 2.0
# Values of a list that are written as JSON at once, and how deep lists and objects are written part
# by part: down to the single tokens of `choices`.
TOGETHER, DEPTH = 512, 5
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
]


class Sender:
    """What an answer is written with. `streams`: events have begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.streams = send, False

    async def json(self, value: Any, status: int = 200) -> None:
        await send_json(self._send, status, value)

    async def made(self, make: Callable[[], Any]) -> None:
        """An answer that may be large: what `make` gives is made and written beside the loop."""
        await send_json(self._send, 200, await asyncio.to_thread(lambda: encoded(make())))

    async def text(self, body: bytes, kind: str) -> None:
        """An answer that is not JSON; `kind`: its content type."""
        await send_body(self._send, 200, body, {"content-type": kind, "cache-control": "no-store"})

    async def open(self) -> None:
        """Begin a stream of events: the request has been accepted."""
        self.streams = True
        await self._send({"type": "http.response.start", "status": 200, "headers": EVENTS})

    async def event(self, value: Any) -> None:
        """One event, whole."""
        await self._data(_json(value))

    async def end(self) -> None:
        """The end of a stream, as OpenAI marks it."""
        await self._data("[DONE]", more=False)

    async def fail(self, refused: Refused) -> None:
        """An error within a stream: its last event."""
        await self._data(_json(refused.form()), more=False)

    async def _data(self, data: str, more: bool = True) -> None:
        body = f"data: {data}\n\n".encode()
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def encoded(value: Any) -> bytes:
    """JSON as `json.dumps` writes it, while other threads run. Iterators are lists."""
    return "".join(parts(value)).encode("utf-8")


def parts(value: Any, depth: int = DEPTH) -> Iterator[str]:
    """JSON in parts: while one of them is written Python's lock is kept."""
    if depth and isinstance(value, dict):
        between = "{"
        for name, one in value.items():
            yield f"{between}{_json(name)}: "
            yield from parts(one, depth - 1)
            between = ", "
        yield "}" if value else "{}"
    elif depth and (isinstance(value, Iterator) or _nested(value)):
        between = "["
        for one in value:
            yield between
            yield from parts(one, depth - 1)
            between = ", "
        yield "]" if between == ", " else "[]"
    elif isinstance(value, list) and len(value) > TOGETHER:
        for start in range(0, len(value), TOGETHER):
            yield ", " if start else "["
            yield _json(value[start : start + TOGETHER])[1:-1]
        yield "]"
    else:
        yield _json(value)


def _nested(value: Any) -> bool:
    # The first log-probability of a list may be none.
    return isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value[:2])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# The body of a request, what its path names, and how to answer.
Work = Callable[[bytes, dict[str, str], Sender], Awaitable[None]]


class Endpoint:
    """A route's application. `deadline`: seconds for the whole answer, waiting and writing too."""

    def __init__(self, work: Work, deadline: float) -> None:
        self._work, self._deadline = work, deadline

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        first: Message = await receive()
        sender = Sender(send)
        named = dict(scope.get("path_params", {}))
        work = asyncio.ensure_future(self._work(first.get("body", b""), named, sender))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            done, _ = await asyncio.wait(
                {work, gone}, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED
            )
            if gone in done and work not in done:
                return
            if work not in done:
                # Asked again it would take as long.
                raise Refused(504, f"no answer within {self._deadline:g} seconds", code="deadline",
                              headers={"x-should-retry": "false"})  # fmt: skip
            work.result()
        except Refused as refused:
            await _broken(sender, refused)
        except TilthError as error:
            await _broken(sender, refusal(error))
        except asyncio.CancelledError:
            # A server that is told twice to stop: whoever still listens learns why this ends.
            await _broken(sender, Refused(503, "the server was stopped"))
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


async def _broken(sender: Sender, refused: Refused) -> None:
    """Say it within the stream where there is one; else whoever called answers with it."""
    if not sender.streams:
        raise refused
    try:
        async with asyncio.timeout(LAST):
            await sender.fail(refused)
    except TimeoutError:
        raise refused from None


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
