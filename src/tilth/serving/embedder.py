"""An encoder in a thread of its own, for a server: texts in, vectors out, a few at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tilth.errors import LimitError
from tilth.serving.refusal import Refused

# Texts that are encoded between two looks at whether somebody still waits.
TOGETHER = 32


class Embedder:
    """`encoder`: one of `retrieval.encoders`. `most`: requests that may wait."""

    def __init__(self, name: str, encoder: Any, most: int = 64) -> None:
        self.name, self.encoder, self.most, self.live = name, encoder, most, 0
        self.dimensions = int(encoder.dimensions)
        self._pool = ThreadPoolExecutor(1, "encoder")

    async def embed(self, texts: Sequence[str], side: str) -> tuple[np.ndarray, int]:
        """Vectors, float32 (texts, dimensions), and how many tokens were read (0 for encoders
        without a tokenizer). Raises Refused, 429, where too many wait; LimitError for a text that
        is longer than the encoder reads, since no text is cut without a word."""
        if self.live >= self.most:
            raise Refused(429, f"{self.live:,} requests wait for the encoder already",
                          code="queue_full", headers={"retry-after": "1"})  # fmt: skip
        self.live += 1
        gone = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(
            self._pool, self._vectors, list(texts), side, gone
        )
        # Counted as live until the thread is through with it, even where nobody waits any more.
        work.add_done_callback(self._done)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            gone.set()
            raise

    def _done(self, work: asyncio.Future[Any]) -> None:
        self.live -= 1
        if not work.cancelled():
            work.exception()  # looked at, so that nobody is told that it was not

    def stop(self) -> None:
        """End the thread after what it is doing."""
        self._pool.shutdown(cancel_futures=True)

    def _vectors(
        self, texts: list[str], side: str, gone: threading.Event
    ) -> tuple[np.ndarray, int]:
        encode = self.encoder.encode_queries if side == "query" else self.encoder.encode
        found = [np.zeros((0, self.dimensions), np.float32)]
        tokens = 0
        for start in range(0, len(texts), TOGETHER):
            if gone.is_set():
                break
            part = texts[start : start + TOGETHER]
            before = getattr(self.encoder, "cut_tokens", 0)
            found.append(encode(part))
            if getattr(self.encoder, "cut_tokens", 0) > before:
                raise self._long(part, start, encode)
            tokens += self._count(part)
        return np.concatenate(found), tokens

    def _long(self, texts: list[str], start: int, encode: Any) -> LimitError:
        place, cut = start, 0
        while not cut:
            before = self.encoder.cut_tokens
            encode([texts[place - start]])
            cut = self.encoder.cut_tokens - before
            place += not cut
        longest = self.encoder.longest
        return LimitError(f"input {place} takes {longest + cut:,} tokens; the encoder reads "
                          f"{longest:,}")  # fmt: skip

    def _count(self, texts: list[str]) -> int:
        tokenizer = getattr(self.encoder, "tokenizer", None)
        if tokenizer is None:
            return 0
        return sum(len(one.ids) for one in tokenizer.encode_batch(texts))
