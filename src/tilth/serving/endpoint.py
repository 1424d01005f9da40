"""The driver `endpoint`: any server that speaks OpenAI's API, with the `openai` client.

    generator = Endpoint("http://127.0.0.1:8000/v1", model="my-model")
    answers = generator.generate(["What is soil?"], {"temperature": 0, "max_tokens": 100})

Each request has its own time limit, from start to end, and its own outcome. What the server or the
line spoils (429, 5xx, a cut answer) is tried again after a wait that doubles, or that the server
names. What cannot get better is not: a wrong key or model is an error of the user. The key is read
from an environment variable that the user names, and is sent nowhere else.

When: texts that need a language model. When not: where results must be the same tomorrow; record
them (`replay.Record`) and replay.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tilth.errors import UsageError
from tilth.serving.answering import Answering, Request
from tilth.serving.attempts import Spoilt, attempt, retry_after
from tilth.serving.endpoint_answers import Streamed, chunks, read_chat, read_echo, scores_of
from tilth.types import Answer

MAXIMUM_WAIT_SECONDS = 60.0
PROBE = "The quick brown fox"


class Endpoint(Answering):
    """`base_url` ends as the server wants it, often in /v1. `key`: name of the environment
    variable that holds the key; none is sent where it is empty. `system`: a first message.
    `concurrency`: requests at once. `retries`: further attempts after the first. `seconds`: for
    one attempt. `wait`: seconds before the first further attempt, doubled each time.

    Raises UsageError where the key is not set, or the server refuses key, address or model.
    """

    driver = "endpoint"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str = "",
        system: str = "",
        concurrency: int = 4,
        retries: int = 4,
        seconds: float = 120.0,
        wait: float = 1.0,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise UsageError(f"{base_url!r} is no address", hint="http://127.0.0.1:8000/v1")
        if concurrency < 1 or retries < 0 or not seconds > 0:
            raise UsageError("concurrency is at least 1, retries 0, seconds above 0")
        if key and not os.environ.get(key):
            raise UsageError(f"the environment variable {key} is not set", where="key")
        self.base_url, self.model, self.system, self.key = base_url, model, system, key
        self.concurrency, self.retries = concurrency, retries
        self.seconds, self.wait = seconds, wait

    def render(self, prompt: str) -> str:
        return json.dumps(self._messages(prompt), ensure_ascii=False)

    def _messages(self, prompt: str) -> list[dict[str, str]]:
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, {"role": "user", "content": prompt}]

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        async def ask(client: Any, place: int) -> Answer:
            request = requests[place]

            async def once() -> Answer:
                found = await client.chat.completions.create(
                    model=self.model, messages=self._messages(request.prompt),
                    **dict(request.sampling),
                )  # fmt: skip
                return read_chat(found)

            return await self._persist(once)

        yield from self._spread(ask, len(requests))

    def stream(
        self, prompt: str, sampling: Mapping[str, Any] | None = None
    ) -> Iterator[str | Answer]:
        """The letters of one answer as they come; last, the answer. Closing it hangs up.

        Tried again as other requests are, but not once there were letters. A server that answers
        whole although a stream was asked for gives one piece.
        """
        (request,) = self.requests([prompt], sampling or {})
        arrived: queue.Queue[Any] = queue.Queue()
        asked = {"model": self.model, "messages": self._messages(prompt), **dict(request.sampling)}
        reply = Streamed()

        async def ask(client: Any, place: int) -> Answer:
            async def once() -> Answer:
                nonlocal reply
                reply = Streamed()
                async for chunk in chunks(client, asked):
                    if letters := reply.take(chunk):
                        arrived.put((place, letters))
                if reply.finish:
                    return reply.answer()
                if reply.chunks:
                    raise Spoilt("failed", "the stream ended before the answer did")
                answer = read_chat(await client.chat.completions.create(**asked))
                if answer.outcome == "ok":
                    arrived.put((place, answer.text))
                return answer

            return await self._persist(once, again=lambda: not reply.text)

        for _, found in self._spread(ask, 1, arrived):
            yield found

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of each text's tokens but the first, by completions with echo.

        Raises UsageError where the server does not offer that; DataError where a text fails.
        """
        if isinstance(texts, str):
            raise UsageError("texts are a list of texts, not one text")
        extra = self._probe_echo()

        async def ask(client: Any, place: int) -> Answer:
            return await self._persist(lambda: self._echo(client, texts[place], extra))

        answers = dict(self._spread(ask, len(texts)))
        return [scores_of(answers[place], texts[place]) for place in range(len(texts))]

    def _probe_echo(self) -> int:
        """How many further tokens the server wants to make so that it scores a text: 0 or 1."""
        reasons = []
        for extra in (0, 1):

            async def ask(client: Any, place: int, extra: int = extra) -> Answer:
                return await self._persist(lambda: self._echo(client, PROBE, extra))

            (_, answer), *_ = self._spread(ask, 1)
            if answer.outcome == "ok":
                return extra
            reasons.append(answer.reason)
        raise UsageError(
            f"gives no log-probabilities of a given text: {reasons[0]}",
            where=self.base_url,
            hint="scoring needs completions with echo and logprobs",
        )

    async def _echo(self, client: Any, text: str, extra: int) -> Answer:
        found = await client.completions.create(
            model=self.model, prompt=text, max_tokens=extra, echo=True, logprobs=0, temperature=0
        )
        return read_echo(found, text, extra)

    async def _persist(
        self, once: Callable[[], Any], again: Callable[[], bool] = lambda: True
    ) -> Answer:
        """One request with its further attempts, as long as `again` allows them."""
        wait = self.wait
        for number in range(self.retries + 1):
            try:
                return await attempt(once, self.seconds, self.base_url)
            except Spoilt as error:
                spoilt = error
            if not again():
                return Answer(spoilt.outcome, reason=f"{spoilt.reason}, in the middle")
            if number < self.retries:
                # Spread, so that requests that failed together do not come back together.
                pause = max(retry_after(spoilt), wait * (0.5 + random.random() / 2))
                await asyncio.sleep(min(pause, MAXIMUM_WAIT_SECONDS))
                wait *= 2
        tries = f", {self.retries + 1} attempts" if self.retries else ""
        return Answer(spoilt.outcome, reason=f"{spoilt.reason}{tries}")

    def _spread(
        self, ask: Callable[[Any, int], Any], count: int, arrived: queue.Queue[Any] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Answers from an event loop in a thread of its own, as they come; and what else is put
        into `arrived`."""
        arrived = queue.Queue() if arrived is None else arrived
        stop = threading.Event()
        places = iter(range(count))

        async def work(client: Any) -> None:
            for place in places:
                if stop.is_set():
                    return
                arrived.put((place, await ask(client, place)))

        async def run() -> None:
            async with self._client() as client:
                jobs = [asyncio.ensure_future(work(client)) for _ in range(self.concurrency)]
                watch = asyncio.ensure_future(_cancel_when(stop, jobs))
                try:
                    await asyncio.gather(*jobs)
                finally:
                    watch.cancel()
                    for job in jobs:
                        job.cancel()
                    await asyncio.gather(*jobs, watch, return_exceptions=True)

        def main() -> None:
            try:
                asyncio.run(run())
                arrived.put(None)
            except BaseException as error:
                arrived.put(error)

        if not count:
            return
        thread = threading.Thread(target=main, daemon=True)
        thread.start()
        try:
            while (found := arrived.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stop.set()
            thread.join()

    def _client(self) -> Any:
        import openai

        secret = os.environ.get(self.key, "") if self.key else ""
        # The client insists on a key; a server that wants none ignores it.
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=secret or "none", max_retries=0, timeout=self.seconds,
            organization="", project="",
        )  # fmt: skip


async def _cancel_when(stop: threading.Event, jobs: Sequence[asyncio.Future[None]]) -> None:
    """Cancel the jobs once nobody waits for them any more."""
    while not stop.is_set():
        await asyncio.sleep(0.05)
    for job in jobs:
        job.cancel()
