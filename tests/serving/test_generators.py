"""Rules, replay, recording, and the judge."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, UsageError
from tilth.serving import GENERATORS, open_generator
from tilth.serving.judge import Judge, parse_verdict
from tilth.serving.replay import Record, Replay
from tilth.serving.requests import Cached, RequestCache
from tilth.serving.rules import Rules
from tilth.types import Answer, Generator


def shout(prompt):
    if prompt == "crash":
        raise ValueError("no")
    if prompt == "skip":
        return None
    if prompt == "typed":
        return Answer("timed out", reason="made")
    if prompt == "number":
        return 5
    return prompt.upper()


PROMPTS = ["a", "crash", "skip", "typed", "number", "", "a", "gr\u00fc\u00df\udcff"]
OUTCOMES = ["ok", "failed", "refused", "timed out", "malformed", "malformed", "ok", "ok"]


def test_rules_answer_and_fail_one_by_one():
    generator = open_generator("rules", function=shout)
    assert isinstance(generator, Generator)
    answers = generator.generate(PROMPTS, {})
    assert [answer.outcome for answer in answers] == OUTCOMES
    assert answers[0].text == "A" and "ValueError: no" in answers[1].reason
    assert all(answer.text or answer.outcome != "ok" for answer in answers)
    with pytest.raises(UsageError, match="no log-probabilities"):
        generator.score(["a"])


def test_rules_by_name():
    assert Rules("string:capwords").generate(["a b"])[0].text == "A B"
    assert Rules("string:capwords").model == "string:capwords"
    assert Rules(str.upper).model == "builtins:str.upper"
    for wrong in ("string:nothing", "no.such.module:f", "string", "string:digits"):
        with pytest.raises(UsageError):
            Rules(wrong)


def test_what_was_recorded_is_replayed_and_nothing_else(tmp_path):
    path = tmp_path / "answers.jsonl"
    made = Record(Rules(shout), path).generate(PROMPTS, {"temperature": 1, "stop": ("x", "y")})
    replay = open_generator("replay", path=path)
    assert isinstance(replay, Generator)
    assert replay.generate(PROMPTS, {"stop": ["x", "y"], "temperature": 1}) == made
    for prompts, sampling in (["b"], {}), (["a"], {}), (["a"] * 3, {"temperature": 1}):
        with pytest.raises(DataError, match="was not recorded"):
            replay.generate(prompts, sampling)
    with pytest.raises(DataError, match="score of"):
        replay.score(["a"])


class Scorer(Rules):
    def score(self, texts):
        return [[-1.0, -len(text)] for text in texts]


def test_scores_are_recorded_too(tmp_path):
    Record(Scorer(shout), tmp_path / "scores").score(["ab", "c"])
    assert Replay(tmp_path / "scores").score(["c", "ab"]) == [[-1.0, -1.0], [-1.0, -2.0]]


def test_a_torn_line_is_counted_and_later_ones_do_not_run_on(tmp_path):
    path = tmp_path / "answers.jsonl"
    Record(Rules(shout), path).generate(["a", "b"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    replay = Replay(path)
    assert replay.torn == 1 and replay.generate(["a"])[0].text == "A"
    with pytest.raises(DataError):
        replay.generate(["b"])
    Record(Rules(shout), path).generate(["b"])
    assert path.read_bytes() == whole
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(DamagedError, match=r"answers\.jsonl:1"):
        Replay(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="holds no answer"):
        Replay(path)
    with pytest.raises(UsageError, match="no recording"):
        Replay(tmp_path / "absent")


def test_answers_of_two_models_are_not_mixed(tmp_path):
    path = tmp_path / "answers.jsonl"
    Record(Rules(shout), path).generate(["a"])
    Record(Rules("string:capwords"), path).generate(["a b"])
    with pytest.raises(UsageError, match="several models"):
        Replay(path)
    assert Replay(path, model="string:capwords").generate(["a b"])[0].text == "A B"


def test_the_cache_keeps_any_text(tmp_path):
    with RequestCache(tmp_path / "cache") as cache:
        first = Cached(Rules(shout), cache).generate(PROMPTS)
        second = Cached(Rules(shout), cache)
        assert second.generate(PROMPTS) == first
        assert second.found == OUTCOMES.count("ok") + 1


def test_every_driver_is_there_by_name():
    assert set(GENERATORS) == {"endpoint", "local", "replay", "rules"}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes", "yes"),
        ("no.", "no"),
        ("**True**", "yes"),
        ("False\n", "no"),
        ("Yes, they ask for the same thing.", "yes"),
        ("No - other numbers.", "no"),
        ("They differ in one number.\nAnswer: no", "no"),
        ("Both ask for a sum. The answer is yes.", "yes"),
        ("Answer: yes\nWait, the numbers differ.\nFinal answer: **No**", "no"),
        ("<think>yes yes</think>\nNo", "no"),
        ("<think>yes, it goes on and on", "unknown"),
        ("Yes\n\nNo", "unknown"),
        ("Maybe", "unknown"),
        ("Nobody knows", "unknown"),
        ("It is not true that these differ.", "unknown"),
        ("They differ.\nTrue", "yes"),
    ],
)
def test_verdicts_are_read(text, verdict):
    assert parse_verdict(Answer("ok", text)) == verdict


@given(st.text(max_size=60))
def test_any_text_has_a_verdict(text):
    assert parse_verdict(Answer("ok", text)) in ("yes", "no", "unknown")


@pytest.mark.parametrize("outcome", ["malformed", "refused", "failed", "timed out"])
def test_a_failure_is_never_an_answer(outcome):
    assert parse_verdict(Answer(outcome, "Yes")) == "unknown"


def test_the_judge_asks_with_its_template():
    def same(prompt):
        left, right = json.loads(prompt.removeprefix("Same? "))
        return "yes" if left == right else None if right == "?" else "no"

    judge = Judge(Rules(same), 'Same? ["{left}", "{right}"]')
    cases = [{"left": "a", "right": other} for other in "ab?"]
    found = judge.judge(cases)
    assert [one.verdict for one in found] == ["yes", "no", "unknown"]
    assert found[2].answer.outcome == "refused"
    with pytest.raises(UsageError, match="template"):
        judge.judge([{"left": "a"}])
