"""What a server has done so far, in numbers, as Prometheus reads them: `GET /metrics`.

    measures = Measures()
    Route("/tokenize", Counted("/tokenize", application, measures))
    measures.engine(thread)             # how full it is, read whenever somebody asks
    measures.text()                     # bytes of Prometheus's text format

Paths are those of the literal table of routes; no text, address or name of anybody is kept. What
the guard refuses (the key, the host, too much at a time) and pages are not among them. Times of
tokens are those at which the server itself has them, from the moment an answer is queued, however
slowly a reader takes them. Needs the extra `web`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tilth.serving.refusal import Refused

if TYPE_CHECKING:
    from tilth.serving.engine_thread import EngineThread
    from tilth.serving.guard import App, Message, Receive, Send

# Upper ends of the histograms, in seconds.
WHOLE = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
STEP = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Measures:
    """Counters of one server. Any thread may add to them."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tilth_requests",
            "Requests by path and by the status that their answer began with; gone: nobody waited "
            "for it. How the answers of a model ended is tilth_answers_total.",
            ("path", "status"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "tilth_request_seconds", "Seconds of a whole request.", ("path",), buckets=WHOLE,
            registry=registry,
        )  # fmt: skip
        self._answers = Counter(
            "tilth_answers", "Answers of the model by how they ended: stop, length, cancelled, "
            "failed.", ("reason",), registry=registry,
        )  # fmt: skip
        self._prompt_tokens = Counter(
            "tilth_prompt_tokens", "Tokens of prompts, those of n answers n times.",
            registry=registry,
        )  # fmt: skip
        self._answer_tokens = Counter("tilth_answer_tokens", "Tokens written.", registry=registry)
        self._first = Histogram(
            "tilth_first_token_seconds", "Seconds until an answer's first token.", buckets=WHOLE,
            registry=registry,
        )  # fmt: skip
        self._between = Histogram(
            "tilth_between_tokens_seconds", "Seconds between two tokens of an answer; with a draft "
            "those of a round come at once.", buckets=STEP, registry=registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """All of it, as it is now."""
        return generate_latest(self._registry)

    def engine(self, thread: EngineThread) -> None:
        """Show how full this thread's engine is. Once."""
        engine = thread.engine
        table = engine.cache.table
        now: dict[str, tuple[str, Callable[[], float]]] = {
            "tilth_answers_running": ("Answers in the engine's rows.", lambda: len(engine.running)),
            "tilth_answers_waiting": (
                "Answers that wait for a place.",
                lambda: max(0, thread.live - len(engine.running)),
            ),
            "tilth_answers_most": ("Answers that may wait or run.", lambda: thread.most),
            "tilth_cache_tokens_free": ("Tokens that the cache has room for.",
                                        lambda: table.free * engine.cache.block),
            "tilth_cache_tokens": ("Tokens that the cache can hold.",
                                   lambda: table.total * engine.cache.block),
        }  # fmt: skip
        for name, (what, value) in now.items():
            Gauge(name, what, registry=self._registry).set_function(value)

    def begun(self, prompt: int) -> None:
        """The engine has read a prompt of so many tokens."""
        self._prompt_tokens.inc(prompt)

    def token(self, seconds: float, first: bool) -> None:
        """A token of an answer, so long after the one before, or after it was asked for."""
        self._answer_tokens.inc()
        (self._first if first else self._between).observe(seconds)

    def ended(self, reason: str) -> None:
        """An answer is over."""
        self._answers.labels(reason).inc()

    def answered(self, path: str, status: str, seconds: float) -> None:
        """A request is over."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)


class Counted:
    """An ASGI application around another one, each of whose answers is counted."""

    def __init__(self, path: str, app: App, measures: Measures) -> None:
        self._path, self._app, self._measures = path, app, measures

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        began, status = time.perf_counter(), "gone"

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Refused as refused:
            status = str(refused.status)
            raise
        except Exception:
            status = "500"
            raise
        finally:
            self._measures.answered(self._path, status, time.perf_counter() - began)
