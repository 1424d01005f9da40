"""The answer to one request in OpenAI's objects: `text_completion`, `chat.completion`, chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tilth.serving.live import Completion, Event
from tilth.serving.openai_forms import Asked
from tilth.serving.sampler import Drawn
from tilth.serving.spelling import Offsets
from tilth.serving.streaming import Sender

if TYPE_CHECKING:
    from tilth.serving.text_model import TextModel

# JSON has no infinity; OpenAI writes this for what is never drawn.
NEVER = -9999.0


class Reply:
    """Gathers the events of all answers (`n` for each prompt) and writes them."""

    def __init__(
        self, model: TextModel, asked: Asked, prompts: Sequence[list[int]], chat: bool
    ) -> None:
        self._asked, self._prompts, self._chat = asked, prompts, chat
        self._spelling, self._head = model.spelling, model.head(chat)
        count = asked.count * len(prompts)
        self._answers = [Completion() for _ in range(count)]
        # In a stream, where tokens begin; and how many were given.
        self._at = [Offsets(self._spelling) for _ in range(count)]
        self._made = [0] * count
        self._silent = asked.tokens == 0

    @cached_property
    def echoes(self) -> list[str]:
        """The prompts as texts, where they are given back. Takes time: not for the loop."""
        return [self._text(prompt) for prompt in self._asked.prompts] if self._asked.echo else []

    def _text(self, prompt: str | list[int]) -> str:
        if isinstance(prompt, str):
            return prompt
        found = b"".join(self._spelling.bytes(token) for token in prompt)
        return found.decode("utf-8", "replace")

    def _echo(self, choice: int) -> str:
        return self.echoes[choice // self._asked.count] if self._asked.echo else ""

    # Whole ---------------------------------------------------------------------------------------

    def add(self, choice: int, event: Event) -> None:
        """Take in an event of an answer that is sent whole."""
        self._made[choice] += event.token is not None and not self._silent
        self._answers[choice].add(event)

    def whole(self) -> dict[str, Any]:
        """The object that is sent when all answers are over, its choices made one by one. Takes
        time: not for the loop."""
        kind = "chat.completion" if self._chat else "text_completion"
        choices = (self._choice(number, one) for number, one in enumerate(self._answers))
        return {**self._head, "object": kind, "choices": choices, "usage": self._usage()}

    def _choice(self, number: int, answer: Completion) -> dict[str, Any]:
        text, tokens = answer.text, answer.tokens
        reason = answer.reason
        if self._silent:
            text, tokens, reason = "", [], "length"
        wants = self._asked.sampling.logprobs is not None
        if self._chat:
            logprobs = {"content": self._content(tokens), "refusal": None} if wants else None
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": number, "message": message, "logprobs": logprobs,
                    "finish_reason": reason}  # fmt: skip
        scored = self._scored(number, answer) if self._asked.echo else []
        before = 0 if scored else len(self._echo(number))
        offsets = Offsets(self._spelling, before)
        logprobs = self._logprobs([*scored, *tokens], offsets) if wants else None
        return {"index": number, "text": self._echo(number) + text, "logprobs": logprobs,
                "finish_reason": reason}  # fmt: skip

    def _scored(self, number: int, answer: Completion) -> list[Drawn]:
        """The prompt's tokens. The first of token ids has nothing before it; a text follows the
        token that begins a document, which is not shown, unless it was asked for without."""
        place = number // self._asked.count
        first = self._prompts[place][0]
        hidden = self._asked.begun and isinstance(self._asked.prompts[place], str)
        shown = [] if hidden else [Drawn(first)]
        return [*shown, *answer.prompt]

    # One by one ----------------------------------------------------------------------------------

    async def begin(self, sender: Sender) -> None:
        """The first chunks: the role of a chat, the prompt of an echo."""
        if self._asked.echo:
            await asyncio.to_thread(lambda: self.echoes)
        await sender.open()
        for choice in range(len(self._answers)):
            if self._chat:
                await self._send(sender, choice, {"role": "assistant", "content": ""}, None, None)
            elif self._asked.echo:
                await self._send(sender, choice, self._echo(choice), None, None)

    async def stream(self, choice: int, event: Event, sender: Sender) -> None:
        """A chunk for an event, where there is something to say."""
        text, tokens = event.text, [event.token] if event.token is not None else []
        if self._silent:
            text, tokens = "", []
        self._made[choice] += len(tokens)
        logprobs: dict[str, Any] | None = None
        if self._asked.sampling.logprobs is not None and tokens:
            if self._chat:
                logprobs = {"content": self._content(tokens), "refusal": None}
            else:
                logprobs = self._logprobs(tokens, self._at[choice])
        if text or logprobs or event.reason:
            part: Any = text
            if self._chat:
                part = {"content": text} if text or logprobs else {}
            await self._send(sender, choice, part, logprobs, event.reason or None)

    async def finish(self, sender: Sender) -> None:
        """The counts, where they are asked for, and the end."""
        if self._asked.usage:
            await sender.event({**self._headed(), "choices": [], "usage": self._usage()})
        await sender.end()

    async def _send(
        self, sender: Sender, choice: int, part: Any, logprobs: Any, reason: str | None
    ) -> None:
        name = "delta" if self._chat else "text"
        chunk = {"index": choice, name: part, "logprobs": logprobs, "finish_reason": reason}
        # With the counts at the end, all chunks have the field.
        usage = {"usage": None} if self._asked.usage else {}
        await sender.event({**self._headed(), "choices": [chunk], **usage})

    def _headed(self) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind}

    # Log-probabilities and counts ----------------------------------------------------------------

    def _logprobs(self, tokens: Sequence[Drawn], offsets: Offsets) -> dict[str, Any]:
        """As completions have them. `text_offset`: in letters of the choice's text."""
        found: dict[str, list[Any]] = {
            "tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []
        }  # fmt: skip
        for token in tokens:
            name = self._spelling.name(token.id)
            top = None
            if token.logprob is not None:
                top = {self._spelling.name(id): _number(value) for id, value in token.top}
                top.setdefault(name, _number(token.logprob))
            found["tokens"].append(name)
            found["token_logprobs"].append(_number(token.logprob))
            found["top_logprobs"].append(top)
            found["text_offset"].append(offsets.take(token.id))
        return found

    def _content(self, tokens: Sequence[Drawn]) -> list[dict[str, Any]]:
        """As chats have them."""
        return [
            {**self._spelled(token.id, token.logprob),
             "top_logprobs": [self._spelled(*one) for one in token.top]}
            for token in tokens
        ]  # fmt: skip

    def _spelled(self, token: int, logprob: float | None) -> dict[str, Any]:
        return {"token": self._spelling.name(token), "logprob": _number(logprob),
                "bytes": list(self._spelling.bytes(token))}  # fmt: skip

    def _usage(self) -> dict[str, int]:
        prompt, made = sum(len(ids) for ids in self._prompts), sum(self._made)
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _number(value: float | None) -> float | None:
    return None if value is None else max(float(value), NEVER)
