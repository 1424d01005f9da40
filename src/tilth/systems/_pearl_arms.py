"""Arms of the system `pearl`: rounds that are really run, and what they cost.

Rounds are run with a trained target and the draft that was distilled from it, and are reckoned with
costs of rows that were measured on large models of random weights. A few are run with such models
themselves, in two processes, by the clock: which tokens their draft gets right is a script
(`drafting.Script`), as often as the distilled one does.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tilth.evaluation.card import Invariant, Measured
from tilth.serving.model_runner import ModelRunner
from tilth.serving.sampler import Sampling, probabilities
from tilth.serving.strategies import acceptance, length
from tilth.serving.strategies.drafting import Drafter, Script, Writes
from tilth.serving.strategies.remote import RemoteDrafter
from tilth.serving.strategies.speculative import Round, Speculative, Tally
from tilth.serving.strategies.stream import Stream
from tilth.systems._threads import threads

RECKONED, WALL, RUN = "reckoned ms a token", "wall ms a token", "tokens between refusals"
GREEDY = Sampling(temperature=0, ignore_end=True)
LENGTHS = (2, 4, 8)
SIZES = (1, 2, 4, 8, 16, 32)
CONTEXT = 64
# How many more prompts show how often the draft is right, before the length that is expected best
# is chosen.
TRIAL = 4

Runners = tuple[ModelRunner, ModelRunner]


@dataclass(eq=False)
class Inputs:
    """Target and draft, three times: `pair`, whose rounds are counted; `large`, with random
    weights, timed by the clock, the draft in `folder` too (None where all runs in this process);
    `priced`: by what is behind the metric's name, those whose costs the rounds are reckoned with.

    `rate`: how often the draft of `pair` is right, by a script; None where it says what it thinks.
    `asked`: prompts of `pair`, tokens.
    """

    pair: Runners
    large: Runners
    priced: Mapping[str, Runners]
    folder: Path | None
    rate: float | None
    asked: Sequence[Sequence[int]]
    prompts: int
    tokens: int
    timed_tokens: int
    repeats: int
    seed: int
    draws: int
    _counted: dict[tuple[int, bool, bool], Tally] = field(default_factory=dict)
    _plain: dict[tuple[int, bool], list[int]] = field(default_factory=dict)

    @functools.cached_property
    def prices(self) -> dict[str, Prices]:
        """Costs of rows of the large models, on one thread."""
        with threads(1):
            return {name: Prices.measured(self, pair) for name, pair in self.priced.items()}

    @functools.cached_property
    def acceptance(self) -> float:
        """How often the draft is right, on prompts that are not counted."""
        if self.rate is not None:
            return self.rate
        one = Speculative(Drafter(self.pair[1]), length=LENGTHS[1])
        for number in range(self.prompts, self.prompts + TRIAL):
            answer(self.pair[0], one, self.asked[number], self.tokens, None)
        return one.tally.acceptance

    def counted(self, drafted: int, pre: bool, post: bool) -> Tally:
        """The rounds of all prompts."""
        key = (drafted, pre, post)
        if key not in self._counted:
            one = Speculative(Drafter(self.pair[1]), length=drafted, pre=pre, post=post)
            for number in range(self.prompts):
                script = None if self.rate is None else self.script(number, self.rate)
                given = answer(self.pair[0], one, self.asked[number], self.tokens, script)
                assert given == self.own(number), "greedy tokens are the plain ones"
            self._counted[key] = one.tally
        return self._counted[key]

    def own(self, number: int, large: bool = False) -> list[int]:
        """The plain greedy answer."""
        key = (number, large)
        if key not in self._plain:
            runner = (self.large if large else self.pair)[0]
            tokens = self.timed_tokens if large else self.tokens
            asked = prompt(runner, number) if large else self.asked[number]
            self._plain[key] = plainly(runner, asked, tokens)
        return self._plain[key]

    def script(self, number: int, rate: float, large: bool = False) -> Script:
        return Script(self.own(number, large), rate, 1000 * self.seed + number)


@dataclass(eq=False)
class Prices:
    """What rows of a target and steps of its draft take, and the lengths that fit them."""

    inputs: Inputs
    tables: tuple[Any, Any]

    @classmethod
    def measured(cls, inputs: Inputs, pair: Runners) -> Prices:
        found = [length.measure(one, sizes=SIZES, repeats=inputs.repeats) for one in pair]
        return cls(inputs, (found[0], found[1]))

    def cost(self, tokens: int) -> float:
        """Seconds of the target."""
        return self.tables[0].cost(tokens, CONTEXT)

    @property
    def draft_cost(self) -> float:
        return self.tables[1].cost(1, CONTEXT)

    @functools.cached_property
    def lengths(self) -> dict[str, int]:
        """Of PEARL as the paper has it, and as is expected best; by turns, the best of three."""
        best = length.best("pearl", *self.tables, self.inputs.acceptance, CONTEXT).length
        turns = min(LENGTHS, key=lambda g: self.reckoned(self.inputs.counted(g, False, False)))
        return {"balanced": length.balanced(self.cost, self.draft_cost), "best": best,
                "turns": turns}  # fmt: skip

    def reckoned(self, tally: Tally) -> float:
        """Milliseconds a token, from rounds and measured costs."""
        seconds = sum(self.seconds(one) for one in tally.rounds)
        return 1e3 * seconds / sum(one.given for one in tally.rounds)

    def seconds(self, one: Round) -> float:
        beside = max(one.beside * self.draft_cost, self.cost(one.read))
        return one.before * self.draft_cost + beside


def prompt(runner: ModelRunner, number: int) -> list[int]:
    drawn = np.random.default_rng(number).integers(3, runner.shape.vocabulary, 24)
    return [int(one) for one in drawn]


def opened(runner: ModelRunner, ids: Sequence[int], tokens: int) -> Stream:
    """A stream that has read the prompt but for its last token."""
    stream = Stream(runner, runner.cache(-(-(len(ids) + tokens) // 16) + 1, 16, share=False))
    stream.feed(ids[:-1])
    return stream


def plainly(runner: ModelRunner, ids: Sequence[int], tokens: int) -> list[int]:
    stream, last, made = opened(runner, ids, tokens), ids[-1], []
    for _ in range(tokens):
        last = int(np.argmax(stream.feed([last])[0]))
        made.append(last)
    return made


def answer(
    runner: ModelRunner, one: Speculative, ids: Sequence[int], tokens: int, script: Script | None
) -> list[int]:
    rounds = one.rounds(opened(runner, ids, tokens), ids, tokens, GREEDY, script)
    return [token.id for given in rounds for token in given]


@functools.lru_cache(maxsize=1)
def remote(folder: Path) -> RemoteDrafter:
    """One child a process, which ends with it."""
    found = RemoteDrafter(folder)
    found.run()
    return found


def _clock(inputs: Inputs, run: Callable[[], Sequence[int]], count: int) -> Callable[[], float]:
    def once() -> float:
        with threads(count):
            began = time.perf_counter()
            assert list(run()) == inputs.own(0, True), "greedy tokens are the plain ones"
            return 1e3 * (time.perf_counter() - began) / inputs.timed_tokens

    return once


def plain_arm(inputs: Inputs, seed: int, count: int = 1) -> Measured:
    inputs.own(0, True)
    target, tokens = inputs.large[0], inputs.timed_tokens
    run = functools.partial(plainly, target, prompt(target, 0), tokens)
    return Measured(
        {name: 1e3 * prices.cost(1) for name, prices in inputs.prices.items()},
        timed={WALL: _clock(inputs, run, count)},
    )


def arm(pre: bool, post: bool, kind: str, count: int = 1) -> Callable[[Inputs, int], Measured]:
    """`kind`: which of `lengths`."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        values = {}
        for name, prices in inputs.prices.items():
            values[name] = prices.reckoned(inputs.counted(prices.lengths[kind], pre, post))
        drafted = inputs.prices[RECKONED].lengths[kind]
        tally = inputs.counted(drafted, pre, post)
        runs = tally.runs() if pre and post else [float(one.kept) for one in tally.rounds]
        drafter: Writes = Drafter(inputs.large[1])
        if inputs.folder is not None and (pre or post):
            drafter = remote(inputs.folder)
        one = Speculative(drafter, length=drafted, pre=pre, post=post)
        script, target = inputs.script(0, inputs.acceptance, True), inputs.large[0]
        run = functools.partial(answer, target, one, prompt(target, 0), inputs.timed_tokens, script)
        values |= {RUN: float(np.mean(runs)), "draft length": float(drafted),
                   "acceptance": tally.acceptance}  # fmt: skip
        return Measured(values, timed={WALL: _clock(inputs, run, count)},
                        products={"given": sum(one.given for one in tally.rounds)})  # fmt: skip

    return measure


