"""Load: requests as they come, what those who wait for the answers see, and how many can be borne.

    asks = arriving(lengths, poisson(rate=2.0, count=len(lengths), seed=0))
    served = serve(Virtual(table.row, "orca"), asks)
    served.metrics().tbt_p99                       # the 99th percentile of all gaps between tokens
    capacity(lambda rate: serve(..., rate).metrics(), gap=0.1)

An open load comes whether or not there is room, so that queues show; a closed one sends the next
request when one is over. The clock is the sum of the steps' seconds, and jumps where nobody is
served: nothing sleeps, and other work on the machine does not make a queue. Gaps are of tokens, not
means of requests. Capacity (Sarathi-Serve: Agrawal et al., 2024, arXiv 2403.02310) is the highest
rate whose 99th percentile of gaps and whose median wait for the first row keep to their bounds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import UsageError, nearest
from tilth.serving.virtual import Ask, Server, Step

if TYPE_CHECKING:
    from tilth.data.sets import Source

# The paper's bound on the median wait, in seconds.
DELAY = 2.0


@dataclass
class Timing:
    """One request's way. `begun`: when its first row began; `times`: of its tokens."""

    arrived: float
    begun: float | None = None
    times: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Metrics:
    """Seconds, but `throughput`, tokens given a second, and `tokens`. `ttft`: from arrival to the
    first token; `tbt`: between two tokens of a request; `delay`: from arrival to the first row;
    `longest`: the longest step."""

    ttft_p50: float
    ttft_p99: float
    tbt_p50: float
    tbt_p99: float
    delay_p50: float
    throughput: float
    seconds: float
    longest: float
    tokens: int


@dataclass(frozen=True)
class Served:
    """What became of a load: `timings` by request, `steps` in order."""

    timings: list[Timing]
    steps: list[Step]

    def gaps(self) -> list[float]:
        """Between tokens, all requests in one list."""
        pairs = (zip(one.times, one.times[1:]) for one in self.timings)
        return [late - early for each in pairs for early, late in each]

    def batches(self) -> list[tuple]:
        """What ran with what, and who was preempted: equal for equal schedules."""
        return [(step.work, step.preempted) for step in self.steps]

    def metrics(self) -> Metrics:
        """Quantiles over requests (ttft, delay) and over tokens (tbt)."""
        import numpy as np

        def at(values: Sequence[float], share: float) -> float:
            return float(np.quantile(values, share)) if len(values) else 0.0

        first = [one.times[0] - one.arrived for one in self.timings if one.times]
        gaps = self.gaps()
        delays = [one.begun - one.arrived for one in self.timings if one.begun is not None]
        tokens = sum(len(one.times) for one in self.timings)
        begin = min((one.arrived for one in self.timings), default=0.0)
        end = max((one.times[-1] for one in self.timings if one.times), default=begin)
        return Metrics(
            at(first, 0.5), at(first, 0.99), at(gaps, 0.5), at(gaps, 0.99), at(delays, 0.5),
            tokens / (end - begin) if end > begin else 0.0, end - begin,
            max((step.seconds for step in self.steps), default=0.0), tokens,
        )  # fmt: skip


def serve(server: Server, asks: Sequence[Ask], at_once: int | None = None) -> Served:
    """Serve all asks by their times; with `at_once`, a closed load of so many, times unread.

    Raises UsageError where the server is busy already or stands still.
    """
    if server.busy:
        raise UsageError("the server is busy with other requests")
    coming = deque(sorted(asks, key=lambda ask: ask.at) if at_once is None else asks)
    timings: list[Timing] = []
    steps: list[Step] = []
    clock, open_ = 0.0, 0
    while coming or server.busy:
        while coming and (coming[0].at <= clock if at_once is None else open_ < at_once):
            ask = coming.popleft()
            timings.append(Timing(ask.at if at_once is None else clock))
            server.submit(ask)
            open_ += 1
        if not server.busy:
            clock = coming[0].at
            continue
        step = server.step()
        if not step.work and not step.preempted:
            raise UsageError("the server stands still: a request does not fit")
        for number, _, _ in step.work:
            if timings[number].begun is None:
                timings[number].begun = clock
        clock += step.seconds
        for number in step.gave:
            timings[number].times.append(clock)
        open_ -= len(step.over)
        steps.append(step)
    return Served(timings, steps)


