"""Superposed decoding: one draft is the greedy answer; n-grams are counts; beams are exact."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import UsageError
from tilth.serving.engine import Engine
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.sampler import Sampling
from tilth.serving.strategies.ngrams import WEIGHTS, Grams
from tilth.serving.strategies.superposed import superpose

GREEDY = Sampling(temperature=0, ignore_end=True)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "qwen3"])
def test_one_draft_is_the_greedy_answer(name):
    prompts = tiny.prompts(1, (9, 1, 30))
    expected = Engine(tiny.model(name), tiny.tokenizer()).complete(prompts, 12, GREEDY)
    runner = ModelRunner(tiny.model(name))
    cache = runner.cache(32, 4)
    grams = Grams([prompt * 2 for prompt in prompts])
    for prompt, one in zip(prompts, expected):
        (found,) = superpose(runner, cache, prompt, tokens=12, drafts=1)
        (again,) = superpose(runner, cache, prompt, tokens=12, drafts=1, ngrams=grams, alpha=0.0)
        assert found.ids == again.ids == one.ids and found.logprob <= 0
    cache.table.check()
    assert cache.table.free == cache.table.total


def test_the_stream_reads_the_weighted_sum_and_leaves_no_name_behind():
    runner, prompt = ModelRunner(tiny.model("llama")), tiny.prompts(4, (9,))[0]
    cache = runner.cache(32, 4)
    drafts = superpose(runner, cache, prompt, tokens=2, drafts=3, temperature=0.5)
    # By hand: the three likeliest tokens, their weights, one mixed embedding, nine candidates.
    chain = cache.chain()
    logits = runner.forward(cache, [Segment(chain, prompt)])[0].double()
    first = logits.topk(3)
    weights = first.values.softmax(0)
    mixed = (weights.float() @ runner.weights.embed[first.indices])[None]
    second = runner.forward(cache, [Segment(chain, [0])], embeds=mixed)[0].double() / 0.5
    best = second.topk(9)
    total = weights.log()[:, None] + best.values.log_softmax(0)[None]
    expected = {
        (int(first.indices[i]), int(best.indices[j])): float(total[i, j])
        for i in range(3) for j in range(9)
    }  # fmt: skip
    ranked = sorted(expected, key=lambda pair: -expected[pair])[:3]
    assert [tuple(one.ids) for one in drafts] == ranked
    assert [one.logprob for one in drafts] == pytest.approx([expected[pair] for pair in ranked])
    # What was mixed is found by nobody: only the prompt's full blocks are.
    again = cache.chain([*prompt, *drafts[0].ids, 1, 2, 3, 4])
    assert again.length == 8


def test_drafts_differ_and_ended_ones_are_set_aside():
    runner = ModelRunner(tiny.model("llama"))
    cache = runner.cache(32, 4)
    prompt = tiny.prompts(6, (7,))[0]
    plain = superpose(runner, cache, prompt, tokens=8, drafts=4)
    assert len({tuple(one.ids) for one in plain}) == 4
    assert [one.logprob for one in plain] == sorted((one.logprob for one in plain), reverse=True)
    end = plain[0].ids[3]
    ended = superpose(runner, cache, prompt, tokens=8, drafts=4, ends=[end])
    assert len(ended) == 4 and any(one.ended for one in ended)
    assert not any(end in one.ids for one in ended)
    for wrong in ({"drafts": 0}, {"temperature": 0}, {"alpha": 2}, {"drafts": 3, "candidates": 2}):
        with pytest.raises(UsageError):
            superpose(runner, cache, prompt, **{"tokens": 3, **wrong})


def test_ngrams_are_counted():
    documents = [[1, 2, 3, 1, 2, 4], [2, 3], [5], []]
    grams = Grams(documents)
    tokens = np.arange(7)

    def by_hand(context):
        found = np.zeros(7)
        for size, weight in enumerate(WEIGHTS, 1):
            if len(context) < size:
                continue
            followed = Counter(
                ids[at + size]
                for ids in documents
                for at in range(len(ids) - size)
                if ids[at : at + size] == context[-size:]
            )
            for token, count in followed.items():
                found[token] += weight * count / sum(followed.values())
        return found

    for context in ([2], [1, 2], [3, 1, 2], [9], [4, 2], [2, 3, 1, 2], []):
        assert np.allclose(grams.chances(context, tokens), by_hand(context))


def test_ngrams_tell_drafts_apart():
    # Every draft but one has a continuation that the text does not know.
    runner = ModelRunner(tiny.model("llama"))
    prompt = tiny.prompts(6, (7,))[0]
    cache = runner.cache(32, 4)
    plain = superpose(runner, cache, prompt, tokens=4, drafts=3)
    favourite = plain[-1].ids
    grams = Grams([[*prompt, *favourite]] * 2)
    smoothed = superpose(runner, cache, prompt, tokens=4, drafts=3, ngrams=grams)
    assert smoothed[0].ids == favourite
