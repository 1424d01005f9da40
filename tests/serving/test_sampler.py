"""The sampler against that of transformers, and its random numbers against themselves."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, UsageError
from tilth.serving.sampler import (
    Sampling,
    draw,
    log_probabilities,
    penalised,
    probabilities,
    sample,
    uniform,
)

# Of seeds 0 and 1 at position 0, and of seed 0 at position 1.
PINNED = [0.011546754286331562, 0.3035680343067586, 0.5023796042735054]


def theirs(logits, sampling, prompt=(), made=()):
    """The distribution by the processors of transformers."""
    from transformers.generation import logits_process as p

    rows = torch.tensor(logits)[None].double()
    ids = torch.tensor([[*prompt, *made]])
    steps = []
    if sampling.repetition != 1 and ids.numel():
        steps.append(p.RepetitionPenaltyLogitsProcessor(sampling.repetition))
    if sampling.temperature != 1:
        steps.append(p.TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        steps.append(p.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(p.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        steps.append(p.MinPLogitsWarper(sampling.min_p))
    for step in steps:
        rows = step(ids, rows)
    return torch.softmax(rows[0], -1).numpy()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 60),
    top_p=st.floats(0.05, 1),
    min_p=st.floats(0, 0.9),
    repetition=st.floats(0.5, 2),
)
def test_distributions_are_those_of_transformers(
    seed, temperature, top_k, top_p, min_p, repetition
):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, 50)
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition)
    prompt, made = rng.integers(0, 50, 6).tolist(), rng.integers(0, 50, 4).tolist()
    ours = probabilities(penalised(logits, sampling, prompt, made), sampling)
    expected = theirs(logits, sampling, prompt, made)
    # Where rounding decides about one token at the edge of a filter, all others still agree.
    edge = (ours > 0) != (expected > 0)
    assert edge.sum() <= 1 and ours.sum() == pytest.approx(1)
    if not edge.any():
        assert np.allclose(ours, expected, atol=1e-9)


def test_penalties_of_openai_and_biases():
    logits = np.zeros(6, np.float32)
    sampling = Sampling(frequency=0.5, presence=0.25, bias={2: 3.0, 99: 1.0})
    found = penalised(logits, sampling, [1, 1], [4, 4, 5])
    assert found.tolist() == [0, 0, 3, 0, -1.25, -0.75] and logits.tolist() == [0] * 6


def test_draws_have_their_chances():
    chances = np.array([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    numbers = [uniform(7, position) for position in range(6000)]
    found = np.bincount([draw(chances, number) for number in numbers], minlength=6)
    assert found[[0, 2, 5]].sum() == 0
    expected = 6000 * chances[[1, 3, 4]]
    assert ((found[[1, 3, 4]] - expected) ** 2 / expected).sum() < 13.8  # chi square, p = 0.001
    assert [draw(chances, number) for number in (0.0, 0.4999, 0.5, 1 - 2**-53)] == [1, 1, 3, 4]
    assert draw(np.array([0.0, 1.0, 0.0]), math.nextafter(1, 0)) == 1


def philox(key, counter):
    """The first 64 bits of Philox4x64-10 as its paper has it, in whole numbers."""
    word = 2**64
    x = [counter >> 64 * number & word - 1 for number in range(4)]
    k = [key & word - 1, key >> 64]
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [second // word ^ x[1] ^ k[0], second % word, first // word ^ x[3] ^ k[1], first % word]
        k = [(k[0] + 0x9E3779B97F4A7C15) % word, (k[1] + 0xBB67AE8584CAA73B) % word]
    return x[0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**64 - 1),
    position=st.integers(0, 2**40),
    sample=st.integers(0, 2**40),
    stream=st.integers(0, 3),
)
def test_random_numbers_are_those_of_philox(seed, position, sample, stream):
    # numpy steps the counter before it draws.
    bits = philox(seed % 2**64 + sample * 2**64, position + stream * 2**64 + 1)
    assert uniform(seed, position, sample, stream) == (bits >> 11) * 2.0**-53


def test_random_numbers_are_a_function_of_seed_sample_and_position():
    # Fixed for ever: a changed number is a changed answer for every user's seed.
    assert [uniform(0, 0), uniform(1, 0), uniform(0, 1)] == PINNED
    places = [(seed, at, n, s) for seed in (0, -1, 2**63) for at in (0, 5) for n in (0, 1)
              for s in (0, 1)]  # fmt: skip
    numbers = [uniform(*place) for place in places]
    assert len(set(numbers)) == len(numbers) and all(0 <= number < 1 for number in numbers)
    many = np.array([uniform(seed, at) for seed in range(60) for at in range(60)]).reshape(60, 60)
    assert abs(many.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(many[:, :-1].ravel(), many[:, 1:].ravel())[0, 1]) < 0.06


def test_samples_and_their_log_probabilities():
    logits = np.random.default_rng(0).normal(0, 2, 40).astype(np.float32)
    token = sample(logits, Sampling(temperature=0, logprobs=3), [1], [])
    expected = torch.log_softmax(torch.tensor(logits).double(), -1)
    assert token.id == int(logits.argmax()) == token.top[0][0]
    assert token.logprob == pytest.approx(float(expected.max()))
    values, ids = expected.topk(3)
    assert [id for id, _ in token.top] == ids.tolist()
    assert np.allclose([value for _, value in token.top], values)
    assert log_probabilities(logits[None], [4], 0) == [(pytest.approx(float(expected[4])), ())]
    drawn = sample(logits, Sampling(seed=3), [1], [2, 2])
    chances = probabilities(logits, Sampling(seed=3))
    assert drawn.id == draw(chances, uniform(3, 2)) and drawn.logprob is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_an_error(bad):
    logits = np.zeros(5, np.float32)
    logits[2] = bad
    with pytest.raises(DataError, match="no numbers"):
        sample(logits, Sampling(), [], [])
    logits[2] = -math.inf
    assert sample(logits, Sampling(), [], []).id != 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1}, "temperature"), ({"temperature": math.nan}, "finite"),
        ({"top_k": -1}, "top_k"), ({"top_p": 0}, "top_p"), ({"min_p": 2}, "min_p"),
        ({"repetition": 0}, "repetition"), ({"logprobs": 10**9}, "logprobs"),
        ({"stop": ("x",) * 1000}, "stop texts"), ({"stop": ("",)}, "stop texts"),
        ({"bias": {3: math.inf}}, "finite"),
        ({"temperature": "0"}, "numbers"), ({"temperature": None}, "numbers"),
        ({"top_k": 2.5}, "whole"), ({"seed": 1.5}, "whole"), ({"seed": None}, "whole"),
        ({"top_k": True}, "whole"), ({"logprobs": True}, "whole"), ({"logprobs": 1.0}, "whole"),
        ({"bias": {"3": 1}}, "token ids"), ({"bias": {3: "1"}}, "token ids"),
        ({"bias": [3]}, "token ids"), ({"stop_tokens": 3}, "list"), ({"stop": 3}, "list"),
        ({"stop": (3,)}, "texts"), ({"stop_tokens": ("3",)}, "token ids"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Sampling(**settings)


def test_a_stop_text_alone_is_one_text():
    assert Sampling(stop="END").stop == Sampling(stop=["END"]).stop == ("END",)
    numbers = {"temperature": np.float32(0.5), "top_k": np.int64(3), "bias": {np.int64(3): 1}}
    assert Sampling(**numbers).top_k == 3


def test_a_tiny_temperature_takes_the_most_likely_token():
    logits = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    assert probabilities(logits, Sampling(temperature=5e-324)).tolist() == [0.0, 1.0, 0.0]
