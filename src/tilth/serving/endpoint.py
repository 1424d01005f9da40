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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from tilth.errors import DataError, UsageError
from tilth.serving.answering import Answering, Request, checked
from tilth.serving.attempts import Spoilt, attempt, retry_after
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
                async for chunk in _chunks(client, asked):
                    if letters := reply.take(chunk):
                        arrived.put((place, letters))
                if reply.finish:
                    return _answer(reply.text, reply.refusal, reply.finish)
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
        return [_scored(answers[place], texts[place]) for place in range(len(texts))]

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


async def _chunks(client: Any, asked: Mapping[str, Any]) -> AsyncIterator[Any]:
    """The chunks of a stream. Raises Spoilt for what the client does not turn into its own errors:
    a line that breaks, and a failure that the server tells within the stream."""
    import openai

    try:
        async for chunk in await client.chat.completions.create(stream=True, **asked):
            yield chunk
    except openai.APIError as error:
        if type(error) is not openai.APIError:
            raise
        raise Spoilt("failed", " ".join(str(error.message).split())[:200]) from None
    except (openai.OpenAIError, TimeoutError, ValueError):
        raise
    except Exception as error:
        # Of the library that carries the requests; which one that is depends on the client.
        raise Spoilt("failed", f"no connection: {type(error).__name__}: {error}"[:300]) from None


async def _cancel_when(stop: threading.Event, jobs: Sequence[asyncio.Future[None]]) -> None:
    """Cancel the jobs once nobody waits for them any more."""
    while not stop.is_set():
        await asyncio.sleep(0.05)
    for job in jobs:
        job.cancel()


def read_chat(found: Any) -> Answer:
    """An answer from what `chat.completions.create` gave."""
    try:
        choice = found.choices[0]
        message = choice.message
        refusal = getattr(message, "refusal", None)
        return _answer(message.content, refusal, choice.finish_reason)
    except (AttributeError, IndexError, TypeError):
        return Answer("malformed", reason="not an answer of the chat API")


class Streamed:
    """An answer that comes in chunks. `text`: its letters so far; `finish`: why it ended, empty
    before that."""

    def __init__(self) -> None:
        self.text = self.refusal = self.finish = ""
        self.chunks = 0

    def take(self, chunk: Any) -> str:
        """The letters of a chunk; chunks without a choice (usage) and of other forms have none."""
        choice = next(iter(getattr(chunk, "choices", None) or ()), None)
        delta = getattr(choice, "delta", None)
        if delta is None:
            return ""
        self.chunks += 1
        letters = getattr(delta, "content", None)
        letters = letters if isinstance(letters, str) else ""
        self.text += letters
        self.refusal += getattr(delta, "refusal", None) or ""
        self.finish = getattr(choice, "finish_reason", None) or self.finish
        return letters


def _answer(text: Any, refusal: str | None, finish: str | None) -> Answer:
    if refusal or finish == "content_filter":
        return Answer("refused", text or "", refusal or "content filter")
    answer = checked(text)
    if answer.outcome == "ok" and finish == "length":
        return Answer("ok", answer.text, "cut at max_tokens")
    return answer


def read_echo(found: Any, text: str, extra: int) -> Answer:
    """An answer that holds the log-probabilities of the text's tokens but the first, as JSON."""
    try:
        details = found.choices[0].logprobs
        values = list(details.token_logprobs)
        tokens = list(details.tokens)
    except (AttributeError, IndexError, TypeError):
        return Answer("malformed", reason="no log-probabilities in the answer")
    if extra:
        values, tokens = values[:-extra], tokens[:-extra]
    scored = values[1:]
    if not values or not all(isinstance(value, (int, float)) for value in scored):
        return Answer("malformed", reason="log-probabilities do not cover the text")
    if len(text.split()) > 1 and not scored:
        return Answer("malformed", reason="log-probabilities do not cover the text")
    return Answer("ok", json.dumps(scored))


def _scored(answer: Answer, text: str) -> list[float]:
    if answer.outcome != "ok":
        start = " ".join(text.split())[:60]
        raise DataError(f"no log-probabilities of {start!r}: {answer.outcome}, {answer.reason}")
    return [float(value) for value in json.loads(answer.text)]
