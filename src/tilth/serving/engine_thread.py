"""The engine in a thread of its own; requests and letters pass through queues.

    thread = EngineThread(engine, most=128)
    async with await thread.open([Ask(ids, 20, sampling)]) as answers:
        async for choice, event in answers:        # until each choice has had its last event
            ...                                    # leaving early cancels what is not over

The engine never waits for a reader: events lie in the reader's own list, which its own request
bounds (a token is asked for or it is not made). Whatever a step raises ends the requests that were
served, not the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import TilthError
from tilth.serving.refusal import Refused
from tilth.serving.sampler import Sampling

if TYPE_CHECKING:
    from tilth.serving.engine import Engine
    from tilth.serving.live import Event
    from tilth.serving.metrics import Measures

log = logging.getLogger("tilth.serving")


@dataclass(frozen=True)
class Ask:
    """One answer to give: arguments of `Engine.submit`."""

    ids: list[int]
    tokens: int
    sampling: Sampling
    scores: bool = False


class Answers:
    """The events of the answers that one request asked for, as (number of the answer, event)."""

    def __init__(self, thread: EngineThread, asks: Sequence[Ask]) -> None:
        self.asks, self._thread = asks, thread
        self.loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = self.loop.create_future()
        self.left = len(asks)  # in the loop: answers that have not had their last event
        self.numbers: dict[int, int] = {}  # in the thread: number of the engine -> of the answer
        self._events: deque[tuple[int, Any]] = deque()
        self._there = asyncio.Event()
        self._asked = time.perf_counter()
        self._last: dict[int, float] = {}  # when an answer had its last event

    async def __aenter__(self) -> Answers:
        return self

    async def __aexit__(self, *ignored: object) -> None:
        if self.left:
            self._thread.cancel(self)

    async def __aiter__(self) -> AsyncIterator[tuple[int, Event]]:
        open = len(self.asks)
        while open:
            await self._there.wait()
            self._there.clear()
            while self._events:
                choice, event = self._events.popleft()
                open -= bool(event.reason)
                yield choice, event

    def hand(self, choice: int, event: Event) -> None:
        """In the loop: one more event."""
        self.left -= bool(event.reason)
        if (measures := self._thread.measures) is not None:
            self._measure(measures, choice, event)
        self._events.append((choice, event))
        self._there.set()

    def _measure(self, measures: Measures, choice: int, event: Event) -> None:
        # The first event is the first token, or the end where there is none.
        now, first = time.perf_counter(), choice not in self._last
        if first and event.reason not in ("cancelled", "failed"):
            measures.begun(len(self.asks[choice].ids))
        if event.token is not None:
            measures.token(now - self._last.get(choice, self._asked), first)
        if event.reason:
            measures.ended(event.reason)
        self._last[choice] = now


class EngineThread:
    """`most`: answers that may wait or run at a time. `open` and `live` belong to the loop.
    `measures`: where tokens and their times are counted, if anywhere."""

    def __init__(self, engine: Engine, most: int) -> None:
        self.engine, self.most, self.live = engine, most, 0
        self.measures: Measures | None = None
        self._commands: queue.SimpleQueue[tuple[str, Answers | None]] = queue.SimpleQueue()
        self._owners: dict[int, Answers] = {}
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    async def open(self, asks: Sequence[Ask]) -> Answers:
        """Queue answers, all or none. Raises Refused, 429, where there is no room now, and what
        `Engine.submit` raises."""
        if len(asks) > self.most:
            raise Refused(400, f"{len(asks):,} answers are asked for; {self.most:,} may wait")
        if self.live + len(asks) > self.most:
            raise Refused(429, f"{self.live:,} answers wait or run already, at most {self.most:,}",
                          code="queue_full", headers={"retry-after": "1"})  # fmt: skip
        answers = Answers(self, asks)
        self.live += len(asks)
        self._commands.put(("open", answers))
        try:
            await answers.begun
        except asyncio.CancelledError:
            self.cancel(answers)
            raise
        return answers

    def cancel(self, answers: Answers) -> None:
        """Nobody listens any more."""
        self._commands.put(("cancel", answers))

    def stop(self) -> None:
        """End the thread after its step; what still runs is cancelled."""
        self._commands.put(("stop", None))
        self._thread.join()

    # In the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            waits = not self.engine.busy
            with contextlib.suppress(queue.Empty):
                while True:
                    name, answers = self._commands.get(block=waits)
                    waits = False
                    if answers is None:
                        return
                    (self._open if name == "open" else self._cancel)(answers)
            if self.engine.busy:
                try:
                    events = self.engine.step()
                except Exception as error:  # a fault of the engine itself: begin again, empty
                    log.exception("a step of the engine failed")
                    events = self._empty(error)
                self._deliver(events)

    def _open(self, answers: Answers) -> None:
        error: BaseException | None = None
        try:
            for choice, ask in enumerate(answers.asks):
                number = self.engine.submit(ask.ids, ask.tokens, ask.sampling, scores=ask.scores)
                answers.numbers[number] = choice
                self._owners[number] = answers
        except Exception as raised:
            error = raised if isinstance(raised, TilthError) else Refused(500, str(raised))
            for number in answers.numbers:
                self.engine.cancel(number)
                self._owners.pop(number, None)
            answers.numbers.clear()
        self._call(answers.loop, self._begun, answers, error)

    def _cancel(self, answers: Answers) -> None:
        for number in answers.numbers:
            if number in self._owners:
                self.engine.cancel(number)

    def _empty(self, error: Exception) -> list[Event]:
        from tilth.serving.live import Event

        for number in list(self._owners):
            with contextlib.suppress(Exception):
                self.engine.cancel(number)
        self.engine.waiting.clear()
        self.engine.running.clear()
        self.engine._events.clear()
        detail = f"{type(error).__name__}: {error}"[:300]
        return [Event(number, reason="failed", detail=detail) for number in self._owners]

    def _deliver(self, events: Sequence[Event]) -> None:
        batches: dict[asyncio.AbstractEventLoop, list[tuple[Answers, int, Event]]] = {}
        for event in events:
            answers = self._owners.get(event.request)
            if answers is None:  # its request was refused as a whole
                continue
            found = (answers, answers.numbers[event.request], event)
            batches.setdefault(answers.loop, []).append(found)
            if event.reason:
                del self._owners[event.request]
        for loop, batch in batches.items():
            if not self._call(loop, self._hand, batch):
                self.live -= sum(bool(event.reason) for _, _, event in batch)

    def _call(self, loop: asyncio.AbstractEventLoop, function: Any, *arguments: Any) -> bool:
        """Whether there is somebody to call: a loop that is closed has nobody who waits."""
        try:
            loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    # In the loop ---------------------------------------------------------------------------------

    def _begun(self, answers: Answers, error: BaseException | None) -> None:
        if error is not None:
            self.live -= answers.left
            answers.left = 0
        if answers.begun.done():
            return
        if error is None:
            answers.begun.set_result(None)
        else:
            answers.begun.set_exception(error)

    def _hand(self, batch: Sequence[tuple[Answers, int, Event]]) -> None:
        for answers, choice, event in batch:
            self.live -= bool(event.reason)
            answers.hand(choice, event)
