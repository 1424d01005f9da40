"""Arms of the system `pearl`: rounds that are really run, and what they cost.

Which tokens a draft gets right is a script (`drafting.Script`): at temperature 0 it proposes the
target's own next token with a stated probability. So rounds can be run with micro models, many of
them, and be reckoned with costs of rows that were measured on large ones; and a few are run with
the large ones themselves, in two processes, by the clock.
"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
CONTEXT = 64


@dataclass(eq=False)
class Inputs:
    """`micro`: target and draft whose rounds are counted; `large`: those that are timed, the draft
    in `folder` too, None where all runs in this process."""

    micro: tuple[ModelRunner, ModelRunner]
    large: tuple[ModelRunner, ModelRunner]
    folder: Path | None
    rate: float
    prompts: int
    tokens: int
    timed_tokens: int
    repeats: int
    seed: int
    draws: int

    @functools.cached_property
    def costs(self) -> tuple[Any, Any]:
        """Of the large models, on one thread."""
        with threads(1):
            return tuple(
                length.measure(one, sizes=(1, 2, 4, 8, 16, 32), repeats=self.repeats)
                for one in self.large
            )  # type: ignore[return-value]

    def cost(self, tokens: int) -> float:
        return self.costs[0].cost(tokens, CONTEXT)

    @property
    def draft_cost(self) -> float:
        return self.costs[1].cost(1, CONTEXT)

    @functools.cached_property
    def lengths(self) -> dict[str, int]:
        """Of PEARL as the paper has it, and as is expected best; by turns, the best of three."""
        balanced = length.balanced(self.cost, self.draft_cost)
        best = length.best("pearl", *self.costs, self.rate, CONTEXT).length
        turns = min(LENGTHS, key=lambda g: self.reckoned(self.counted(g, False, False)))
        return {"balanced": balanced, "best": best, "turns": turns}

    @functools.cached_property
    def plain(self) -> dict[int, list[int]]:
        return {}

    def counted(self, drafted: int, pre: bool, post: bool) -> Tally:
        """The rounds of all prompts on the micro models."""
        one = Speculative(Drafter(self.micro[1]), length=drafted, pre=pre, post=post)
        for number in range(self.prompts):
            given = answer(self.micro[0], one, number, self.tokens, self.script(number, False))
            assert given == self.own(number, False), "greedy tokens are the plain ones"
        return one.tally

    def reckoned(self, tally: Tally) -> float:
        """Milliseconds a token, from rounds and measured costs."""
        seconds = sum(self.seconds(one) for one in tally.rounds)
        return 1e3 * seconds / sum(one.given for one in tally.rounds)

    def seconds(self, one: Round) -> float:
        beside = max(one.beside * self.draft_cost, self.cost(one.read))
        return one.before * self.draft_cost + beside

    def own(self, number: int, large: bool) -> list[int]:
        """The plain greedy answer."""
        key = 2 * number + large
        if key not in self.plain:
            runner = (self.large if large else self.micro)[0]
            self.plain[key] = plainly(runner, number, self.timed_tokens if large else self.tokens)
        return self.plain[key]

    def script(self, number: int, large: bool) -> Script:
        return Script(self.own(number, large), self.rate, 1000 * self.seed + number)


def prompt(runner: ModelRunner, number: int) -> list[int]:
    drawn = np.random.default_rng(number).integers(3, runner.shape.vocabulary, 24)
    return [int(one) for one in drawn]


def opened(runner: ModelRunner, number: int, tokens: int) -> Stream:
    """A stream that has read the prompt but for its last token."""
    ids = prompt(runner, number)
    stream = Stream(runner, runner.cache(-(-(len(ids) + tokens) // 16) + 1, 16, share=False))
    stream.feed(ids[:-1])
    return stream


def plainly(runner: ModelRunner, number: int, tokens: int) -> list[int]:
    stream, last, made = opened(runner, number, tokens), prompt(runner, number)[-1], []
    for _ in range(tokens):
        last = int(np.argmax(stream.feed([last])[0]))
        made.append(last)
    return made


def answer(
    runner: ModelRunner, one: Speculative, number: int, tokens: int, script: Script | None
) -> list[int]:
    stream, ids = opened(runner, number, tokens), prompt(runner, number)
    rounds = one.rounds(stream, ids, tokens, GREEDY, script)
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
    return Measured(
        {RECKONED: 1e3 * inputs.cost(1)},
        timed={WALL: _clock(inputs, lambda: plainly(inputs.large[0], 0, inputs.timed_tokens),
                            count)},
    )  # fmt: skip


def arm(pre: bool, post: bool, kind: str, count: int = 1) -> Callable[[Inputs, int], Measured]:
    """`kind`: which of `lengths`."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        drafted = inputs.lengths[kind]
        tally = inputs.counted(drafted, pre, post)
        runs = tally.runs() if pre and post else [float(one.kept) for one in tally.rounds]
        drafter: Writes = Drafter(inputs.large[1])
        if inputs.folder is not None and (pre or post):
            drafter = remote(inputs.folder)
        one = Speculative(drafter, length=drafted, pre=pre, post=post)
        script = inputs.script(0, True)
        clock = _clock(
            inputs, lambda: answer(inputs.large[0], one, 0, inputs.timed_tokens, script), count
        )  # fmt: skip
        return Measured(
            {RECKONED: inputs.reckoned(tally), RUN: float(np.mean(runs)),
             "draft length": float(drafted), "acceptance": tally.acceptance},
            timed={WALL: clock}, products={"given": sum(one.given for one in tally.rounds)},
        )  # fmt: skip

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

    runner, drafter = inputs.micro[0], Drafter(inputs.micro[1])
    how, ids = Sampling(temperature=0.7, top_k=4, ignore_end=True), prompt(inputs.micro[0], 0)
    stream = opened(runner, 0, 4)
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
