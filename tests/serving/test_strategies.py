"""Drafts change the time, not the text: greedy tokens are the plain ones, samples the target's."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import DataError, LimitError, UsageError
from tilth.models.folder import save_model
from tilth.serving.model_runner import ModelRunner
from tilth.serving.sampler import Sampling, probabilities
from tilth.serving.strategies import acceptance, open_engine
from tilth.serving.strategies.drafting import Drafter, Script
from tilth.serving.strategies.length import balanced, pearl_rate, turns_rate
from tilth.serving.strategies.remote import RemoteDrafter
from tilth.serving.strategies.speculative import Speculative
from tilth.serving.strategies.stream import Stream
from tilth.tokens import bpe

GREEDY = Sampling(temperature=0, ignore_end=True)
WARM = Sampling(temperature=1.3, top_p=0.9, seed=7, ignore_end=True)
TOKENS = 14
MODES = list(itertools.product((False, True), (False, True)))


def near_model(name="llama", scale=0.03):
    """The tiny model with noise on its weights: a draft that is often right."""
    import copy

    made = copy.deepcopy(tiny.model(name))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return made


def engine(name="llama", draft=None, **options):
    options = {"draft": near_model(name) if draft is None else draft, "length": 3, **options}
    return open_engine(tiny.model(name), tiny.tokenizer(), **options)


@pytest.fixture(scope="module")
def plain():
    one = open_engine(tiny.model("llama"), tiny.tokenizer())
    return one.complete(tiny.prompts(2, (9, 1, 30)), TOKENS, GREEDY)


@pytest.fixture(scope="module")
def draft_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    bpe.save(tiny.tokenizer(), folder / "tokenizer")
    save_model(near_model(), folder / "model", folder / "tokenizer")
    return folder / "model"


@pytest.mark.parametrize("strategy", ["turns", "pearl"])
@pytest.mark.parametrize("length", [1, 2, 5, 40])
@pytest.mark.parametrize("kind", ["near", "other", "same"])
def test_greedy_tokens_are_the_plain_ones(plain, strategy, length, kind):
    draft = {"near": near_model(), "other": tiny.model("qwen3"), "same": tiny.model("llama")}[kind]
    one = engine(draft=draft, strategy=strategy, length=length, block=4)
    found = one.complete(tiny.prompts(2, (9, 1, 30)), TOKENS, GREEDY)
    assert [each.ids for each in found] == [each.ids for each in plain]
    assert [each.text for each in found] == [each.text for each in plain]
    one.cache.table.check()
    assert one.cache.table.free == one.cache.table.total
    kept = one.tally.acceptance
    assert kept == 1 if kind == "same" else 0 <= kept < 1
    assert sum(each.given for each in one.tally.rounds) == 3 * TOKENS


def test_the_families_that_are_not_llama_roll_back_too():
    for name in ("mistral", "gpt2", "olmo2"):
        prompts = tiny.prompts(5, (12,))
        expected = open_engine(tiny.model(name), tiny.tokenizer()).complete(prompts, 9, GREEDY)
        found = engine(name, strategy="pearl", keys="plain").complete(prompts, 9, GREEDY)
        assert found[0].ids == expected[0].ids


def test_what_is_kept_of_the_caches_is_what_a_fresh_reading_gives():
    prompt = tiny.prompts(3, (11,))[0]
    runner = ModelRunner(tiny.model("llama"))
    for pre, post in MODES:
        drafter = Drafter(ModelRunner(near_model()))
        cache = runner.cache(32, 4)
        stream = Stream(runner, cache, prompt)
        made = []
        one = Speculative(drafter, length=3, pre=pre, post=post)
        for given in one.rounds(stream, prompt, TOKENS, WARM):
            made += [token.id for token in given]
            known = [*prompt, *made]
            for part, own in ((stream, runner), (drafter._stream, drafter.runner)):
                length = min(part.length, len(known))
                assert part.tokens[:length] == known[:length] or part is drafter._stream
                fresh = Stream(own, own.cache(32, 4))
                fresh.feed(part.tokens)
                rows = part.cache.slice(part.chain)
                again = fresh.cache.slice(fresh.chain)
                assert torch.allclose(rows.keys, again.keys, atol=1e-5)
                assert torch.allclose(rows.values, again.values, atol=1e-5)
        stream.close()
        cache.table.check()
        assert cache.table.free == cache.table.total and len(made) == TOKENS
        assert any(each.kept < each.tested for each in one.tally.rounds)


def test_a_seeded_answer_of_pearl_does_not_depend_on_the_length():
    prompts = tiny.prompts(2, (9, 1, 30))
    found = [
        [one.ids for one in engine(strategy="pearl", length=length).complete(prompts, TOKENS, WARM)]
        for length in (1, 2, 5)
    ]
    assert found[0] == found[1] == found[2]


def test_two_processes_give_bit_for_bit_what_one_gives(draft_folder):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runner = ModelRunner(tiny.model("llama"))
        prompts = tiny.prompts(2, (9, 1, 30))
        with RemoteDrafter(draft_folder) as remote:
            for sampling in (GREEDY, WARM):
                sides = []
                for drafter in (Drafter(ModelRunner(near_model())), remote):
                    one = Speculative(drafter, length=4, pre=True, post=True)
                    stream = Stream(runner, runner.cache(64, 8), prompts[0])
                    sides.append(
                        (list(one.rounds(stream, prompts[0], TOKENS, sampling)), one.tally)
                    )
                assert sides[0] == sides[1]
            # A request that the draft cannot take, then one that it can; then the child is gone.
            with pytest.raises(DataError, match="context"):
                remote.begin([1] * 200, GREEDY, vocabulary=280, tokens=9)
            remote.begin([1, 2], GREEDY, vocabulary=280, tokens=9)
            remote.start([], 3)
            remote.begin([1, 2], GREEDY, vocabulary=280, tokens=9)
            remote.start([], 3)
            assert len(remote.finish().tokens) == 3
            remote._child.kill()
            remote._child.wait()
            with pytest.raises(DataError, match="ended"):
                remote.start([], 3)
                remote.finish()
            remote.begin([1, 2], GREEDY, vocabulary=280, tokens=9)
            child = remote._child
        assert child.poll() is not None
    finally:
        torch.set_num_threads(threads)


# The distribution of what comes out -------------------------------------------------------------


def test_one_position_has_exactly_the_targets_distribution():
    # Summed exactly over the draft's token: q(x) min(1, p/q) + P(refused) left_over = p.
    generator = np.random.default_rng(0)
    for _ in range(20):
        p, q = generator.dirichlet([0.5] * 8), generator.dirichlet([0.5] * 8)
        p[generator.integers(8)] = 0
        p /= p.sum()
        found = np.zeros(8)
        for token in range(8):
            kept = min(1.0, p[token] / q[token])
            found[token] += q[token] * kept
            found += q[token] * (1 - kept) * acceptance.left_over(p, q, token)
        assert np.abs(found - p).max() < 1e-12
        for token in range(8):
            sure = acceptance.left_over(p, None, token)
            assert np.allclose(p[token] * np.eye(8)[token] + (1 - p[token]) * sure, p, atol=1e-12)


class Table:
    """A model of eight tokens whose logits are a table of the two tokens before."""

    def __init__(self, seed):
        self.rows = np.random.default_rng(seed).normal(0, 1.2, (9, 9, 8))
        self.shape = type("Shape", (), {"vocabulary": 8, "context": 64})

    def logits(self, tokens):
        first, second = [8, 8, *tokens][-2:]
        return self.rows[first, second]


class TableStream:
    def __init__(self, table):
        self.runner, self.tokens = table, []

    @property
    def length(self):
        return len(self.tokens)

    def feed(self, ids, want=1, ahead=0):
        assert len(ids) >= want > 0
        self.tokens = [*self.tokens, *ids]
        ends = range(len(self.tokens) - want + 1, len(self.tokens) + 1)
        return np.array([self.runner.logits(self.tokens[:end]) for end in ends])

    def keep(self, length):
        self.tokens = self.tokens[:length]

    def close(self):
        self.tokens = []


@pytest.mark.parametrize(("pre", "post"), MODES)
def test_answers_have_the_targets_distribution(pre, post, monkeypatch):
    from scipy.stats import chi2

    target, draft = Table(1), Table(2)
    # A draft that is like the target, so that drafts of all lengths are kept.
    draft.rows = 0.7 * target.rows + 0.3 * draft.rows
    drafter = Drafter(draft)
    monkeypatch.setattr("tilth.serving.strategies.drafting.Stream", lambda *_: TableStream(draft))
    draft.cache = lambda *_, **__: type("Cache", (), {"table": type("T", (), {"total": 99})})
    tokens, runs = 3, 1200
    counts = np.zeros((8,) * tokens)
    for seed in range(runs):
        one = Speculative(drafter, length=2, pre=pre, post=post)
        sampling = Sampling(temperature=0.8, seed=seed)
        given = itertools.chain(*one.rounds(TableStream(target), [3], tokens, sampling))
        counts[tuple(token.id for token in given)] += 1
    expected = np.zeros_like(counts)
    how = Sampling(temperature=0.8)
    for path in itertools.product(range(8), repeat=tokens):
        chance, before = 1.0, [3]
        for token in path:
            chance *= probabilities(target.logits(before), how)[token]
            before.append(token)
        expected[path] = runs * chance
    for axes in ((1, 2), (0, 2), (0, 1), (2,), (0,)):
        seen, wanted = counts.sum(axes).ravel(), expected.sum(axes).ravel()
        rare = wanted < 5
        seen = np.append(seen[~rare], seen[rare].sum())
        wanted = np.append(wanted[~rare], wanted[rare].sum())
        seen, wanted = seen[wanted > 0], wanted[wanted > 0]
        statistic = ((seen - wanted) ** 2 / wanted).sum()
        # Seeds are fixed: this passes or fails for good.
        assert chi2.sf(statistic, len(seen) - 1) > 0.001


# What users see ---------------------------------------------------------------------------------


def test_an_engine_with_a_draft_is_an_engine(draft_folder):
    plain = open_engine(tiny.model("llama"), tiny.tokenizer())
    texts = ["one two", "", "seven six five"]
    for strategy in ("turns", "pearl"):
        one = engine(strategy=strategy)
        assert one.generate(texts, 10, temperature=0) == plain.generate(texts, 10, temperature=0)
        # A stop text, an end, log-probabilities.
        text = plain.generate(["one"], 20, temperature=0)[0]
        how = Sampling(temperature=0, ignore_end=True, stop=(text[3:5],), logprobs=2)
        expected, found = (each.complete(["one"], 20, how)[0] for each in (plain, one))
        assert (found.text, found.reason, found.ids) == (
            expected.text, expected.reason, expected.ids
        )  # fmt: skip
        for a, b in zip(found.tokens, expected.tokens):
            assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
        # Penalties count what was given, in the draft too.
        how = Sampling(temperature=0, ignore_end=True, repetition=1.8, frequency=0.3)
        assert one.complete(["one"], 20, how)[0].ids == plain.complete(["one"], 20, how)[0].ids
        # One of three is cancelled while it waits, one while it runs.
        numbers = [one.submit("one two", 30, GREEDY) for _ in range(3)]
        one.step()
        assert one.cancel(numbers[1]) and one.cancel(numbers[0]) and not one.cancel(99)
        events = []
        while one.busy:
            events += one.step()
        reasons = {event.request: event.reason for event in events}
        assert [reasons[number] for number in numbers] == ["cancelled", "cancelled", "length"]
        assert one.cache.table.free == one.cache.table.total
    one = open_engine(tiny.model("llama"), tiny.tokenizer(), draft=near_model(), strategy="pearl")
    assert one.forecast.length == one.strategy.length >= 1


def test_a_failing_target_stops_nobody(monkeypatch):
    one = engine(strategy="pearl")
    forward = one.runner.forward
    expected = one.complete(["one"], 5, GREEDY)[0].text

    def crash(cache, segments):
        raise MemoryError("no room")

    monkeypatch.setattr(one.runner, "forward", crash)
    assert one.complete(["one"], 5)[0].detail == "MemoryError: no room"
    monkeypatch.setattr(one.runner, "forward", forward)
    assert one.complete(["one"], 5, GREEDY)[0].text == expected
    assert one.cache.table.free == one.cache.table.total


def test_what_does_not_go_together_is_refused():
    for options, message in (
        ({"strategy": "perl"}, "no strategy 'perl'"),
        ({"strategy": "turns", "draft": None}, "takes a draft"),
        ({"strategy": "plain"}, "takes no draft"),
        ({"length": 0}, "at least one token"),
    ):
        options = {"draft": near_model(), "length": 2, **options}
        with pytest.raises(UsageError, match=message):
            open_engine(tiny.model("llama"), tiny.tokenizer(), **options)
    one = engine()
    with pytest.raises(UsageError, match="no log-probabilities of prompts"):
        one.submit([1], 2, scores=True)
    with pytest.raises(LimitError, match="context is 128"):
        one.submit([1] * 120, 30)


def test_a_scripted_draft_is_right_as_often_as_it_says():
    runner, draft = ModelRunner(tiny.model("llama")), Drafter(ModelRunner(near_model()))
    prompt, how = tiny.prompts(3, (5,))[0], GREEDY
    plain = open_engine(tiny.model("llama"), tiny.tokenizer()).complete([prompt], 100, how)[0].ids
    one = Speculative(draft, length=4)
    script = Script(plain, 0.8, seed=3)
    stream = Stream(runner, runner.cache(16), prompt)
    given = itertools.chain(*one.rounds(stream, prompt, 100, how, script))
    assert [token.id for token in given] == plain
    assert 0.65 < one.tally.acceptance < 0.92


def test_expected_rates_are_those_of_simulated_rounds():
    generator = np.random.default_rng(0)

    def cost(tokens):
        return 1.0 + 0.1 * tokens

    for length, rate, draft in ((4, 0.8, 0.2), (9, 0.6, 0.1)):
        for pre, expected in ((False, turns_rate), (True, pearl_rate)):
            given = seconds = 0.0
            ahead = 0
            for _ in range(40_000):
                tests = length if (ahead or not pre) else 1
                kept = 0
                while kept < tests and generator.random() < rate:
                    kept += 1
                if pre:
                    seconds += max(length * draft, cost(length if ahead else 1))
                    given += min(kept + 1, tests)
                    ahead = kept == tests
                else:
                    seconds += length * draft + cost(length + 1)
                    given += kept + 1
            assert expected(cost, draft, rate, length) == pytest.approx(given / seconds, rel=0.02)
    assert balanced(cost, 0.35) == 4 and balanced(cost, 5.0) == 1