def saved(model: Any) -> tuple[tempfile.TemporaryDirectory, Path]:
    """The draft in a folder, for its own process. The tokenizer is any: only tokens are read."""
    from tilth.models.folder import save_model
    from tilth.tokens import bpe
    from tilth.zoo.micro import tiny

    place = tempfile.TemporaryDirectory()
    bpe.save(tiny()[1], Path(place.name) / "tokenizer")
    save_model(model, Path(place.name) / "model", Path(place.name) / "tokenizer")
    return place, Path(place.name) / "model"


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """Exactness of greedy answers, of one position, and of two positions by chi-square."""
    wanted = inputs.prompts * inputs.tokens
    whole = all(found.products.get("given", wanted) == wanted for found in measured.values())
    yield Invariant("greedy tokens of every arm are the plain ones", whole)
    generator, worst = np.random.default_rng(0), 0.0
    for _ in range(50):
        p, q = generator.dirichlet([0.5] * 8, 2)
        kept = np.minimum(q, p)
        rest = [(q[x] - kept[x]) * acceptance.left_over(p, q, x) for x in range(8)]
        worst = max(worst, float(np.abs(kept + sum(rest) - p).max()))
    yield Invariant("a tested position has the target's distribution within 1e-12", worst < 1e-12)
    for name, both in (("by turns", False), ("pearl", True)):
        yield Invariant(f"{name}: two tokens have the target's distribution, chi-square p > 0.01",
                        _chi_square(inputs, both) > 0.01)  # fmt: skip


