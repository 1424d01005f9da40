"""How long a draft should be on this machine, and whether it pays: from measured costs.

    target, draft = measure(target_runner), measure(draft_runner)
    best("pearl", target, draft, acceptance=0.8)         # Forecast(length=7, factor=1.9)

With c(n) what the target takes for a row of n tokens, d what the draft takes for one, and each
tested token kept with probability a, independently (Leviathan et al., 2023, with a cost for rows):

    turns   tokens a round  t = (1 - a^(g+1)) / (1 - a)        seconds  g d + c(g + 1)
    pearl   nothing ahead:  1 token                            seconds  max(g d, c(1))
            tokens ahead:   t = (1 - a^g) / (1 - a)            seconds  max(g d, c(g))

PEARL goes from the first kind of round to the second with probability a, and back with 1 - a^g. The
paper takes the length at which both finish together, g d = c(1), as if a row of g tokens took no
longer than one: `balanced` solves g d = c(g), which is what holds on a processor.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.serving.strategies.stream import Stream

if TYPE_CHECKING:
    from tilth.serving.cost_table import CostTable

SIZES = (1, 2, 4, 8, 16)
CONTEXT = 64
REPEATS = 5
# What is assumed of a draft that nothing is known of.
ACCEPTANCE = 0.75
MOST = 32

Cost = Callable[[int], float]


class Forecast(NamedTuple):
    """`factor`: how many times the tokens a second of plain decoding are expected."""

    length: int
    factor: float


def measure(
    runner: Any, name: str = "model", *, sizes: tuple[int, ...] = SIZES, context: int = CONTEXT,
    repeats: int = REPEATS,
) -> CostTable:  # fmt: skip
    """Costs of rows of one sequence, as strategies run them: medians of interleaved repeats."""
    from tilth.serving.cost_table import fitted

    context = max(0, min(context, runner.shape.context - max(sizes)))
    cache = runner.cache(-(-(context + max(sizes) + 1) // 16), 16, share=False)
    stream = Stream(runner, cache)
    if context:
        stream.feed([0] * context)
    clock = time.process_time if runner.device.type == "cpu" else time.perf_counter
    found: dict[int, list[float]] = {size: [] for size in sizes}
    for repeat in range(repeats + 1):
        for size in sizes:
            began = clock()
            stream.feed([0] * size, size)
            took = clock() - began
            stream.keep(context)
            if repeat:
                found[size].append(took)
    stream.close()
    rows = [[(size, context)] for size in sizes]
    return fitted(rows, [statistics.median(found[size]) for size in sizes], name)


def turns_rate(cost: Cost, draft: float, acceptance: float, length: int) -> float:
    """Expected tokens a second by turns."""
    return _run(acceptance, length + 1) / (length * draft + cost(length + 1))


def pearl_rate(cost: Cost, draft: float, acceptance: float, length: int) -> float:
    """Expected tokens a second of PEARL."""
    begins, falls = acceptance, 1 - acceptance**length
    if begins + falls == 0:
        return length / max(length * draft, cost(length))
    ahead = begins / (begins + falls)
    tokens = (1 - ahead) + ahead * _run(acceptance, length)
    seconds = (1 - ahead) * max(length * draft, cost(1))
    return tokens / (seconds + ahead * max(length * draft, cost(length)))


def balanced(cost: Cost, draft: float, most: int = MOST) -> int:
    """The longest draft that is written while the target reads as many tokens."""
    return max((g for g in range(1, most + 1) if g * draft <= cost(g)), default=1)


def best(
    strategy: str, target: CostTable, draft: CostTable, acceptance: float = ACCEPTANCE,
    context: int = CONTEXT, most: int = MOST,
) -> Forecast:  # fmt: skip
    """The length with the highest expected rate; `strategy`: turns or pearl."""
    rate = pearl_rate if strategy == "pearl" else turns_rate

    def cost(tokens: int) -> float:
        return target.cost(tokens, context)

    one = draft.cost(1, context)
    rates = {g: rate(cost, one, acceptance, g) for g in range(1, most + 1)}
    length = max(rates, key=lambda g: rates[g])
    return Forecast(length, rates[length] * cost(1))


def _run(acceptance: float, most: int) -> float:
    """1 + a + a^2 + ... of `most` terms: tokens up to and with the first that is refused."""
    return sum(acceptance**n for n in range(most))
