"""What a step of the engine costs on this machine: seconds by tokens in the row and by context.

    table = measured(engine)                      # some seconds; the engine must be idle
    table.row([(1, 128)] * 16)                    # a row of 16 decodes behind 128 tokens each
    table.row([(256, 0), (1, 300)])               # a chunk of 256 beside one decode
    table.budget(0.05, decodes=16, context=300)   # the longest row within 50 ms
    table.save("costs.json"); CostTable.load("costs.json")

With it the schedulers are compared in virtual time (`virtual`), a row's budget is taken from a goal
for the time between tokens (Sarathi-Serve: Agrawal et al., 2024, arXiv 2403.02310), and a draft's
length from the ratio of two models (PEARL). The model of a row is a sum: what its tokens cost
wherever they belong (a line through measured knots), and its attention: by the area that chunks
look at, by the context that decodes look at, and by the number of calls. The parts are fitted,
none below zero, to rows that the engine itself has run, sampling included; `error` is what the fit
leaves. Seconds are of processor time, so that others on the machine disturb little; on a device,
whose time the processor does not spend, they are of the clock.
"""

from __future__ import annotations

import bisect
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.serving.letters import Letters
from tilth.serving.live import Live
from tilth.serving.sampler import Sampling
from tilth.serving.scheduler import POLICIES
from tilth.store.write import read_json, write_json

if TYPE_CHECKING:
    from tilth.serving.engine import Engine

# (tokens of a sequence in the row, tokens that its cache holds before)
Work = Sequence[tuple[int, int]]
KNOTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
REPEATS = 5


@dataclass(frozen=True)
class CostTable:
    """`seconds` of a row of `knots` tokens without what attention adds: `area` a pair of query and
    key in chunks, `context` a key that a decode sees, `chunk` and `group` a call (decodes of equal
    length share one). `error`: mean relative error over the rows measured. `machine` names what it
    was measured on, `model` what was run."""

    model: str
    machine: str
    threads: int
    knots: tuple[int, ...]
    seconds: tuple[float, ...]
    area: float
    chunk: float
    group: float
    context: float
    error: float

    def row(self, work: Work) -> float:
        """Seconds of one row. 0 for an empty one."""
        if not work:
            return 0.0
        parts = _parts(work)
        costs = (self.area, self.chunk, self.group, self.context)
        return self._line(sum(count for count, _ in work)) + sum(
            cost * part for cost, part in zip(costs, parts)
        )

    def cost(self, tokens: int, context: int = 0) -> float:
        """Seconds of one sequence's next `tokens` tokens, behind `context` that are cached."""
        return self.row([(tokens, context)])

    def budget(self, seconds: float, decodes: int = 0, context: int = 0, most: int = 4096) -> int:
        """The most tokens of a row that takes at most `seconds`: `decodes` and one chunk, all
        behind `context` tokens. At least one more than the decodes, whatever that takes."""

        def late(tokens: int) -> bool:
            return (
                self.row([(1, context + n) for n in range(decodes)] + [(tokens, context)]) > seconds
            )

        return decodes + max(1, bisect.bisect_left(range(1, most - decodes + 1), True, key=late))

    def ratio(self, other: CostTable, context: int = 128) -> float:
        """How many lone decodes of `other`, a draft, fit into one of this model."""
        return self.cost(1, context) / other.cost(1, context)

    def _line(self, tokens: int) -> float:
        return sum(s * h for s, h in zip(self.seconds, _hats(tokens, self.knots)))

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> CostTable:
        """Read what `save` wrote. Raises DataError for anything else."""
        try:
            found = read_json(path)
            return cls(**{**found, "knots": tuple(found["knots"]),
                          "seconds": tuple(found["seconds"])})  # fmt: skip
        except (TypeError, KeyError, ValueError):
            raise DataError("is no table of costs", where=str(path)) from None


def measured(
    engine: Engine,
    name: str = "model",
    *,
    longest: int = 512,
    context: int = 256,
    batch: int = 16,
    repeats: int = REPEATS,
    clock: Callable[[], float] | None = None,
) -> CostTable:
    """Measure an idle engine: rows of up to `longest` tokens, contexts around `context`, up to
    `batch` decodes; medians of interleaved `repeats`. Its cache needs room for a row of all that;
    what does not fit is left out. Raises UsageError where the engine is busy.
    """
    import statistics

    if engine.busy:
        raise UsageError("an engine that serves requests cannot be measured")
    if clock is None:
        clock = time.process_time if engine.runner.device.type == "cpu" else time.perf_counter
    rows = [row for row in _rows(longest, context, batch) if _fits(engine, row)]
    if not rows:
        raise UsageError("the cache of the engine is too small to be measured")
    policy, engine.policy = engine.policy, POLICIES["orca"]
    try:
        seconds: list[list[float]] = [[] for _ in rows]
        for repeat in range(repeats + 1):
            for row, found in zip(rows, seconds):
                one = _once(engine, row, clock)
                if repeat:
                    found.append(one)
    finally:
        engine.policy = policy
    return fitted(rows, [statistics.median(found) for found in seconds], name)


