"""Packed prompts have the caches and the next tokens that they have alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import LimitError, UsageError
from tilth.serving.fallback import FallbackRunner
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.prepacking import pack, prefill

LENGTHS = (23, 9, 1, 40, 9, 17, 64, 2)


def continued(runner, cache, prefilled, steps=6):
    """The greedy continuations, all in one row a step."""
    tokens = [[int(one.logits.argmax())] for one in prefilled]
    for _ in range(steps):
        row = [Segment(one.chain, made[-1:]) for one, made in zip(prefilled, tokens)]
        for made, logits in zip(tokens, runner.forward(cache, row)):
            made.append(int(logits.argmax()))
    return tokens


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("capacity", [None, 7, 1000])
def test_caches_and_continuations_are_those_of_one_by_one(name, capacity):
    runner = ModelRunner(tiny.model(name))
    prompts = tiny.prompts(1, LENGTHS)
    cache = runner.cache(blocks=200, block=4, share=False)
    packed = prefill(runner, cache, prompts, capacity=capacity)
    alone = [prefill(runner, cache, [prompt])[0] for prompt in prompts]
    for prompt, one, other in zip(prompts, packed, alone):
        assert one.chain.length == len(prompt)
        rows, others = cache.slice(one.chain), cache.slice(other.chain)
        assert torch.allclose(rows.keys, others.keys, atol=1e-5, rtol=1e-5)
        assert torch.allclose(rows.values, others.values, atol=1e-5, rtol=1e-5)
        expected = tiny.logits(tiny.model(name), prompt)[-1]
        assert torch.allclose(one.logits, expected, atol=1e-4)
    assert continued(runner, cache, packed) == [continued(runner, cache, [one])[0] for one in alone]
    for one in (*packed, *alone):
        cache.free(one.chain)
    cache.table.check()
    assert cache.table.free == cache.table.total


def test_bins_hold_all_once_and_are_not_over_full():
    draw = np.random.default_rng(0)
    for _ in range(50):
        lengths = draw.integers(1, 60, draw.integers(1, 80)).tolist()
        capacity = int(draw.integers(20, 90))
        bins = pack(lengths, capacity)
        assert sorted(place for one in bins for place in one) == list(range(len(lengths)))
        sums = [sum(lengths[place] for place in one) for one in bins]
        assert all(s <= capacity or len(one) == 1 for s, one in zip(sums, bins))
        # First fit: what opens a bin had no room in those before it.
        for number, one in enumerate(bins):
            for before in bins[:number]:
                there = sum(lengths[p] for p in before if lengths[p] >= lengths[one[0]])
                assert there + lengths[one[0]] > capacity
    assert pack([3, 5, 4, 2], 7) == [[1, 3], [2, 0]]
    assert pack([], 5) == []
    assert pack([9, 1], 5) == [[0], [1]]
    for wrong in (([1], 0), ([0], 5)):
        with pytest.raises(UsageError, match="at least 1"):
            pack(*wrong)


def test_known_beginnings_are_not_read_again():
    runner = ModelRunner(tiny.model())
    cache = runner.cache(blocks=60, block=4)
    first, second = tiny.prompts(2, (30, 11))
    (known,) = prefill(runner, cache, [first])
    packed = prefill(runner, cache, [first[:24] + second, first])
    assert packed[0].chain.blocks[:6] == known.chain.blocks[:6]
    expected = tiny.logits(tiny.model(), first[:24] + second)[-1]
    assert torch.allclose(packed[0].logits, expected, atol=1e-4)
    assert torch.allclose(packed[1].logits, known.logits, atol=1e-4)


def test_a_lack_of_room_leaves_nothing_behind():
    runner = ModelRunner(tiny.model())
    cache = runner.cache(blocks=10, block=4)
    prompts = tiny.prompts(3, (12, 30, 8))
    with pytest.raises(LimitError, match="blocks"):
        prefill(runner, cache, prompts)
    assert cache.table.free == 10
    with pytest.raises(UsageError, match="at least one token"):
        prefill(runner, cache, [[1], []])
    assert prefill(runner, cache, []) == []


def test_models_that_transformers_runs_are_read_one_by_one():
    runner = FallbackRunner(tiny.model("qwen2"))
    prompts = tiny.prompts(4, (9, 3, 14))
    found = prefill(runner, runner.cache(blocks=60, block=4), prompts)
    for prompt, one in zip(prompts, found):
        expected = tiny.logits(tiny.model("qwen2"), prompt)[-1]
        assert torch.allclose(one.logits, expected, atol=1e-4)
