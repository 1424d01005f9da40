"""One request on its way through the engine, and what the engine tells about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tilth.serving.cache import Chain, KVCache
from tilth.serving.letters import Letters
from tilth.serving.model_runner import Segment
from tilth.serving.sampler import Drawn, Sampling, log_probabilities
from tilth.serving.scheduler import Job

if TYPE_CHECKING:
    import numpy as np

# Rows of logits whose log-probabilities are worked out at once: they are wide, and in float64.
SCORED = 64
# "": it goes on. "stop": an end, a stop token or a stop text. "length": it gave all that was asked.
Reason = Literal["", "stop", "length", "cancelled", "failed"]


@dataclass(frozen=True)
class Event:
    """What a step did for one request. `text`: letters that are settled now, maybe none; `token`:
    what it gave, None for an end; `reason`: why it is over, with `detail` where it failed. The
    texts of all events of a request, joined, are its answer. `prompt`: with the last event, where
    it was asked for, the log-probability of each prompt token but the first, with the likeliest
    ones."""

    request: int
    text: str = ""
    token: Drawn | None = None
    reason: Reason = ""
    detail: str = ""
    prompt: tuple[Drawn, ...] = ()


@dataclass
class Completion:
    """A finished request, all its events in one. `tokens`: what it gave, without the end."""

    text: str = ""
    tokens: list[Drawn] = field(default_factory=list)
    reason: Reason = ""
    detail: str = ""
    prompt: tuple[Drawn, ...] = ()

    def add(self, event: Event) -> None:
        """Take in one event of the request."""
        self.text += event.text
        if event.token is not None:
            self.tokens.append(event.token)
        self.reason, self.detail, self.prompt = event.reason, event.detail, event.prompt

    @property
    def ids(self) -> list[int]:
        return [token.id for token in self.tokens]


@dataclass(eq=False)
class Live:
    """A request that is not over. `tokens`: how many it may give. `scores`: what is collected of
    its prompt's log-probabilities; None where they are not asked for."""

    id: int
    prompt: list[int]
    tokens: int
    sampling: Sampling
    letters: Letters
    ends: frozenset[int]
    scores: list[Drawn] | None = None
    made: list[int] = field(default_factory=list)
    chain: Chain | None = None
    _names: tuple[int, list[bytes]] = (0, [])

    @property
    def length(self) -> int:
        """How many tokens are known."""
        return len(self.prompt) + len(self.made)

    def known(self, start: int, stop: int) -> list[int]:
        """The known tokens [start, stop)."""
        size = len(self.prompt)
        if start >= size:
            return self.made[start - size : stop - size]
        return self.prompt[start:stop] + self.made[: max(0, stop - size)]

    def begin(self, cache: KVCache) -> Chain:
        """A chain with what the cache has of the known tokens. Not the last one: it gives the next;
        and none where the log-probabilities of all are asked for."""
        tokens = [] if self.scores is not None else self.known(0, self.length - 1)
        return cache.chain(tokens, self._named(cache))

    def _named(self, cache: KVCache) -> list[bytes]:
        if self.scores is not None:
            return []
        if self._names[0] != self.length:
            self._names = self.length, cache.names(self.known(0, self.length - 1))
        return self._names[1]

    def job(self, cache: KVCache) -> Job:
        """As the scheduler sees it."""
        if self.chain is None:
            return Job(self.id, self.length, cache.known(self._named(cache)))
        blocks = self.chain.blocks
        own = sum(cache.table.references[block] == 1 for block in blocks)
        return Job(self.id, self.length, self.chain.length, len(blocks), own)

    def segment(self, count: int) -> Segment:
        """The next `count` known tokens as a part of a row. Logits are wanted where they are
        scored, and behind the last known one."""
        assert self.chain is not None
        start = self.chain.length
        stop = min(start + count, self.length)
        wanted = stop - start if self.scores is not None and start < len(self.prompt) - 1 else 0
        return Segment(self.chain, self.known(start, stop), wanted or int(stop == self.length))

    def score(self, logits: np.ndarray, start: int) -> None:
        """Note the log-probabilities of prompt tokens from logits (tokens, vocabulary), those
        behind the tokens from `start` on. What was noted before a preemption is not noted again."""
        assert self.scores is not None
        begin = len(self.scores) - start
        end = min(len(logits), len(self.prompt) - 1 - start)
        for at in range(begin, end, SCORED):
            part = logits[at : min(at + SCORED, end)]
            ids = self.prompt[start + at + 1 : start + at + 1 + len(part)]
            found = log_probabilities(part, ids, self.sampling.logprobs or 0)
            self.scores += [Drawn(id, *one) for id, one in zip(ids, found)]

    def took(self, token: Drawn) -> Event:
        """The event of a token that was drawn."""
        if token.id in self.ends:
            return Event(self.id, self.letters.finish(), None, "stop")
        self.made.append(token.id)
        text = self.letters.push(token.id)
        if self.letters.stopped:
            return Event(self.id, text, token, "stop")
        if len(self.made) >= self.tokens:
            return Event(self.id, text + self.letters.finish(), token, "length")
        return Event(self.id, text, token)