def fitted(rows: Sequence[Work], seconds: Sequence[float], name: str) -> CostTable:
    """The table that explains best, by relative error, what rows took."""
    import numpy as np
    from scipy.optimize import nnls

    totals = [sum(count for count, _ in row) for row in rows]
    knots = tuple(sorted({*(k for k in KNOTS if min(totals) <= k <= max(totals)), max(totals)}))
    features = np.array([[*_hats(t, knots), *_parts(row)] for t, row in zip(totals, rows)])
    took = np.maximum(np.asarray(seconds, dtype=float), 1e-9)
    scaled = features / took[:, None]
    # Columns of like size, so that the solver's tolerance means the same for each.
    size = np.maximum(np.abs(scaled).max(axis=0), 1e-30)
    found = nnls(scaled / size, np.ones(len(rows)))[0] / size
    error = float(np.abs(features @ found / took - 1).mean())
    line, rest = found[: len(knots)], found[len(knots) :]
    area, chunk, group, context = map(float, rest)
    return CostTable(
        name, machine(), _threads(), knots, tuple(map(float, line)), area, chunk, group, context,
        error,
    )  # fmt: skip


def machine() -> str:
    """The processor of this machine, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _rows(longest: int, context: int, batch: int) -> list[Work]:
    """What is measured: single chunks at several depths, prompts side by side, decodes in step and
    out of step, and both in one row."""
    sizes = [size for size in KNOTS if size <= longest]
    batches = [size for size in (2, 4, 8, 16, 32, 64) if size <= batch]
    rows: list[Work] = [[(size, 0)] for size in sizes]
    rows += [[(size, depth)] for size in sizes for depth in (context // 2, context) if depth]
    rows += [[(size // 8, 0)] * 8 for size in sizes if size >= 64]
    for count in batches:
        rows += [[(1, depth)] * count for depth in (context // 2, context)]
        rows.append([(1, context // 2 + 3 * n) for n in range(count)])
        for size in sizes[-3:]:
            rows.append([(max(1, size - count), 0)] + [(1, context // 2 + 3 * n)
                                                       for n in range(count)])  # fmt: skip
    return rows


def _fits(engine: Engine, row: Work) -> bool:
    blocks = sum(engine.cache.blocks_for(sum(one) + 1) for one in row)
    deepest = max(sum(one) for one in row)
    room = blocks <= engine.cache.table.free and len(row) <= engine.sequences
    return room and deepest < engine.context


def _once(engine: Engine, row: Work, clock: Callable[[], float]) -> float:
    """Seconds of a step that runs just this row. What the caches hold does not matter for time."""
    live = []
    greedy = Sampling(temperature=0, ignore_end=True)
    for number, (count, cached) in enumerate(row):
        ids = [(number + at) % engine.runner.shape.vocabulary for at in range(count + cached)]
        one = Live(-1 - number, ids, 2, greedy, Letters(engine.tokenizer, ids, ()), frozenset())
        one.chain = engine.cache.chain()
        engine.cache.reserve(one.chain, cached)
        engine.cache.commit(one.chain, ids[:cached])
        live.append(one)
    share, engine.cache.share = engine.cache.share, False
    engine.running = list(live)
    try:
        began = clock()
        events = engine.step()
        seconds = clock() - began
    finally:
        engine.running.clear()
        engine.cache.share = share
        for one in live:
            if one.chain is not None:
                engine.cache.free(one.chain)
    for event in events:
        if event.reason == "failed":
            raise DataError(f"the model fails: {event.detail}")
    return seconds


def _parts(work: Work) -> tuple[float, int, int, int]:
    """What attention does in a row: pairs in chunks, chunks, groups of decodes, keys of decodes."""
    chunks = [(count, cached) for count, cached in work if count > 1]
    decodes = [cached for count, cached in work if count == 1]
    area = sum(count * (cached + (count + 1) / 2) for count, cached in chunks)
    return area, len(chunks), len(set(decodes)), sum(cached + 1 for cached in decodes)


def _hats(tokens: int, knots: Sequence[int]) -> list[float]:
    """Weights of the knots for a line between the two nearest; beyond the last the line goes on."""
    weights = [0.0] * len(knots)
    if len(knots) == 1 or tokens <= knots[0]:
        weights[0] = 1.0
        return weights
    right = min(bisect.bisect_left(knots, tokens), len(knots) - 1)
    share = (tokens - knots[right - 1]) / (knots[right] - knots[right - 1])
    weights[right - 1], weights[right] = 1 - share, share
    return weights


def _threads() -> int:
    import sys

    torch: Any = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 1
