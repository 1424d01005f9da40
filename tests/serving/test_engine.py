"""The engine: texts, events, ends, log-probabilities, and what goes wrong."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from served import GREEDY, engine

from tilth.errors import DataError, LimitError, UsageError
from tilth.models.complete import complete
from tilth.serving import sampler
from tilth.serving.sampler import Sampling


def test_texts_are_those_of_the_short_loop():
    texts = ["one two", "", "seven six five", "one two"]
    model = tiny.model("llama")
    expected = [complete(model, tiny.tokenizer(), text, 10, temperature=0) for text in texts]
    one = engine()
    assert one.generate(texts, 10, temperature=0) == expected
    # The same prompt twice gives two samples; the same call gives the same again.
    first = one.generate(texts, 10, seed=5)
    assert first == one.generate(texts, 10, seed=5) and first[0] != first[3]


def test_steps_tell_every_letter_once_and_prompts_are_shared():
    one = engine(block=4)
    whole = one.complete(["three four five six seven"], 9, GREEDY)[0]
    number = one.submit("three four five six seven", 9, GREEDY)
    assert number == 1 and one.waiting[0].job(one.cache).cached == 8
    events = []
    while one.busy:
        events += one.step()
    assert [event.token.id for event in events] == whole.ids
    assert "".join(event.text for event in events) == whole.text
    assert [event.reason for event in events] == [""] * 8 + ["length"]


def test_stops_ends_and_cancels():
    one = engine()
    text = one.complete(["one"], 20, Sampling(temperature=0, ignore_end=True))[0]
    stop = text.text[3:5]
    cut = one.complete(["one"], 20, Sampling(temperature=0, ignore_end=True, stop=(stop,)))[0]
    assert (cut.text, cut.reason) == (text.text[: text.text.index(stop)], "stop")
    token = text.ids[4]
    ended = one.complete(["one"], 20, Sampling(temperature=0, stop_tokens=(token,)))[0]
    assert ended.reason == "stop" and ended.ids == text.ids[: text.ids.index(token)]
    numbers = [one.submit("one two", 50, GREEDY) for _ in range(3)]
    one.step()
    assert one.cancel(numbers[1]) and not one.cancel(numbers[1]) and not one.cancel(99)
    events = one.step()
    assert [(e.request, e.reason) for e in events if e.reason] == [(numbers[1], "cancelled")]
    for number in (numbers[0], numbers[2]):
        one.cancel(number)
    assert len(one.step()) == 2 and not one.busy
    assert one.cache.table.free == one.cache.table.total


def test_scores_are_log_probabilities_of_the_prompt():
    prompts = tiny.prompts(8, (30, 12))
    for options in ({}, {"row": 7}, {"blocks": 11, "block": 4}):
        found = engine(**options).complete(
            prompts, 4, Sampling(temperature=0, logprobs=2, ignore_end=True), scores=True
        )
        for prompt, one in zip(prompts, found):
            rows = torch.log_softmax(tiny.logits(tiny.model("llama"), [*prompt, *one.ids]), -1)
            told = [*one.prompt, *one.tokens]
            assert [token.id for token in told] == [*prompt[1:], *one.ids]
            for row, token in zip(rows, told):
                assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
                assert [id for id, _ in token.top] == row.topk(2).indices.tolist()
    only = engine().complete(prompts, 0, scores=True)
    assert [len(one.prompt) for one in only] == [29, 11] and not only[0].tokens


def test_what_cannot_fit_is_refused_with_both_numbers():
    one = engine(blocks=4, block=8)
    with pytest.raises(LimitError, match=r"takes 100 tokens and 30 are asked .*context is 128"):
        one.submit([1] * 100, 30)
    with pytest.raises(LimitError, match=r"takes 30 tokens and 4 are asked .*cache holds 32"):
        one.submit([1] * 30, 4)
    assert one.complete([[1] * 30], 3, GREEDY)[0].reason == "length"
    for prompt, tokens, message in (
        ([280], 1, "no token 280"), ([], 1, "at least one token"), ([1], 0, "at least 1"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            one.submit(prompt, tokens)
    with pytest.raises(DataError, match="no valid text"):
        one.submit("\udcff")
    with pytest.raises(UsageError, match="temperature"):
        one.generate(["one"], temprature=1)
    assert not one.busy
    one.submit([1], 3)
    with pytest.raises(UsageError, match="submit and step"):
        one.generate(["one"])


def test_what_is_no_prompt_is_refused_and_leaves_nothing():
    one = engine()
    (expected,) = one.generate([[3, 4]], 3, temperature=0)
    for prompt, tokens in (([3.7], 3), (None, 3), ([3, "4"], 3), ([3], 3.5), ([3], None)):
        with pytest.raises(UsageError, match="whole number"):
            one.generate([[1, 2], prompt], tokens)
        assert not one.busy
    for ids in (torch.tensor([3, 4]), np.array([3, 4])):
        assert one.generate([ids], 3, temperature=0) == [expected]


def test_an_engine_of_odd_sizes_is_refused():
    for settings in ({"memory": 1e6}, {"row": None}, {"sequences": "4"}, {"block": 0},
                     {"dtype": torch.float32}):  # fmt: skip
        with pytest.raises(UsageError, match=r"whole numbers|is a name"):
            engine(**settings)


def test_an_interrupted_call_leaves_nothing_behind(monkeypatch):
    one = engine()
    expected = one.generate(["one"], 5, temperature=0)
    forward, calls = one.runner.forward, []

    def interrupted(cache, segments):
        calls.append(len(segments))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(cache, segments)

    monkeypatch.setattr(one.runner, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.generate(["one", "two three"], 9)
    assert not one.busy and one.cache.table.free == one.cache.table.total
    monkeypatch.undo()
    assert one.generate(["one"], 5, temperature=0) == expected


def test_a_draw_that_fails_ends_its_request_only(monkeypatch):
    one = engine()
    whole = one.complete(["one", "two"], 5, GREEDY)
    sample = sampler.sample

    def failing(logits, sampling, prompt, made):
        if len(made) == 2 and sampling.seed == 7:
            raise TypeError("no draw")
        return sample(logits, sampling, prompt, made)

    monkeypatch.setattr(sampler, "sample", failing)
    bad, good = one.complete(["one", "two"], 5, [replace(GREEDY, seed=7), GREEDY])
    assert bad.reason == "failed" and bad.detail == "TypeError: no draw"
    assert good.ids == whole[1].ids and one.cache.table.free == one.cache.table.total


def test_a_failing_request_stops_nobody(monkeypatch):
    one = engine()
    expected = one.complete(["one"], 5, GREEDY)[0].text
    forward = one.runner.forward

    def broken(cache, segments):
        rows = forward(cache, segments).clone()
        for row, segment in zip(rows, segments):
            if 277 in segment.ids:
                row[3] = float("nan")
        return rows

    monkeypatch.setattr(one.runner, "forward", broken)
    bad, good = one.complete([[5, 277], "one"], 5, GREEDY)
    assert bad.reason == "failed" and "no numbers" in bad.detail and good.text == expected

    def crash(cache, segments):
        raise MemoryError("no room")

    monkeypatch.setattr(one.runner, "forward", crash)
    assert one.complete(["one"], 5)[0].detail == "MemoryError: no room"
    with pytest.raises(DataError, match="no room"):
        one.generate(["one"])
    monkeypatch.setattr(one.runner, "forward", forward)
    assert one.complete(["one"], 5, GREEDY)[0].text == expected
    assert one.cache.table.free == one.cache.table.total