def _chi_square(inputs: Inputs, both: bool) -> float:
    from scipy.stats import chisquare

    runner, drafter = inputs.pair[0], Drafter(inputs.pair[1])
    how, ids = Sampling(temperature=0.7, top_k=4, ignore_end=True), list(inputs.asked[0])
    stream = opened(runner, ids, 4)
    expected = {}
    first = probabilities(stream.feed(ids[-1:])[0], how)
    for a in np.flatnonzero(first):
        second = probabilities(stream.feed([int(a)])[0], how)
        stream.keep(len(ids))
        expected.update({(int(a), int(b)): first[a] * second[b] for b in np.flatnonzero(second)})
    seen = dict.fromkeys(expected, 0)
    one = Speculative(drafter, length=2, pre=both, post=both)
    for seed in range(inputs.draws):
        stream.keep(len(ids) - 1)
        sampling = Sampling(temperature=0.7, top_k=4, ignore_end=True, seed=seed)
        pair = tuple(t.id for given in one.rounds(stream, ids, 2, sampling) for t in given)
        if pair not in seen:
            return 0.0
        seen[pair] += 1
    rare = [pair for pair, chance in expected.items() if chance * inputs.draws < 5]
    common = [pair for pair in expected if pair not in rare]
    counts = [seen[pair] for pair in common]
    chances = [expected[pair] for pair in common]
    if rare:
        counts.append(sum(seen[pair] for pair in rare))
        chances.append(sum(expected[pair] for pair in rare))
    total = sum(chances)
    return float(chisquare(counts, [inputs.draws * one / total for one in chances]).pvalue)
