"""One sequence of one model: tokens go in, logits come out, and the last tokens can be taken back.

stream = Stream(runner, cache, prompt)
logits = stream.feed(prompt[stream.length :], want=1)      # (1, vocabulary)
stream.keep(5)                                             # as if only five had been read
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.serving.model_runner import ModelRunner, Segment

if TYPE_CHECKING:
    import numpy as np

    from tilth.serving.cache import KVCache


class Stream:
    """A chain of `cache`, begun with what the cache knows of all `tokens` but the last.

    Raises UsageError for a model that runs through `transformers`: its cache keeps no rows that
    could be taken back.
    """

    def __init__(self, runner: Any, cache: KVCache, tokens: Sequence[int] = ()) -> None:
        if not isinstance(runner, ModelRunner):
            raise UsageError("a decoding strategy needs a model that the engine itself runs")
        self.runner, self.cache = runner, cache
        self.chain = cache.chain(list(tokens[:-1]))

    @property
    def length(self) -> int:
        """How many tokens have been read."""
        return self.chain.length

    @property
    def tokens(self) -> list[int]:
        """Those tokens."""
        return self.chain.tokens

    def feed(self, ids: Sequence[int], want: int = 1, ahead: int = 0) -> np.ndarray:
        """Read tokens; the logits of the last `want` of them, (want, vocabulary).

        `ahead`: how many are expected after them, for where blocks go. LimitError where the cache
        has no room; nothing has been read then.
        """
        self.cache.reserve(self.chain, len(ids), ahead)
        segment = Segment(self.chain, ids, want)
        return self.runner.forward(self.cache, [segment]).cpu().numpy()

    def keep(self, length: int) -> None:
        """Take back all tokens behind the first `length`."""
        if length < self.chain.length:
            self.cache.truncate(self.chain, length)

    def close(self) -> None:
        """Give all blocks back."""
        self.cache.free(self.chain)
