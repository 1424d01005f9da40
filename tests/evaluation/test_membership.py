"""Membership scores: by hand, against a loop, and on a model whose training data are known."""

import copy
import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, UsageError
from tilth.evaluation.membership import (
    areas,
    blind_area,
    membership_scores,
    min_k,
    p_values,
    separation,
    token_scores,
)
from tilth.objectives.causal import Causal
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit
from tilth.zoo import tiny
from tilth.zoo.micro import docstrings

VALUES = st.lists(st.floats(-30, 0), min_size=1, max_size=40)


def pieces(count, words=8):
    texts = [" ".join(text.split()[:words]) for _, text in docstrings()]
    texts = [t for t in dict.fromkeys(texts) if len(t.split()) == words and len(t) < 70]
    assert len(texts) >= count
    return texts[:count]


@given(VALUES, st.floats(0.01, 1), st.floats(0.01, 1))
@settings(max_examples=60, deadline=None)
def test_min_k_is_the_mean_of_the_lowest(values, one, other):
    low, high = sorted((one, other))
    count = len(values) if one == 1 else max(1, int(one * len(values)))
    assert math.isclose(min_k(values, one), np.mean(sorted(values)[:count]), abs_tol=1e-9)
    assert min_k(values, low) <= min_k(values, high) + 1e-9
    assert math.isclose(min_k(values, 1.0), np.mean(values), abs_tol=1e-9)


def test_min_k_refuses_nonsense():
    assert min_k([-3.0], 0.05) == -3.0
    with pytest.raises(UsageError, match="share lies above 0"):
        min_k([-1.0], 0.0)
    with pytest.raises(DataError, match="no token"):
        min_k([], 0.2)


@pytest.mark.parametrize("begin", [False, True])
def test_token_scores_equal_a_loop(begin):
    model, tokenizer, _ = tiny("causal")
    data = TokenDocuments.of(["a", "b", "c"], ["one file", "x = value", "the " * 9], tokenizer)
    found = token_scores(model, data, begin=begin, batch=2)
    for number in range(3):
        ids = ([data.end] if begin else []) + data.document(number).tolist()
        with torch.no_grad():
            logs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for place in range(1, len(ids)):
            row = logs[place - 1]
            mean = (row.exp() * row).sum()
            spread = ((row.exp() * row**2).sum() - mean**2).sqrt()
            assert found[number].log_probabilities[place - 1] == pytest.approx(
                row[ids[place]].item(), abs=1e-4
            )
            assert found[number].standardised[place - 1] == pytest.approx(
                ((row[ids[place]] - mean) / spread).item(), abs=1e-3
            )
        assert len(found[number].log_probabilities) == len(ids) - 1


def test_scores_do_not_depend_on_the_batch_or_the_order():
    model, tokenizer, _ = tiny("causal")
    texts = pieces(9)
    whole = membership_scores(model, tokenizer, texts)
    alone = membership_scores(model, tokenizer, texts[::-1], batch=1)
    for name, values in whole.items():
        assert np.allclose(values, alone[name][::-1], atol=1e-5)
    sizes = [len(zlib.compress(text.encode())) for text in texts]
    assert np.allclose(whole["zlib"] * sizes, whole["loss"])
    same = membership_scores(model, tokenizer, texts, reference=model)["reference"]
    assert np.allclose(same, 0)


def test_what_was_learned_is_found_and_what_was_not_is_not():
    model, tokenizer, _ = tiny("causal")
    texts = pieces(80)
    members, others = texts[::2], texts[1::2]
    model = copy.deepcopy(model)
    before = areas(membership_scores(model, tokenizer, members + others), len(members))
    data = TokenDocuments.of([str(n) for n in range(len(members))], members, tokenizer)
    fit(model, Causal(length=32), data, tokens=data.total_tokens * 25, batch_tokens=256,
        learning_rate=1e-2)  # fmt: skip
    after = areas(membership_scores(model, tokenizer, members + others), len(members))
    assert 0.3 < before["min-k"].auc < 0.7
    assert after["min-k"].auc > 0.9 and after["loss"].auc > 0.9


def test_separation_by_hand():
    found = separation([3.0, 2.0, 1.0, 0.0], [1.5, -1.0])
    assert found.auc == pytest.approx(6 / 8)
    assert found.tpr == pytest.approx(0.5)
    assert found.accuracy == pytest.approx((0.5 + 1) / 2)
    changed = separation(np.exp([3.0, 2.0, 1.0, 0.0]), np.exp([1.5, -1.0]))
    assert changed == found
    assert separation([1.0, 1.0], [1.0, 1.0]) == (0.5, 0.0, 0.5)
    with pytest.raises(DataError, match="both sides"):
        separation([1.0], [])


def test_p_values_of_unseen_texts_are_even():
    chance = np.random.default_rng(0)
    found = p_values(chance.normal(size=2000), chance.normal(size=1000))
    assert abs((found <= 0.05).mean() - 0.05) < 0.02 and found.min() > 0
    assert p_values([5.0, -5.0], [0.0, 1.0]).tolist() == [1 / 3, 1.0]


def test_a_blind_classifier_sees_a_difference_of_kind_only():
    texts = pieces(80)
    assert abs(blind_area(texts[::2], texts[1::2]) - 0.5) < 0.2
    assert blind_area([text + " 2023" for text in texts[::2]], texts[1::2]) > 0.95
    with pytest.raises(DataError, match="five texts"):
        blind_area(["a"], ["b"])


def test_texts_that_cannot_be_scored_are_named():
    model, tokenizer, _ = tiny("causal")
    with pytest.raises(DataError, match=r"text 1: has no token that another one precedes"):
        membership_scores(model, tokenizer, ["one file", ""])
    with pytest.raises(DataError, match="the model's context is 64"):
        membership_scores(model, tokenizer, ["value " * 200])
