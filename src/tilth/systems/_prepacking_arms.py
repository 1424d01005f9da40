"""Arms of the system `prepacking`: ways to read a set of prompts, their seconds and their checks.

Each way gives what every prompt has alone: keys and values of its tokens and the logits of its next
token. Seconds are those of the processor, on one thread, and the ways take turns.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilth.evaluation.card import Invariant, Measured
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.prepacking import Prefilled, pack, prefill, row_for
from tilth.systems._prepacking_prompts import BATCH, EQUAL, MANY, SOME, WIDE, Prompts
from tilth.systems._threads import threads

PACKED, PADDED, SORTED, ALONE = "packed", "padded", "sorted, padded", "one by one"
THEIR_PADDED, THEIR_PACKED = "transformers, padded", "transformers, packed, dense mask"
SPEEDUP = "speed-up over padding"
CONTINUED = 12
LARGEST, LOGITS = 1e-5, 1e-4


def seconds(name: str) -> str:
    """The metric: for one set of prompts."""
    return f"CPU seconds, {name}"


def tokens(name: str) -> str:
    """The metric: pad tokens included."""
    return f"tokens run per real token, {name}"


@dataclass(eq=False)
class Inputs:
    """A model of `transformers` and sets of prompts. What is measured for all arms in turn is kept
    here."""

    model: Any
    prompts: Mapping[str, Prompts]
    repeats: int

    @functools.cached_property
    def runner(self) -> ModelRunner:
        return ModelRunner(self.model)

    @functools.cached_property
    def cache(self) -> Any:
        """Nothing is found in it that was read before."""
        most = max(map(len, self.prompts[WIDE])) * len(self.prompts[WIDE])
        return self.runner.cache(blocks=2 * (-(-most // 16) + len(self.prompts[WIDE])), share=False)

    @functools.cached_property
    def seconds(self) -> dict[tuple[str, str], float]:
        """(arm, set) -> the median of the repeats."""
        jobs = [(arm, WIDE) for arm in WAYS]
        jobs += [(arm, name) for name in (EQUAL, SOME) for arm in (PACKED, PADDED)]
        seen: dict[tuple[str, str], list[float]] = {job: [] for job in jobs}
        with threads(1):
            for arm in WAYS:  # a round that does not count, on the smallest set
                let_go(self, WAYS[arm](self, self.prompts[EQUAL]))
            for number in range(self.repeats):
                shift = number % len(jobs)
                for arm, name in jobs[shift:] + jobs[:shift]:
                    began = time.process_time()
                    found = WAYS[arm](self, self.prompts[name])
                    seen[arm, name].append(time.process_time() - began)
                    let_go(self, found)
        return {job: sorted(values)[len(values) // 2] for job, values in seen.items()}


def let_go(inputs: Inputs, found: Sequence[Any]) -> None:
    """Give blocks back, where there are any."""
    for one in found:
        if isinstance(one, Prefilled):
            inputs.cache.free(one.chain)


# The ways -------------------------------------------------------------------------------------


def packed(inputs: Inputs, prompts: Prompts) -> list[Prefilled]:
    """The method."""
    return prefill(inputs.runner, inputs.cache, prompts)


def alone(inputs: Inputs, prompts: Prompts) -> list[Prefilled]:
    """The truth: a row for each prompt."""
    return [prefill(inputs.runner, inputs.cache, [prompt])[0] for prompt in prompts]


def padded(inputs: Inputs, prompts: Prompts, order: Sequence[int] | None = None) -> list[Prefilled]:
    """Batches as they come, each prompt filled up to the longest of its batch, in the same runner.

    Filled up behind, where no token of the prompt sees it: attention stays plain causal, which is
    the fastest way to pad. The head is only for the last real tokens.
    """
    import torch

    order = range(len(prompts)) if order is None else order
    found: dict[int, Prefilled] = {}
    for start in range(0, len(order), BATCH):
        batch = [(place, prompts[place]) for place in order[start : start + BATCH]]
        width = max(len(ids) for _, ids in batch)
        row = [
            Segment(inputs.cache.chain(), ids + [0] * (width - len(ids)), want=width - len(ids) + 1)
            for _, ids in batch
        ]
        states = inputs.runner.forward(inputs.cache, row, states=True)
        firsts, at = [], 0
        for segment in row:
            firsts.append(at)
            at += segment.want
        head = inputs.runner.weights.head
        logits = torch.nn.functional.linear(states[firsts], head.weight, head.bias)
        for (place, ids), segment, one in zip(batch, row, logits):
            inputs.cache.truncate(segment.chain, len(ids))
            found[place] = Prefilled(segment.chain, one)
    return [found[place] for place in range(len(prompts))]


def in_order(inputs: Inputs, prompts: Prompts) -> list[Prefilled]:
    """The strongest simple way to pad: neighbours in length share a batch."""
    return padded(inputs, prompts, sorted(range(len(prompts)), key=lambda n: len(prompts[n])))


def their_padded(inputs: Inputs, prompts: Prompts) -> list[tuple[Any, Any]]:
    """As is usual with `transformers`: filled up in front, with a mask; (caches, logits)."""
    import torch

    found = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(one)) + one for one in batch])
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
        with torch.inference_mode():
            said = inputs.model(
                input_ids=ids, attention_mask=mask, use_cache=True, logits_to_keep=1,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            )  # fmt: skip
        layers = said.past_key_values.layers
        for number, one in enumerate(batch):
            part = [(layer.keys[number, :, -len(one) :], layer.values[number, :, -len(one) :])
                    for layer in layers]  # fmt: skip
            found.append((part, said.logits[number, -1]))
    return found


def their_packed(inputs: Inputs, prompts: Prompts) -> list[tuple[Any, Any]]:
    """The method as its authors run it: a bin is one sequence, whose mask is a square matrix."""
    import torch

    lengths = [len(prompt) for prompt in prompts]
    found: dict[int, tuple[Any, Any]] = {}
    for places in pack(lengths, row_for(lengths)):
        parts = [torch.arange(lengths[place]) for place in places]
        owner = torch.cat([torch.full_like(part, n) for n, part in enumerate(parts)])
        ends = torch.tensor([lengths[place] for place in places]).cumsum(0)
        with torch.inference_mode():
            said = inputs.model(
                input_ids=torch.tensor([[id for place in places for id in prompts[place]]]),
                position_ids=torch.cat(parts)[None], use_cache=True, logits_to_keep=ends - 1,
                attention_mask=(owner[:, None] == owner).tril()[None, None],
            )  # fmt: skip
        for number, (place, end) in enumerate(zip(places, ends.tolist())):
            own = slice(end - lengths[place], end)
            part = [(layer.keys[0, :, own], layer.values[0, :, own])
                    for layer in said.past_key_values.layers]  # fmt: skip
            found[place] = part, said.logits[0, number]
    return [found[place] for place in range(len(prompts))]


WAYS: dict[str, Callable[[Inputs, Prompts], list[Any]]] = {
    PACKED: packed, PADDED: padded, SORTED: in_order, ALONE: alone,
    THEIR_PADDED: their_padded, THEIR_PACKED: their_packed,
}  # fmt: skip


# What is measured -----------------------------------------------------------------------------


def run_for_one(prompts: Prompts, arm: str) -> float:
    """Tokens that are run for each real one."""
    lengths = [len(prompt) for prompt in prompts]
    if arm in (PACKED, ALONE, THEIR_PACKED):
        return 1.0
    lengths = sorted(lengths) if arm == SORTED else lengths
    batches = [lengths[start : start + BATCH] for start in range(0, len(lengths), BATCH)]
    return sum(max(batch) * len(batch) for batch in batches) / sum(lengths)


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    """A way to read prompts: its seconds, and the tokens that it runs."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        found = {seconds(where): value for (way, where), value in inputs.seconds.items()
                 if way == name}  # fmt: skip
        counted = {tokens(where): run_for_one(inputs.prompts[where], name)
                   for where in (EQUAL, SOME, WIDE, MANY)}  # fmt: skip
        return Measured({**found, **counted})

    return measure


