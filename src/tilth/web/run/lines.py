"""An answer in lines of JSON, each sent as soon as it is made; it ends when its reader is gone."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, MutableMapping
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from tilth.serving.guard import Receive, Send
from tilth.web.page import HEADERS

MEDIA = "application/x-ndjson; charset=utf-8"


class Lines(StreamingResponse):
    """`made`: what gives the lines. It is closed at the end, also where nobody has read it to the
    end: left to the garbage collector, what it holds would be held for a while."""

    def __init__(self, made: Generator[str, None, None] | AsyncGenerator[str, None]) -> None:
        super().__init__(made, headers={**HEADERS, "x-accel-buffering": "no"}, media_type=MEDIA)
        self._made = made

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                if isinstance(self._made, AsyncGenerator):
                    await self._made.aclose()
                else:
                    await run_in_threadpool(self._made.close)


def line(**values: Any) -> str:
    """One line."""
    return json.dumps(values, ensure_ascii=False) + "\n"
