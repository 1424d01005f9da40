"""The system qwen2.5: what is learned of a conversation, what is rewarded, stages made once."""

import numpy as np
import pytest

from tilth.objectives.batch import Draws
from tilth.objectives.causal import Causal
from tilth.systems import _qwen25_arms as arms
from tilth.systems import qwen25
from tilth.systems._qwen25_arms import (
    FAR,
    Ratio,
    answer_of,
    base,
    far,
    longer_rows,
    prompt_of,
    rolled,
    solved,
    tuned,
)


@pytest.fixture(scope="module")
def inputs():
    return qwen25.prepare("smoke", None, None, 0).inputs


def test_only_answers_are_learned(inputs):
    data = solved(inputs)
    assert len(data) == len(inputs.told)
    for problem, row, learn in zip(inputs.told, data.tokens, data.extra["learn"]):
        assert row[~learn].tolist() == prompt_of(inputs, problem)
        assert row[learn].tolist() == answer_of(inputs, problem)
        assert row[0] == row[-1] == inputs.text.end
    text = inputs.tokenizer.decode(data.tokens[0].tolist(), skip_special_tokens=True)
    assert text == f"{inputs.told[0].prompt.rstrip()} {inputs.told[0].answer}"


def test_the_right_answer_alone_is_rewarded(inputs):
    model, _ = tuned(inputs, 0)
    some = inputs.told[:10]
    answers, rewards = rolled(inputs, model, some, 0)
    for problem, group, values in zip(some, answers, rewards):
        for one, value in zip(group, values):
            assert value == (one.tokens[one.start :].tolist() == answer_of(inputs, problem))


def test_stages_are_made_once_and_count_their_tokens(inputs):
    model, spent = base(inputs, 0)
    again, _ = base(inputs, 0)
    assert again is model and spent == inputs.first
    longer, more = longer_rows(inputs, 0, True)
    assert more == inputs.first + inputs.second
    assert longer.config.rope_parameters["rope_theta"] == 1e6
    assert model.config.rope_parameters["rope_theta"] == 1e4


def test_the_second_half_of_long_rows_is_scored(inputs):
    model, _ = base(inputs, 0)
    found = far(inputs, model)
    rows = Causal(length=inputs.long).prepare(inputs.test, Draws())
    assert isinstance(found, Ratio) and len(found.numerators) == len(rows)
    assert (found.denominators == inputs.long / 2).all()
    mean = found.numerators.sum() / found.denominators.sum()
    assert 0.5 * np.log2(400) < mean < 1.5 * np.log2(400), FAR


def test_later_stages_learn_where_answers_differ(monkeypatch):
    """A random model is never right; here the first token's parity is what counts."""
    inputs = qwen25.prepare("smoke", None, None, 0).inputs
    monkeypatch.setattr(
        arms, "rewards_of", lambda answers, _: [[a.tokens[a.start] % 2 for a in g] for g in answers]
    )
    model, spent = tuned(inputs, 0)
    preferred, more = arms.preferred(inputs, 0)
    rewarded, most = arms.rewarded(inputs, 0)
    assert spent < more < most
    norms = [one.model.norm.weight for one in (model, preferred, rewarded)]
    assert not (norms[0] == norms[1]).all() and not (norms[1] == norms[2]).all()
    for stage, tokens in ((arms.preferred, more), (arms.rewarded, most)):
        _, same = arms.tuned_as_long(inputs, 0, stage)
        assert abs(same - tokens) <= 0.02 * tokens
