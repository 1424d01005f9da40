"""Requests of every kind, served by an engine that is asked for everything it does.

`references` serves each for itself; the tests serve all together, in every way, and compare.
"""

import functools
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from unittest import mock

import numpy as np
import tiny
from agreement import NEAR, NEAR_NUMBER

from tilth.serving import sampler
from tilth.serving.engine import Engine
from tilth.serving.sampler import Sampling, draw, penalised, probabilities, uniform

TOKENS = 8
LONGEST = 40
# Wide: all at once, and nothing is short. Narrow: rows that cut prompts, and room for no more than
# the longest request, so that blocks are taken from those who run.
WIDE = {"row": 512, "block": 16, "sequences": 20}
NARROW = {"row": 17, "block": 3, "blocks": -(-(LONGEST + TOKENS) // 3), "sequences": 20}
GREEDY = Sampling(temperature=0, ignore_end=True)
SAMPLED = (
    Sampling(temperature=0.7, top_p=0.95, ignore_end=True),
    Sampling(temperature=0.5, top_k=20, min_p=0.01, repetition=1.2, ignore_end=True),
    Sampling(temperature=1.0, top_k=40, frequency=0.5, bias={7: 1.0}, ignore_end=True),
)


def mixed_prompts(seed=0):
    """Short and long ones, several with one beginning, and two with one middle."""
    first, *others, longest = tiny.prompts(seed, (21, 1, 5, 5, LONGEST))
    longest[12:21] = first[12:21]
    return [first, *others, longest, first, [*first[:17], 9, 8], [*first[:16], 7]]


def requests():
    """Each prompt greedily and sampled, every sampling with numbers of its own."""
    found = [(prompt, GREEDY) for prompt in mixed_prompts()]
    for place, prompt in enumerate(mixed_prompts()):
        how = SAMPLED[place % len(SAMPLED)]
        found.append((prompt, replace(how, seed=5 + place // 2, sample=place % 2)))
    return found


def engine(name="llama", device="cpu", dtype="float32", **options):
    model = tiny.model(name, device)
    return Engine(model, tiny.tokenizer(), device=device, dtype=dtype, **options)


@contextmanager
def recorded():
    """The random numbers that are drawn meanwhile: (seed, sample, position, number) of each."""
    drawn = []

    def watched(seed, position, sample=0, stream=0):
        number = uniform(seed, position, sample, stream)
        drawn.append((seed, sample, position, number))
        return number

    with mock.patch.object(sampler, "uniform", watched):
        yield drawn


@dataclass
class Served:
    """What came of requests. `ids`: of each; `drawn`: all random numbers, in order of their names;
    the rest: how often a request lost its blocks, how often a part of its tokens had to wait for
    another row, and how many tokens were not read since the cache had them."""

    ids: list[list[int]] = field(default_factory=list)
    drawn: list[tuple] = field(default_factory=list)
    preempted: int = 0
    cut: int = 0
    found: int = 0


def serve(one, asked, tokens=TOKENS):
    """All of these (prompt, sampling) in this order, until the last is done."""
    made = {one.submit(prompt, tokens, sampling): [] for prompt, sampling in asked}
    served = Served()
    with recorded() as drawn:
        while one.busy:
            for event in one.step():
                assert event.reason != "failed", event.detail
                if event.token is not None:
                    made[event.request].append(event.token.id)
            plan, work = one.plan, dict(one.plan.work)
            served.preempted += len(plan.preempted)
            for live in one.running:
                assert live.chain is not None
                served.cut += live.chain.length < live.length - 1
                if live.id in plan.admitted:
                    served.found += live.chain.length - work[live.id]
    one.cache.table.check()
    assert one.cache.table.free == one.cache.table.total
    served.ids, served.drawn = list(made.values()), sorted(drawn)
    return served


@dataclass(frozen=True)
class Reference:
    """What a request gets when it is served for itself, and at which steps rounding may decide."""

    prompt: list[int]
    sampling: Sampling
    ids: list[int]
    drawn: list[tuple]
    # By the logits of transformers behind this prompt and the tokens before the step.
    expected: list[int]
    near: list[bool]


@functools.cache
def references(name, device="cpu"):
    one = engine(name, device, policy="request_level", share=False, sequences=1)
    found = []
    for prompt, sampling in requests():
        served = serve(one, [(prompt, sampling)])
        (ids,) = served.ids
        rows = tiny.logits(tiny.model(name, device), [*prompt, *ids])[len(prompt) - 1 : -1].numpy()
        choices = [choice(row, sampling, prompt, ids[:at]) for at, row in enumerate(rows)]
        found.append(Reference(prompt, sampling, ids, served.drawn, *map(list, zip(*choices))))
    return found


def choice(row, sampling, prompt, made):
    """The token that follows from logits, and whether rounding may decide otherwise."""
    row = penalised(row, sampling, prompt, made)
    if sampling.temperature == 0:
        second, first = np.partition(row, -2)[-2:]
        return int(row.argmax()), bool(first - second < NEAR)
    number = uniform(sampling.seed, len(made), sampling.sample)
    found = [
        draw(probabilities(row, one), min(max(number + by, 0), 1 - NEAR_NUMBER))
        for one in [sampling, *neighbours(row, sampling)]
        for by in (0, -NEAR_NUMBER, NEAR_NUMBER)
    ]
    return found[0], len(set(found)) > 1


def neighbours(row, sampling):
    """Filters that keep a token more or one less, where rounding may decide about it."""
    top_p, min_p, top_k = sampling.top_p, sampling.min_p, sampling.top_k
    for by in (-NEAR_NUMBER, NEAR_NUMBER):
        if top_p < 1 or min_p:
            yield replace(sampling, top_p=min(1, top_p + by), min_p=max(0, min_p + by))
    last, next_one = np.partition(row, (-top_k - 1, -top_k))[[-top_k, -top_k - 1]]
    if top_k and last - next_one < NEAR / 10:
        yield replace(sampling, top_k=top_k - 1)
        yield replace(sampling, top_k=top_k + 1)


def compare(agreement, what, reference, ids):
    """The tokens of one request with those that it gets alone, up to the first other one."""
    assert len(ids) == len(reference.ids)
    for token, expected, near in zip(ids, reference.ids, reference.near):
        if not agreement.step(what, token, expected, near):
            break
