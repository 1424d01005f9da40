"""The engine in virtual time: the same scheduler, a table of costs in place of a model.

    server = Virtual(table.row, policy="stall_free", row=256, sequences=32, blocks=2048)
    served = load.serve(server, asks)

`Virtual` and `Real` are what `load.serve` needs of a server. Which requests share a row, and when
one is preempted, depends on lengths and arrivals only, so that both make the same batches where
steps take the same time; a day of requests is then a matter of seconds. What cannot be seen here
is prefix sharing (tokens are not known), and an answer that ends before its length.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tilth.errors import DataError, LimitError, UsageError
from tilth.serving.cost_table import Work
from tilth.serving.sampler import Sampling
from tilth.serving.scheduler import Job, Limits, Policy, after, policy_named, schedule

if TYPE_CHECKING:
    from tilth.serving.engine import Engine


@dataclass(frozen=True)
class Ask:
    """A request as far as time is concerned: tokens of its prompt and of its answer; `at`: the
    second at which it comes."""

    prompt: int
    tokens: int
    at: float = 0.0


class Step(NamedTuple):
    """What one step did. `work`: (request, its tokens in the row, those cached before); `gave`: who
    got a token; `over`: who got the last one; `free`: blocks free after it."""

    work: tuple[tuple[int, int, int], ...]
    preempted: tuple[int, ...]
    gave: tuple[int, ...]
    over: tuple[int, ...]
    seconds: float
    free: int


class Server(Protocol):
    """Who answers requests step by step."""

    @property
    def busy(self) -> bool: ...

    def submit(self, ask: Ask) -> int: ...

    def step(self) -> Step: ...


class Virtual:
    """A server without a model. `cost`: seconds of a row; `policy` by name, or
    one of your own; the rest as for `Engine`."""

    def __init__(
        self,
        cost: Callable[[Work], float],
        policy: str | Policy = "stall_free",
        *,
        row: int = 512,
        sequences: int = 32,
        blocks: int = 2048,
        block: int = 16,
    ) -> None:
        if row < 1 or sequences < 1 or blocks < 1:
            raise UsageError("row, sequences and blocks are at least 1")
        self.cost = cost
        self.policy = policy if isinstance(policy, Policy) else policy_named(policy)
        self.row, self.sequences = max(row, sequences), sequences
        self.total, self.free, self.block = blocks, blocks, block
        self.waiting: deque[Job] = deque()
        self.running: list[Job] = []
        self.left: dict[int, int] = {}
        self._count = 0

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def submit(self, ask: Ask) -> int:
        """Queue a request. Raises LimitError for one that can never fit."""
        if ask.prompt < 1 or ask.tokens < 1:
            raise UsageError("a prompt and an answer have at least one token")
        needed = -(-(ask.prompt + ask.tokens - 1) // self.block)
        if needed > self.total:
            raise LimitError(f"{needed:,} blocks are needed, there are {self.total:,}")
        self.waiting.append(Job(self._count, ask.prompt))
        self.left[self._count] = ask.tokens
        self._count += 1
        return self._count - 1

    def step(self) -> Step:
        """One row; see `Engine.step`."""
        limits = Limits(self.row, self.sequences, self.free, self.block)
        look = len(self.waiting) if self.policy.packed else self.sequences - len(self.running)
        waiting = list(islice(self.waiting, look))
        plan = schedule(waiting, self.running, limits, self.policy)
        jobs = {job.id: job for job in (*self.running, *waiting)}
        for number in reversed(plan.preempted):
            job = jobs.pop(number)
            self.free += job.own
            self.running.remove(job)
            self.waiting.appendleft(replace(job, cached=0, blocks=0, own=0))
        for number in plan.admitted:
            self.waiting.remove(jobs[number])
            self.running.append(jobs[number])
        work = tuple((number, count, jobs[number].cached) for number, count in plan.work)
        gave, over = [], []
        for number, count, _ in work:
            job = jobs[number]
            done = after(job, count, self.block, gives=count == job.remaining)
            self.free -= done.blocks - job.blocks
            if done.length > job.length:
                gave.append(number)
                self.left[number] -= 1
                if not self.left[number]:
                    over.append(number)
                    self.free += done.own
                    del self.left[number]
            jobs[number] = done
        gone = set(over)
        self.running = sorted(
            (jobs[job.id] for job in self.running if job.id not in gone), key=lambda job: job.id
        )
        seconds = self.cost([(count, cached) for _, count, cached in work])
        return Step(work, plan.preempted, tuple(gave), tuple(over), seconds, self.free)


class Real:
    """An engine as a server of asks. `ids` gives the prompt of the n-th; answers are `texts`, token
    ids by request. Seconds are of processor time, or of `clock`. The engine must not share
    prefixes where batches are compared with `Virtual`."""

    def __init__(
        self,
        engine: Engine,
        ids: Callable[[int], Sequence[int]],
        sampling: Sampling | None = None,
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.engine, self.ids, self.clock = engine, ids, clock
        self.sampling = sampling or Sampling(temperature=0, ignore_end=True)
        self.texts: dict[int, list[int]] = {}
        self._names: dict[int, int] = {}

    @property
    def busy(self) -> bool:
        return self.engine.busy

    def submit(self, ask: Ask) -> int:
        place = len(self._names)
        number = self.engine.submit(self.ids(place)[: ask.prompt], ask.tokens, self.sampling)
        self._names[number] = place
        self.texts[place] = []
        return place

    def step(self) -> Step:
        """Raises DataError where a request fails."""
        engine, names = self.engine, self._names
        before = {live.id: live.chain.length for live in engine.running if live.chain is not None}
        began = self.clock()
        events = engine.step()
        seconds = self.clock() - began
        gave, over = [], []
        for event in events:
            if event.reason == "failed":
                raise DataError(f"a request fails: {event.detail}")
            if event.token is not None:
                gave.append(names[event.request])
                self.texts[names[event.request]].append(event.token.id)
            if event.reason:
                over.append(names[event.request])
        plan = engine.plan
        work = tuple((names[number], count, before.get(number, 0)) for number, count in plan.work)
        preempted = tuple(names[number] for number in plan.preempted)
        return Step(work, preempted, tuple(gave), tuple(over), seconds, engine.cache.table.free)
