"""Completions and chats of one model: what is asked becomes requests of the engine, their events
become OpenAI's objects, whole or one by one."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import LimitError, UsageError
from tilth.serving.engine_thread import Answers, Ask, EngineThread
from tilth.serving.openai_forms import WORD, Asked, Refused
from tilth.serving.reply import Reply
from tilth.serving.spelling import Spelling
from tilth.serving.streaming import Sender
from tilth.tokens.chat import Chat

if TYPE_CHECKING:
    from tilth.serving.engine import Engine

# Tokens of a chat's answer where nobody says how many; fewer where the context ends.
TOKENS = 1024


class TextModel:
    """A model under the name `name`. `folder`: where its chat template lies; `most`: answers that
    wait or run at a time."""

    def __init__(self, name: str, folder: str | Path, engine: Engine, most: int = 128) -> None:
        self.name, self.context, self._engine = name, engine.context, engine
        # Copies of its own: the engine's thread reads tokens back at the same time.
        self._chat = Chat.load(folder)
        self.spelling = Spelling(engine.tokenizer)
        self.thread = EngineThread(engine, most)
        # Long prompts are cut into tokens beside the loop, two at a time.
        self._turns = asyncio.Semaphore(2)

    def stop(self) -> None:
        """End the engine's thread, and what the engine itself has begun."""
        self.thread.stop()
        self._engine.close()

    async def tokenized(self, asked: Asked) -> list[list[int]]:
        """The token ids of each prompt, or of the conversation. Raises LimitError, with both
        numbers, for a conversation that cannot fit; DataError as `Chat.render`."""
        async with self._turns:
            return await asyncio.to_thread(self._tokenized, asked)

    def _tokenized(self, asked: Asked) -> list[list[int]]:
        if not asked.messages:
            return [
                self._engine.encode(one) if isinstance(one, str) else self._known(one)
                for one in asked.prompts
            ]
        # Before it is rendered, which takes a template longer the more messages there are.
        count = sum(len(self._engine.encode(one["content"])) - 1 for one in asked.messages)
        if count > self.context:
            raise LimitError(f"the messages take {count:,} tokens; the model's context is "
                             f"{self.context:,}", hint="fewer or shorter messages")  # fmt: skip
        return [self._chat.render(asked.messages, answer=True).ids.tolist()]

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
        prompts = await self.tokenized(asked)
        asks = self._asks(asked, prompts)
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
            await sender.json(reply.whole())

    def _asks(self, asked: Asked, prompts: Sequence[list[int]]) -> list[Ask]:
        """One ask for each answer. Equal prompts give different samples of one seed."""
        seed = asked.sampling.seed if asked.seeded else random.SystemRandom().randrange(WORD)
        scores = asked.echo and asked.sampling.logprobs is not None
        seen: Counter[tuple[int, ...]] = Counter()
        asks = []
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
        return asks

    def _tokens(self, asked: Asked, prompt: int) -> int:
        if asked.tokens is not None:
            return asked.tokens
        cache = self._engine.cache
        room = min(self.context, cache.table.total * cache.block)
        return max(1, min(TOKENS, room - prompt + 1))

    def head(self, chat: bool) -> dict[str, Any]:
        """What all parts of one answer begin with."""
        name = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        return {"id": name, "created": int(time.time()), "model": self.name}
