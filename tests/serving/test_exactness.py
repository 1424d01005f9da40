"""The engine's tokens are those of transformers, whoever else is served and however.

Tokens in float32 are equal up to the first step where rounding may decide; the random numbers are
equal exactly, always.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from agreement import Agreement
from served import LONGEST, NARROW, TOKENS, WIDE, compare, engine, references, requests, serve

from tilth.serving.sampler import uniform
from tilth.serving.scheduler import POLICIES


def kind(sampling):
    return "greedy" if sampling.temperature == 0 else "sampled"


def test_more_than_one_near_tie_in_a_hundred_steps_is_a_failure():
    count = Agreement()
    for number in range(600):
        count.step("these", 1, 1, near=number < 6)
    count.check()
    count.step("those", 1, 2, near=True)
    with pytest.raises(AssertionError, match="near=7, other=1"):
        count.check()
    with pytest.raises(AssertionError, match="token 1, not 2"):
        count.step("those", 1, 2, near=False)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_tokens_are_those_of_transformers(name, device, agreement):
    for one in references(name, device):
        what = f"{kind(one.sampling)}, as transformers"
        for token, expected, near in zip(one.ids, one.expected, one.near):
            # The logits are those behind our own tokens, so what follows another one counts too.
            agreement.step(what, token, expected, near)
    first = references(name, device)[0]
    again = tiny.model(name, device).generate(
        torch.tensor([first.prompt], device=device), max_new_tokens=TOKENS, do_sample=False,
        eos_token_id=None, pad_token_id=0,
    )[0, len(first.prompt) :].tolist()  # fmt: skip
    compare(agreement, "greedy, as generate", first, again)


@pytest.mark.parametrize("name", tiny.MODELS)
def test_random_numbers_are_those_of_seed_sample_and_position(name, device):
    for one in references(name, device):
        seed, sample = one.sampling.seed, one.sampling.sample
        count = TOKENS if kind(one.sampling) == "sampled" else 0
        assert one.drawn == [(seed, sample, at, uniform(seed, at, sample)) for at in range(count)]


def check(name, device, agreement, order, one):
    """All requests at once, in this order, by the engine `one`, against each alone."""
    each = references(name, device)
    served = serve(one, [(each[at].prompt, each[at].sampling) for at in order])
    for at, ids in zip(order, served.ids):
        compare(agreement, f"{kind(each[at].sampling)}, as alone", each[at], ids)
    # Exactly, and each once: not one of them depends on who is served, nor is drawn again.
    assert served.drawn == sorted(number for one in each for number in one.drawn)
    return served


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_tokens_and_numbers_are_the_same_under_every_policy(name, policy, device, agreement):
    place = tiny.FAMILIES.index(name) + sorted(POLICIES).index(policy)
    order = np.random.default_rng(place + 1).permutation(len(requests())).tolist()
    wide = check(name, device, agreement, order, engine(name, device, policy=policy, **WIDE))
    assert not wide.preempted and not wide.cut
    # Each policy with both kinds of keys, and each family.
    keys = ("turned", "plain")[place % 2]
    one = engine(name, device, policy=policy, keys=keys, **NARROW)
    narrow = check(name, device, agreement, order, one)
    assert narrow.preempted and narrow.found
    assert narrow.cut or not POLICIES[policy].chunked


@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_tokens_are_the_same_where_beginnings_were_read_before(name, device, agreement):
    one = engine(name, device, block=4)
    order = range(len(requests()))
    check(name, device, agreement, order, one)
    assert check(name, device, agreement, order, one).found > 100


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(tiny.MODELS)),
    policy=st.sampled_from(sorted(POLICIES)),
    row=st.sampled_from([3, 17, 512]),
    block=st.sampled_from([3, 16]),
    spare=st.sampled_from([0, 5, 200]),
    sequences=st.sampled_from([1, 4, 20]),
    share=st.booleans(),
    keys=st.sampled_from(["turned", "plain"]),
    order=st.permutations(range(len(requests()))),
)
def test_tokens_depend_on_nothing_else(
    agreement, device, name, policy, row, block, spare, sequences, share, keys, order
):
    blocks = -(-(LONGEST + TOKENS) // block) + spare
    one = engine(name, device, policy=policy, row=row, block=block, blocks=blocks,
                 sequences=sequences, share=share, keys=keys)  # fmt: skip
    check(name, device, agreement, order, one)
