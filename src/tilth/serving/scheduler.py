"""What runs in the next step: a pure function of who waits, who runs, and what there is room for.

    plan = schedule(waiting, running, limits, POLICIES["stall_free"])

One step of the engine is one row of tokens. A request first has a prompt to be read (prefill, many
tokens), then gives one token a step (decode). The policies differ in which of them share a row:

- `request_level`: a batch is formed when nothing runs, and runs until its last request is done, as
  in FasterTransformer.
- `prefill_first`: whole prompts before anything else, then a row of decodes (vLLM's first order:
  Kwon et al., 2023, arXiv 2309.06180).
- `orca`: requests come and go at every step, whole prompts beside decodes (Yu et al., 2022, OSDI).
- `decode_maximal`: one chunk of a prompt, and as many decodes as the row has room for (Sarathi:
  Agrawal et al., 2023, arXiv 2308.16369).
- `stall_free`: all decodes first, then chunks of prompts up to the row's budget, so that no running
  request waits for somebody's prompt (Sarathi-Serve: Agrawal et al., 2024, arXiv 2403.02310).
- `prepacked`: whole prompts, chosen to fill a row, longest first, then decodes. For a batch that is
  there from the start (Prepacking: Zhao et al., 2024, arXiv 2404.09529); a stream may starve the
  long.

Tokens come out the same whichever is used. No torch here: the same function serves in virtual time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tilth.errors import UsageError, nearest


@dataclass(frozen=True)
class Policy:
    """`idle`: requests are admitted only when nothing runs. `mixed`: prompts and decodes share a
    row; else prompts go first. `chunked`: prompts are cut to the room that is left. `bounded`:
    prompts keep to the row's budget (a whole one that is longer runs alone). `prompts`: at most so
    many in a row. `packed`: those that fit are taken, the longest first, and not strictly by
    arrival."""

    idle: bool = False
    mixed: bool = False
    chunked: bool = False
    bounded: bool = False
    prompts: int | None = None
    packed: bool = False


POLICIES = {
    "request_level": Policy(idle=True),
    "prefill_first": Policy(bounded=True),
    "orca": Policy(mixed=True),
    "decode_maximal": Policy(mixed=True, chunked=True, bounded=True, prompts=1),
    "stall_free": Policy(mixed=True, chunked=True, bounded=True),
    "prepacked": Policy(bounded=True, packed=True),
}


@dataclass(frozen=True)
class Job:
    """A request as the scheduler sees it. `length`: tokens that are known, those it gave included;
    `cached`: how many of them the cache holds (a waiting one may find its beginning there).
    `blocks`: how many it has; `own`: those that are free again when it is stopped."""

    id: int
    length: int
    cached: int = 0
    blocks: int = 0
    own: int = 0

    @property
    def remaining(self) -> int:
        return self.length - self.cached

    @property
    def decodes(self) -> bool:
        """Its prompt is read: it needs one token a step."""
        return self.cached > 0 and self.remaining == 1


@dataclass(frozen=True)
class Limits:
    """`tokens`: of a row; `sequences`: that run at once; `free`: blocks; `block`: tokens a
    block."""

    tokens: int
    sequences: int
    free: int
    block: int


@dataclass(frozen=True)
class Plan:
    """`work`: (request, how many of its next tokens), in order. `admitted`: who of them waited
    until now. `preempted`: who gives its blocks back and waits again, in front of all others."""

    work: tuple[tuple[int, int], ...] = ()
    admitted: tuple[int, ...] = ()
    preempted: tuple[int, ...] = ()


def policy_named(name: str) -> Policy:
    """One of `POLICIES`. Raises UsageError with the nearest name."""
    if name not in POLICIES:
        raise UsageError(f"there is no policy {name!r}", hint=nearest(name, POLICIES))
    return POLICIES[name]


def schedule(
    waiting: Sequence[Job], running: Sequence[Job], limits: Limits, policy: Policy
) -> Plan:
    """The next step. `waiting` and `running` in the order of their arrival, the oldest first.

    Where blocks are short, the youngest that runs is preempted, and reads its tokens again later
    (those that it gave as well). Nobody is admitted in a step that preempts. A plan is empty only
    where nothing can run; a request that fits into an empty cache is never stuck.
    """
    preempted: list[int] = []
    active = list(running)
    while True:
        step = _Step(limits, policy, active)
        step.free += sum(job.own for job in running if job.id in preempted)
        victim = step.fill(waiting if not preempted else ())
        if victim is None:
            return Plan(tuple(step.work.items()), tuple(step.admitted), tuple(preempted))
        preempted.insert(0, victim.id)
        active = [job for job in active if job.id != victim.id]


@dataclass
class _Step:
    """One attempt at a row, with what is left of blocks and tokens."""

    limits: Limits
    policy: Policy
    running: list[Job]
    work: dict[int, int] = field(default_factory=dict)
    admitted: list[int] = field(default_factory=list)
    free: int = 0
    room: int = 0

    def __post_init__(self) -> None:
        self.free, self.room = self.limits.free, self.limits.tokens

    def fill(self, waiting: Sequence[Job]) -> Job | None:
        """Take in all that fits; gives the job to preempt where the row cannot be made."""
        if self.policy.mixed:
            victim = self._decodes()
            if victim is None:
                self._prompts(waiting)
        else:
            self._prompts(waiting)
            victim = None if self.work else self._decodes()
        if victim is None and not self.work and self.running:
            victim = self.running[-1]
        return victim

    def _decodes(self) -> Job | None:
        for job in self.running:
            if not job.decodes or (self.policy.bounded and self.room < 1):
                continue
            if not self._take(job, 1):
                return self.running[-1]
        return None

    def _prompts(self, waiting: Sequence[Job]) -> None:
        prompts = 0
        most = self.policy.prompts
        for job in self.running:
            if job.decodes or (most is not None and prompts >= most):
                continue
            count = self._count(job, first=not prompts)
            # What is there of blocks, where that is less: the rest comes later.
            fits = (job.blocks + self.free) * self.limits.block - job.cached
            if (count := min(count, fits)) > 0 and self._take(job, count):
                prompts += 1
        if self.policy.idle and self.running:
            return
        # One block for each that goes on, and what prompts that are being read will need.
        spare = len(self.running)
        for job in self.running:
            if not job.decodes:
                spare += self._needed(job, job.remaining)
                spare -= self._needed(job, self.work.get(job.id, 0))
        order = sorted(waiting, key=lambda job: -job.remaining) if self.policy.packed else waiting
        for job in order:
            if len(self.running) + len(self.admitted) >= self.limits.sequences:
                return
            if most is not None and prompts >= most:
                return
            whole = self._needed(job, job.remaining)
            count = self._count(job, first=not prompts)
            if count < 1 or whole + spare > self.free:
                if self.policy.packed:
                    continue
                return
            self._take(job, count)
            self.admitted.append(job.id)
            # Taken now is what this row needs; the rest of the prompt is promised.
            spare += whole - self._needed(job, count) + 1
            prompts += 1

    def _count(self, job: Job, first: bool) -> int:
        """How many tokens of a prompt this row takes; 0 where there is no room."""
        if self.policy.chunked:
            return min(job.remaining, self.room)
        if not self.policy.bounded or first or job.remaining <= self.room:
            return job.remaining
        return 0

    def _needed(self, job: Job, count: int) -> int:
        """Blocks that it lacks for so many more tokens."""
        return max(0, -(-(job.cached + count) // self.limits.block) - job.blocks)

    def _take(self, job: Job, count: int) -> bool:
        needed = self._needed(job, count)
        if needed > self.free:
            return False
        self.free -= needed
        self.room -= count
        self.work[job.id] = count
        return True


def after(job: Job, count: int, block: int, gives: bool) -> Job:
    """A job when `count` of its tokens have run; `gives`: and the last of them gave a new one."""
    cached = job.cached + count
    blocks = max(job.blocks, -(-cached // block))
    return replace(job, cached=cached, blocks=blocks, own=blocks, length=job.length + int(gives))
