"""Answers that a model makes, and learning from them: DPO and GRPO keep what their papers say."""

import copy
import math

import numpy as np
import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.lookup import load
from tilth.objectives import ROLLOUT_OBJECTIVES
from tilth.objectives.batch import Draws
from tilth.objectives.policy_gradient import PolicyGradient, advantages, divergence, policy_loss
from tilth.objectives.preference import Preference, preference_loss
from tilth.testing.objectives import VOCABULARY, check_objective, tiny_model
from tilth.training.loop import fit
from tilth.training.rollouts import (
    logarithms_of,
    preference_pairs,
    rewards_of,
    sample,
    scored_answers,
)

PROMPTS = [[0, 5, 7], [0, 9], [0, 11, 3], [0, 4, 4], [0, 8], [0, 12, 1]]
SHAPE = {"vocabulary": VOCABULARY, "end": 0}
STOP = 2


def reward(number, answer):
    """An even first token is right."""
    return float(answer[0] % 2 == 0)


@pytest.fixture(scope="module")
def rolled():
    answers = sample(tiny_model(), PROMPTS, count=6, most=4, stop=STOP, seed=0)
    return answers, rewards_of(answers, reward)


@pytest.fixture(scope="module")
def made(rolled):
    return {
        "preference": preference_pairs(*rolled, **SHAPE),
        "policy-gradient": scored_answers(*rolled, **SHAPE),
    }


@pytest.mark.parametrize("name", ROLLOUT_OBJECTIVES)
def test_objectives_of_rollouts_keep_the_contract(name, made):
    # Without some answers, or the losses of all groups add up to 0.
    data = made[name].select(range(0, len(made[name]), 1 if name == "preference" else 3))
    check_objective(load("objective", ROLLOUT_OBJECTIVES, name)(length=16), data=data)


def test_answers_are_draws_of_the_model(rolled):
    answers, _ = rolled
    model = tiny_model()
    again = sample(model, PROMPTS, count=6, most=4, stop=STOP, seed=0)
    other = sample(model, PROMPTS, count=6, most=4, stop=STOP, seed=1)
    flat = [one for group in answers for one in group]
    same = [
        np.array_equal(a.tokens, b.tokens) for g, h in zip(answers, again) for a, b in zip(g, h)
    ]
    assert all(same)
    assert any(not np.array_equal(a.tokens, b.tokens) for a, b in zip(flat, other[0]))
    found = logarithms_of(model, [(one.tokens, one.start) for one in flat], end=0)
    for prompt, group in zip(PROMPTS, answers):
        assert all(one.tokens[: one.start].tolist() == prompt for one in group)
    for one, logs in zip(flat, found):
        answer = one.tokens[one.start :]
        assert 1 <= len(answer) <= 4 and STOP not in answer[:-1]
        assert len(answer) == 4 or answer[-1] == STOP
        assert np.allclose(one.logarithms, logs, atol=1e-5)
        logits = model(input_ids=torch.tensor(one.tokens[None].astype(np.int64))).logits[0]
        expected = logits.log_softmax(-1)[one.start - 1 :][range(len(answer)), answer.astype(int)]
        assert np.allclose(logs, expected.detach().numpy(), atol=1e-5)


def test_pairs_are_best_and_worst_and_start_at_log_2(made, rolled):
    data, (_, rewards) = made["preference"], rolled
    assert len(data) == sum(len(set(group)) > 1 for group in rewards) > 2
    for tokens, rejected, start in zip(data.tokens, data.extra["rejected"], data.extra["start"]):
        assert tokens[start] % 2 == 0 and rejected[start] % 2 == 1
    objective = Preference(length=16)
    found = objective.loss(tiny_model(), objective.prepare(data, Draws()))
    assert math.isclose(found.total.item() / found.n_targets, math.log(2), rel_tol=1e-5)
    ours, reference = torch.tensor([[-1.0, -3.0]]), torch.tensor([[-2.0, -2.5]])
    expected = math.log(1 + math.exp(-0.5 * (1.0 + 0.5)))
    assert math.isclose(preference_loss(ours, reference, 0.5).item(), expected, rel_tol=1e-6)


