"""Answers of an `endpoint` from what the `openai` client gives: whole, in chunks, scores of a text.

Servers that speak OpenAI's API differ in what they leave out. What is no answer of that API is a
malformed answer, and nothing of it is guessed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tilth.errors import DataError
from tilth.serving.answering import checked
from tilth.serving.attempts import Spoilt
from tilth.types import Answer


def read_chat(found: Any) -> Answer:
    """An answer from what `chat.completions.create` gave."""
    try:
        choice = found.choices[0]
        message = choice.message
        refusal = getattr(message, "refusal", None)
        return _answer(message.content, refusal, choice.finish_reason)
    except (AttributeError, IndexError, TypeError):
        return Answer("malformed", reason="not an answer of the chat API")


async def chunks(client: Any, asked: Mapping[str, Any]) -> AsyncIterator[Any]:
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

    def answer(self) -> Answer:
        """What has arrived, as an answer: once there is a `finish`."""
        return _answer(self.text, self.refusal, self.finish)


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


def scores_of(answer: Answer, text: str) -> list[float]:
    """The log-probabilities in an answer of `read_echo`. DataError where it holds none."""
    if answer.outcome != "ok":
        start = " ".join(text.split())[:60]
        raise DataError(f"no log-probabilities of {start!r}: {answer.outcome}, {answer.reason}")
    return [float(value) for value in json.loads(answer.text)]