def poisson(rate: float, count: int, seed: int = 0) -> list[float]:
    """Times of `count` arrivals, `rate` a second, independent of each other."""
    return gamma(rate, count, 1.0, seed)


def gamma(rate: float, count: int, variation: float, seed: int = 0) -> list[float]:
    """Arrivals whose gaps are gamma distributed: `variation`, the deviation over the mean of a gap,
    is 1 for a Poisson stream, above it for bursts. Another rate stretches the same stream."""
    import numpy as np

    if rate <= 0 or variation <= 0:
        raise UsageError("a rate and a variation are above 0")
    shape = 1 / variation**2
    gaps = np.random.default_rng(seed).gamma(shape, 1 / shape, count)
    return (np.cumsum(gaps) / rate).tolist()


def arriving(lengths: Sequence[tuple[int, int]], times: Sequence[float]) -> list[Ask]:
    """Requests of these (prompt, answer) lengths at these times: those of a process, or a trace."""
    return [Ask(prompt, tokens, at) for (prompt, tokens), at in zip(lengths, times, strict=True)]


def at_rate(asks: Sequence[Ask], factor: float) -> list[Ask]:
    """The same stream, `factor` times as fast."""
    return [replace(ask, at=ask.at / factor) for ask in asks]


def capacity(
    run: Callable[[float], Metrics],
    gap: float,
    delay: float = DELAY,
    *,
    low: float = 0.01,
    high: float = 1000.0,
    precision: float = 0.02,
) -> float:
    """The highest rate at which `run(rate)` keeps P99 of the gaps to `gap` seconds and the median
    delay to `delay`: binary search between factors of two, to a relative `precision`. 0 where
    `low` is too much already."""

    def good(rate: float) -> bool:
        found = run(rate)
        return found.tbt_p99 <= gap and found.delay_p50 <= delay

    if not good(low):
        return 0.0
    while low < high and good(min(2 * low, high)):
        low = min(2 * low, high)
    top = min(2 * low, high)
    while top > low * (1 + precision):
        middle = (low * top) ** 0.5
        low, top = (middle, top) if good(middle) else (low, middle)
    return low


def pairs(name: str) -> tuple[list[tuple[str, str]], tuple[Source, ...]]:
    """(prompt, answer) texts of a named set, `gsm8k` or `mts-dialog`: short questions with worked
    answers; dialogues of doctor and patient with the section of a note. DataError where the set is
    not on this machine."""
    from tilth.data.labelled import read_task
    from tilth.data.sets import find_set, open_set
    from tilth.data.task import Task

    if name not in PAIRS:
        raise UsageError(f"no pairs of texts are called {name!r}", hint=nearest(name, PAIRS))
    known, columns = PAIRS[name]
    place = find_set(known)
    if columns is None:
        opened = open_set(known)
        assert isinstance(opened, Task)
        task = opened
    else:
        (path,) = sorted(Path(place.path).glob("*Training*"))
        task = read_task(path, "generate", columns, name=known, licence=place.licence)
    found = [
        (said[0]["content"], said[-1]["content"]) for said in task.table["messages"].to_pylist()
    ]
    return [(ask, answer) for ask, answer in found if ask and answer], place.sources


# name -> (named set, its columns where the set's own table has others)
PAIRS: dict[str, tuple[str, dict[str, str] | None]] = {
    "gsm8k": ("math_gsm8k", None),
    "mts-dialog": ("clinical_mts", {"prompt": "dialogue", "answer": "section_text"}),
}
