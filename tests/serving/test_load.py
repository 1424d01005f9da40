"""Loads: virtual time makes the batches of the engine; metrics and capacity by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import DataError, LimitError, UsageError
from tilth.serving import load
from tilth.serving.engine import Engine
from tilth.serving.load import Metrics, arriving, at_rate, capacity, gamma, poisson, serve
from tilth.serving.scheduler import POLICIES
from tilth.serving.virtual import Ask, Real, Virtual


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(sorted(POLICIES)), seed=st.integers(0, 99), blocks=st.integers(12, 40),
    row=st.integers(4, 40), at_once=st.sampled_from([None, 3]),
)  # fmt: skip
def test_virtual_time_makes_the_batches_of_the_engine(name, seed, blocks, row, at_once):
    draw = np.random.default_rng(seed)
    asks = [Ask(int(p), int(t), float(at)) for p, t, at in zip(
        draw.integers(1, 30, 8), draw.integers(1, 9, 8), draw.uniform(0, 30, 8))]  # fmt: skip
    engine = Engine(tiny.model(), tiny.tokenizer(), policy=name, row=row, sequences=4,
                    blocks=blocks, block=4, share=False)  # fmt: skip
    prompts = tiny.prompts(seed, [30] * 8)
    ticks = iter(range(10**6))
    real = Real(engine, lambda n: prompts[n], clock=lambda: float(next(ticks)))
    found = serve(real, asks, at_once)
    virtual = Virtual(lambda work: 1.0, name, row=row, sequences=4, blocks=blocks, block=4)
    expected = serve(virtual, asks, at_once)
    assert found == expected
    order = sorted(asks, key=lambda ask: ask.at) if at_once is None else asks
    assert [len(real.texts[n]) for n in range(8)] == [ask.tokens for ask in order]
    assert found.steps[-1].free == blocks


def test_what_those_who_wait_see():
    # Three tokens of a prompt, then two answers side by side; a step takes a second.
    server = Virtual(lambda work: 1.0, "prefill_first", row=4, sequences=2, blocks=10, block=4)
    served = serve(server, arriving([(3, 3), (4, 1), (2, 2)], [0.0, 0.5, 100.0]))
    assert served.batches()[:4] == [
        (((0, 3, 0),), ()), (((1, 4, 0),), ()), (((0, 1, 3),), ()), (((0, 1, 4),), ())
    ]  # fmt: skip
    first, second, third = served.timings
    assert first.times == [1.0, 3.0, 4.0] and second.times == [2.0]
    assert (second.begun, third.begun, third.times) == (1.0, 100.0, [101.0, 102.0])
    seen = served.metrics()
    assert seen.ttft_p50 == 1.0 and seen.tbt_p50 == 1.0 and seen.delay_p50 == 0.0
    assert seen.tokens == 6 and seen.seconds == 102.0 and seen.longest == 1.0
    assert max(served.gaps()) == 2.0


def test_closed_loads_send_the_next_when_one_is_over():
    server = Virtual(lambda work: 1.0, "orca", sequences=8, blocks=20, block=4)
    served = serve(server, [Ask(2, 2), Ask(2, 4), Ask(2, 1)], at_once=2)
    assert [one.arrived for one in served.timings] == [0.0, 0.0, 2.0]
    assert max(len(step.work) for step in served.steps) == 2


def test_streams_of_arrivals():
    times = np.array(poisson(4.0, 20000, 1))
    gaps = np.diff(times)
    assert abs(gaps.mean() - 0.25) < 0.01 and abs(gaps.std() - 0.25) < 0.01
    bursts = np.diff(gamma(4.0, 20000, 3.0, 1))
    assert abs(bursts.mean() - 0.25) < 0.02 and abs(bursts.std() / bursts.mean() - 3) < 0.2
    asks = arriving([(1, 1)] * 2, [2.0, 4.0])
    assert [ask.at for ask in at_rate(asks, 2.0)] == [1.0, 2.0]
    with pytest.raises(UsageError, match="above 0"):
        poisson(0, 3)


def test_capacity_is_found_and_bounded():
    def run(rate):
        return Metrics(0, 0, 0, rate / 10, rate / 100, 0, 0, 0, 0)

    assert capacity(run, 0.5) == pytest.approx(5.0, rel=0.02)
    assert capacity(run, 50.0, delay=0.02) == pytest.approx(2.0, rel=0.02)
    assert capacity(run, 1e9, 1e9, high=64.0) == 64.0
    assert capacity(run, 1e-9) == 0.0


def test_what_never_fits_is_refused():
    with pytest.raises(LimitError, match="3 blocks are needed, there are 2"):
        Virtual(lambda work: 1.0, blocks=2, block=4).submit(Ask(8, 2))
    with pytest.raises(UsageError, match="at least one"):
        Virtual(lambda work: 1.0).submit(Ask(0, 2))


@pytest.mark.parametrize("name", sorted(load.PAIRS))
def test_real_pairs_are_read(name):
    try:
        found, (source,) = load.pairs(name)
    except DataError as error:
        pytest.skip(str(error))
    assert len(found) > 1000 and source.licence in ("MIT", "CC BY 4.0")
    assert all(ask and answer for ask, answer in found[:50])