def speedup(name: str) -> Callable[[Inputs, int], Measured]:
    """A set of prompts: how many times as fast as padding the method reads it."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        found = inputs.seconds
        return Measured({SPEEDUP: found[PADDED, name] / found[PACKED, name]})

    return measure


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """That every way reads the same, on the set of the most unlike lengths."""
    import torch

    prompts, cache = inputs.prompts[WIDE], inputs.cache
    truth, method, fill = (way(inputs, prompts) for way in (alone, packed, padded))
    rows = [cache.slice(one.chain) for one in truth]
    for name, found in ((PACKED, method), (PADDED, fill)):
        near = all(
            one.chain.length == len(own) and _near(cache.slice(one.chain), own)
            for one, own in zip(found, rows)
        )
        yield Invariant(f"{name}: keys and values of every layer as one by one, to 1e-5", near)
        close = [torch.allclose(one.logits, own.logits, rtol=0, atol=LOGITS)
                 for one, own in zip(found, truth)]  # fmt: skip
        yield Invariant(f"{name}: logits as one by one, to 1e-4", all(close))
    for name, way in ((THEIR_PADDED, their_padded), (THEIR_PACKED, their_packed)):
        near = all(_as_theirs(cache, own, one) for one, own in zip(way(inputs, prompts), truth))
        yield Invariant(f"{name}: caches to 1e-5 and logits to 1e-4 as one by one", near)
    same = _continued(inputs, method, together=True) == _continued(inputs, truth, together=False)
    yield Invariant(f"{CONTINUED} greedy tokens are those of one by one", same)
    lengths = [len(prompt) for prompt in prompts]
    once = sorted(place for one in pack(lengths, row_for(lengths)) for place in one)
    yield Invariant("every prompt is in one bin", once == [*range(len(prompts))])
    for one in (*truth, *method, *fill):
        cache.free(one.chain)
    yield Invariant("all blocks are free again", cache.table.free == cache.table.total)


def _near(rows: Any, others: Any) -> bool:
    pairs = ((rows.keys, others.keys), (rows.values, others.values))
    return all(float((one - other).abs().max()) <= LARGEST for one, other in pairs)


def _as_theirs(cache: Any, own: Prefilled, theirs: tuple[Any, Any]) -> bool:
    """Keys as they lie in the cache, turned, as `transformers` keeps them."""
    layers, logits = theirs
    slots = cache.slots(own.chain, 0, own.chain.length)
    differences = [float((logits - own.logits).abs().max()) * LARGEST / LOGITS]
    for number, sides in enumerate(layers):
        for side, other in zip((cache.keys, cache.values), sides):
            differences.append(float((side[number][slots].transpose(0, 1) - other).abs().max()))
    return max(differences) <= LARGEST


def _continued(inputs: Inputs, found: Sequence[Prefilled], together: bool) -> list[list[int]]:
    """Greedy continuations, all prompts in a row or each in its own."""
    made = [[int(one.logits.argmax())] for one in found]
    groups = [range(len(found))] if together else [[n] for n in range(len(found))]
    for group in groups:
        for _ in range(CONTINUED - 1):
            row = [Segment(found[n].chain, made[n][-1:]) for n in group]
            for n, logits in zip(group, inputs.runner.forward(inputs.cache, row)):
                made[n].append(int(logits.argmax()))
    return made
