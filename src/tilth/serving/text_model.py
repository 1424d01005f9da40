"""Completions and chats of one model: what is asked becomes requests of the engine, their events
become OpenAI's objects, whole or one by one."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import LimitError, TilthError, UsageError
from tilth.serving.engine_thread import Answers, Ask, EngineThread
from tilth.serving.limits import Limits
from tilth.serving.openai_fields import WORD
from tilth.serving.openai_forms import Asked
from tilth.serving.refusal import Refused, refusal
from tilth.serving.reply import Reply
from tilth.serving.spelling import Spelling
from tilth.serving.streaming import Sender
from tilth.tokens.chat import Chat

if TYPE_CHECKING:
    from tilth.serving.engine import Engine

# Tokens of a chat's answer where nobody says how many; fewer where the context ends.
TOKENS = 1024
# Bytes of a request from which its texts are large: one after the other is cut into tokens.
LARGE = 64 * 2**10


class TextModel:
    """A model under the name `name`. `folder`: where its chat template lies; of `limits`, `queue`
    and `scored` count. `note`: why it is not the engine itself that runs it, as of the engine;
    `longest`: tokens that a prompt and its answer may have, None where nothing bounds them."""

    def __init__(
        self, name: str, folder: str | Path, engine: Engine, limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        self.name, self.context, self._engine = name, engine.context, engine
        self.note = engine.note
        self.longest = _longest(engine)
        self._most_scored = limits.scored
        # Copies of its own: the engine's thread reads tokens back at the same time.
        self._chat = Chat.load(folder)
        self.spelling = Spelling(engine.tokenizer)
        self.thread = EngineThread(engine, limits.queue)
        # Cutting takes some hundred times a text's bytes of memory: large ones wait for each other,
        # also where nobody waits for them any more. Small ones wait for none.
        self._large = ThreadPoolExecutor(1, "tokens")

    def stop(self) -> None:
        """End the engine's thread, and what the engine itself has begun."""
        self._large.shutdown(wait=False, cancel_futures=True)
        self.thread.stop()
        self._engine.close()

    async def tokenized(self, asked: Asked, longer: bool = False) -> list[list[int]]:
        """The token ids of each prompt, or of the conversation; `longer`: also of a prompt that is
        seen not to fit without them. Raises LimitError, with both numbers, for what cannot fit;
        DataError as `Chat.render`."""
        contents = [one["content"] for one in asked.messages]
        texts = [one for one in asked.prompts if isinstance(one, str)]
        sizes = [len(one.encode("utf-8", "replace")) for one in contents or texts]
        if contents:
            self._could_fit("messages take", sum(sizes))
        elif sizes and not longer:
            self._could_fit("prompt takes", max(sizes))
        told = [one for one in asked.settings.values() if isinstance(one, str)]
        if sum(sizes) + sum(map(len, told)) < LARGE:
            return await asyncio.to_thread(self._tokenized, asked)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._large, self._tokenized, asked)

    def _could_fit(self, who: str, size: int) -> None:
        """Refuses so many bytes before they are cut, which may take seconds."""
        if self.spelling.longest and (least := -(-size // self.spelling.longest)) > self.context:
            raise LimitError(f"the {who} at least {least:,} tokens; the model's context is "
                             f"{self.context:,}", hint="less text")  # fmt: skip

    def _tokenized(self, asked: Asked) -> list[list[int]]:
        if not asked.messages:
            first = 0 if asked.begun else 1
            return [
                self._engine.encode(one)[first:] if isinstance(one, str) else self._known(one)
                for one in asked.prompts
            ]
        # Before it is rendered, which takes a template longer the more messages there are.
        count = sum(len(self._engine.encode(one["content"])) - 1 for one in asked.messages)
        if count > self.context:
            raise LimitError(f"the messages take {count:,} tokens; the model's context is "
                             f"{self.context:,}", hint="fewer or shorter messages")  # fmt: skip
        found = self._chat.render(asked.messages, answer=True, settings=asked.settings)
        return [found.ids.tolist()]

    def _known(self, ids: list[int]) -> list[int]:
        size = self._engine.runner.shape.vocabulary
        if not all(0 <= one < size for one in ids):
            raise UsageError(f"prompt has token ids that are not: the vocabulary has {size:,}")
        return ids

    async def begin(self, asked: Asked) -> Answers:
        """Queue what is asked for: its events, without OpenAI's form around them. Errors as for
        `tokenized` and `EngineThread.open`."""
        return await self.thread.open(self._asks(asked, await self.tokenized(asked)))

    async def complete(self, asked: Asked, sender: Sender, chat: bool) -> None:
        """Answer a completion or a chat."""
        try:
            prompts = await self.tokenized(asked)
            asks = self._asks(asked, prompts)
        except TilthError as error:
            raise refusal(error, asked.source) from None
        reply = Reply(self, asked, prompts, chat)
        async with await self.thread.open(asks) as answers:
            if asked.stream:
                await reply.begin(sender)
            async for choice, event in answers:
                if event.reason == "failed":
                    raise Refused(500, f"the answer failed: {event.detail}")
                if event.reason == "cancelled":
                    raise Refused(503, "the server is being stopped")
                if asked.stream:
                    await reply.stream(choice, event, sender)
                else:
                    reply.add(choice, event)
        if asked.stream:
            await reply.finish(sender)
        else:
            await sender.made(reply.whole)

    def _asks(self, asked: Asked, prompts: Sequence[list[int]]) -> list[Ask]:
        """One ask for each answer. Equal prompts give different samples of one seed."""
        seed = asked.sampling.seed if asked.seeded else random.SystemRandom().randrange(WORD)
        size = self._engine.runner.shape.vocabulary
        for name, given in (("logit_bias", asked.sampling.bias),
                            ("stop_token_ids", asked.sampling.stop_tokens)):  # fmt: skip
            if (strange := next((one for one in given if not 0 <= one < size), None)) is not None:
                raise Refused(400, f"{name} has a token {strange:,}: the vocabulary has {size:,}",
                              param=name)  # fmt: skip
        scores = asked.echo and asked.sampling.logprobs is not None
        seen: Counter[tuple[int, ...]] = Counter()
        asks: list[Ask] = []
        for ids in prompts:
            tokens = self._tokens(asked, len(ids))
            if tokens == 0 and not scores:
                # Only the prompt is given back: the engine has nothing to do but one token.
                tokens = 1
            self._engine.check(len(ids), tokens)
            for _ in range(asked.count):
                sampling = replace(asked.sampling, seed=seed, sample=seen[tuple(ids)])
                seen[tuple(ids)] += 1
                asks.append(Ask(ids, tokens, sampling, scores))
        self._scored(asks)
        return asks

    def _scored(self, asks: Sequence[Ask]) -> None:
        """Refuses answers that would take long to write and to send."""
        count = sum(
            (len(ask.ids) * ask.scores + ask.tokens) * (ask.sampling.logprobs + 1)
            for ask in asks if ask.sampling.logprobs is not None
        )  # fmt: skip
        if count > self._most_scored:
            raise Refused(400, f"{count:,} log-probabilities are asked for; a request has at most "
                          f"{self._most_scored:,} (fewer tokens, answers or logprobs)",
                          param="logprobs")  # fmt: skip

    def _tokens(self, asked: Asked, prompt: int) -> int:
        if asked.tokens is not None:
            return asked.tokens
        return max(1, min(TOKENS, (self.longest or self.context) - prompt + 1))

    def head(self, chat: bool) -> dict[str, Any]:
        """What all parts of one answer begin with."""
        name = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        return {"id": name, "created": int(time.time()), "model": self.name}


def _longest(engine: Engine) -> int | None:
    from tilth.serving.fallback import CONTEXT

    room = engine.cache.table.total * engine.cache.block
    # What `transformers` runs may state no longest sequence: the number is then only our own.
    if engine.note and engine.context == CONTEXT <= room:
        return None
    return min(engine.context, room)