def test_advantages_are_deviations_and_exactly_none_where_all_are_equal():
    found = advantages([[1, 0, 0, 1], [0.3, 0.3, 0.3], []])
    assert found[0].tolist() == [1, -1, -1, 1] and found[1].tolist() == [0, 0, 0]
    assert advantages([[2, 0]], scaled=False)[0].tolist() == [1, -1]


def test_the_policy_loss_is_that_of_the_formula():
    old = torch.log(torch.tensor([0.5, 0.5, 0.5, 0.5]))
    ours = torch.log(torch.tensor([0.9, 0.9, 0.3, 0.3]))
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0])
    expected = [-1.2, 1.8, -0.6, 0.8]
    assert torch.allclose(policy_loss(ours, old, advantage, 0.2), torch.tensor(expected))
    assert (divergence(ours, old) > 0).all() and divergence(old, old).abs().max() == 0


def test_equal_rewards_give_no_gradient(rolled):
    answers, _ = rolled
    rewards = [[1.0] * len(group) for group in answers]
    assert len(scored_answers(answers, rewards, **SHAPE)) == 0
    data = scored_answers(*rolled, **SHAPE)
    data.extra["advantage"] = [0.0] * len(data)
    model, objective = tiny_model(), PolicyGradient(length=16)
    objective.loss(model, objective.prepare(data, Draws())).total.backward()
    assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("normalise", ["sequence", "token"])
def test_the_gradient_at_the_start_is_that_of_reinforce(made, normalise):
    """Where p is p_old the ratio's gradient is that of log p, and nothing is clipped."""
    data, model = made["policy-gradient"], tiny_model()
    objective = PolicyGradient(length=16, normalise=normalise)
    found = objective.loss(model, objective.prepare(data, Draws()))
    found.total.backward()
    got = model.model.norm.weight.grad.clone()
    model.zero_grad()
    total = 0.0
    for tokens, start, advantage in zip(
        data.tokens, data.extra["start"], data.extra["advantage"], strict=True
    ):
        row = torch.tensor(tokens[None].astype(np.int64))
        logs = model(input_ids=row[:, :-1]).logits[0].log_softmax(-1)[start - 1 :]
        logs = logs.gather(1, row[0, start:, None])[:, 0]
        total = total - advantage * (logs.mean() if normalise == "sequence" else logs.sum())
    total.backward()
    assert torch.allclose(got, model.model.norm.weight.grad, rtol=1e-3, atol=1e-5)
    tokens = sum(len(t) - s for t, s in zip(data.tokens, data.extra["start"]))
    assert found.n_targets == (len(data) if normalise == "sequence" else tokens)


@pytest.mark.parametrize("name", ROLLOUT_OBJECTIVES)
def test_what_is_rewarded_becomes_likelier(name, made):
    model = tiny_model()
    start = copy.deepcopy(model)
    objective = load("objective", ROLLOUT_OBJECTIVES, name)(length=16)
    fit(
        model, objective, made[name], tokens=20 * 64, batch_tokens=64, learning_rate=1e-2,
        threads=1, weight_decay=0.0,
    )  # fmt: skip
    data = made["policy-gradient"]
    sequences = list(zip(data.tokens, data.extra["start"]))
    better = np.array(data.extra["advantage"]) > 0
    apart = []
    for one in (start, model):
        sums = np.array([logs[0] for logs in logarithms_of(one, sequences, end=0)])
        apart.append(sums[better].mean() - sums[~better].mean())
    assert apart[1] > apart[0] + 0.2


def test_what_does_not_fit_is_refused_or_counted(made):
    data = made["preference"]
    assert Preference(length=4).prepare(data, Draws()).dropped > 0
    for objective in (Preference(length=16), PolicyGradient(length=16)):
        with pytest.raises(DataError, match="need the columns"):
            objective.prepare(
                type(data)(data.ids, data.tokens, data.vocabulary, 0), Draws()
            )  # fmt: skip
    with pytest.raises(DataError, match="need the columns"):
        PolicyGradient(length=16, kl=0.1).prepare(made["policy-gradient"], Draws())
    for maker in (
        lambda: Preference(beta=0.0),
        lambda: PolicyGradient(normalise="row"),
        lambda: sample(tiny_model(), [[]], stop=0),
    ):
        with pytest.raises(UsageError):
            maker()
