"""Rephrasings: candidates against scikit-learn, judges by cases, and what a result says."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.evaluation.rephrased import KINDS, find_rephrasings
from tilth.evaluation.rephrased_candidates import inverse_frequencies, nearest_items, ngrams
from tilth.evaluation.rephrased_judges import (
    AskJudge,
    Finding,
    answer_number,
    answer_text,
    judge_knowledge,
    judge_maths,
    numbers,
)
from tilth.serving.rules import Rules

WORDS = "soil plough seed rain harvest barn oat rye field stone root leaf".split()
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


def brute_force(test, training):
    """Cosines of scikit-learn's own TF-IDF, all at once."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    def plain(texts):
        return [" ".join(text.lower().split()) for text in texts]

    maker = TfidfVectorizer(analyzer="char", ngram_range=(3, 5)).fit(plain([*test, *training]))
    return (maker.transform(plain(test)) @ maker.transform(plain(training)).T).toarray()


@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_candidates_agree_with_scikit_learn(test, training):
    expected = brute_force(test, training)
    found = nearest_items(test, training, 3)
    k = min(3, len(training))
    assert found.places.shape == found.similarities.shape == (len(test), k)
    for row, (places, similarities) in enumerate(zip(*found)):
        assert np.allclose(similarities, np.sort(expected[row])[::-1][:k])
        assert np.allclose(expected[row, places], similarities)
        assert len(set(places)) == k
        # By similarity, then by place.
        assert list(places) == sorted(places, key=lambda p: (-round(expected[row, p], 9), p))


def test_pieces_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    test = [" ".join(rng.choice(WORDS, 9)) for _ in range(13)]
    training = [" ".join(rng.choice(WORDS, 9)) for _ in range(60)] * 2
    whole = nearest_items(test, training, 4)
    for name, value in (("PIECE_ITEMS", 7), ("TEST_ITEMS", 5), ("PIECE_CHARACTERS", 99)):
        monkeypatch.setattr(f"tilth.evaluation.rephrased_candidates.{name}", value)
        pieces = nearest_items(test, training, 4)
        assert (pieces.places == whole.places).all()
        assert np.allclose(pieces.similarities, whole.similarities, atol=1e-12)


def test_texts_with_nothing_in_them():
    found = nearest_items(["", "ab", "soil \ud800 soil"], ["", "x", "soil \ud800 soil"], 2)
    assert found.similarities[:2].max() == 0
    assert found.places[2, 0] == 2 and found.similarities[2, 0] == pytest.approx(1.0)
    assert nearest_items([], ["a"], 2).places.shape == (0, 1)
    assert nearest_items(["a"], [], 2).places.shape == (1, 0)
    assert len(ngrams("abcd")[0]) == 3 and len(ngrams("ab")[0]) == 0
    assert len(inverse_frequencies([["abc", "abc"], ["abd"]])[0]) == 2


QUESTION = "Ann has 12 pears and buys 30 more for $2 each. How many has she?"


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        (
            f"{QUESTION}\n#### 42",
            "With twelve, Ann buys 30 at 2 dollars.\nAnswer: \n#### 42",
            "yes",
        ),
        (f"{QUESTION}\n#### 42", f"{QUESTION}\n#### 43", "no"),
        (f"{QUESTION}\n#### 42", "A train goes 6 miles in 7 hours.\n#### 42", "no"),
        (f"{QUESTION}\n#### 42", "Some pears were bought.\n#### 42", "unknown"),
        (f"{QUESTION}\n#### 1,042", f"{QUESTION}\nAnswer: it is 1042.0", "yes"),
        (QUESTION, f"{QUESTION} Now.", "yes"),
        (QUESTION, "Ann has 12 pears. Bob has 30 plums.", "unknown"),
        (QUESTION, "Cem sells 7 of 8 cars.", "no"),
        ("no number", "none here", "unknown"),
    ],
)
def test_word_problems(left, right, verdict):
    assert judge_maths(left, right).verdict == judge_maths(right, left).verdict == verdict


def test_the_way_to_an_answer_is_no_part_of_the_question():
    solved = f"{QUESTION}\nAnswer: 12 + 30 = <<12+30=42>>42, and 99 - 99 = 0\n#### 42"
    assert judge_maths(solved, f"{QUESTION}\n#### 42").verdict == "yes"
    assert (
        answer_number(solved) == 42 and answer_text("Question: x\nAnswer: The sea\n") == "The sea"
    )
    assert numbers("Half of 1,200.50 and twenty, 3/4, twice 0 and 1") == {0.5, 1200.5, 20, 0.75, 2}


@pytest.mark.parametrize(
    ("left", "right", "verdict"),
    [
        ("Which river crosses Cairo?\nAnswer: The Nile", "Cairo is crossed by what river?\n"
         "Answer: the nile.", "yes"),
        ("Which river crosses Cairo?\nAnswer: The Nile", "Which river crosses Cairo?\n"
         "Answer: The Rhine", "no"),
        ("Which river crosses Cairo?\nAnswer: The Nile", "Longest stream of Africa?\n"
         "Answer: The Nile", "no"),
        ("Which river crosses Cairo?", "Which river crosses Cairo?\nAnswer: The Nile", "unknown"),
        ("Which river crosses Cairo?\nAnswer: Nil", "哪条河穿过开罗\nAnswer: Nil", "unknown"),
    ],
)  # fmt: skip
def test_questions_about_facts(left, right, verdict):
    assert judge_knowledge(left, right).verdict == judge_knowledge(right, left).verdict == verdict


@given(st.text(max_size=80), st.text(max_size=80), st.sampled_from([judge_maths, judge_knowledge]))
def test_rules_do_not_mind_the_order(left, right, rule):
    assert rule(left, right).verdict == rule(right, left).verdict


def find(test, training, k=5, **options):
    return find_rephrasings(test, training, k, **{"kind": "maths", **options})


def test_copies_are_found_and_the_rest_is_counted():
    tests = [f"{QUESTION}\n#### 42", "Some sheep.", "Bo eats 5 of 9 figs. Left?\n#### 4", "  "]
    training = [
        "9 figs, of which Bo eats 5: how many are left?\nAnswer: \n#### 4",
        "some   SHEEP.", "Sheep again.", "", "Ann adds 30 pears to 12, at $2.\n#### 42",
    ]  # fmt: skip
    found = find(tests, training, 2)
    assert found.contaminated == [0, 1, 2] and found.to_drop == [0, 1, 4]
    assert found.unknown == [3]
    # An item is found once, but whatever else is near it has its own verdict.
    assert len(found.pairs) == 8 and {pair.rank for pair in found.pairs} == {1, 2}
    judged = [pair for pair in found.pairs if pair.verdict != "unknown"]
    assert found.coverage == len(judged) / 8 < 1
    first, second, third = found.lines()
    assert "3 of 4 test items (75.0%)" in first and "1 more could not be judged" in second
    assert f"{found.coverage:.1%} of 8 pairs" in second and third.startswith("3 training items")
    value = json.loads(json.dumps(found.to_json()))
    assert value["contaminated"] == [0, 1, 2] and len(value["pairs"]) == 8


@given(
    st.lists(TEXTS, max_size=6),
    st.lists(TEXTS, max_size=6),
    st.sampled_from(["maths", "knowledge"]),
)
@settings(max_examples=25, deadline=None)
def test_more_candidates_never_find_less(tests, training, kind):
    found = [find(tests, [*training, *tests], k, kind=kind).contaminated for k in (1, 2, 5)]
    assert found[0] == list(range(len(tests)))
    assert found[0] == found[1] == found[2]


def test_a_generator_judges():
    prompts = []

    def same(prompt):
        prompts.append(prompt)
        if "#### 9" in prompt:
            return None
        return "yes" if prompt.count("pears") == 2 else "No."

    tests, training = ["5 pears", "6 plums", "7 figs\n#### 9"], ["4 pears", "8 oats"]
    found = find(tests, training, 2, judge=Rules(same))
    assert found.contaminated == [0] and found.unknown == [2] and found.judge.startswith("rules ")
    assert all("same calculation" in prompt for prompt in prompts)
    for kind in KINDS:
        assert AskJudge(Rules(str.upper), kind)([("{left}", "b")])[0].verdict == "unknown"


def test_a_function_of_ones_own_judges():
    def everything(pairs):
        return [Finding("yes", "because")] * len(pairs)

    assert find(["a b"], ["x y z"], judge=everything).contaminated == [0]


def test_mistakes_are_refused():
    for options in ({"kind": "code_"}, {"k": 0}, {"judge": "guess"}):
        with pytest.raises(UsageError):
            find(["a"], ["b"], **options)
    with pytest.raises(UsageError, match="test items"):
        find("a", ["b"])
    nothing = find([], [])
    assert nothing.coverage == 1.0 and "0 of 0 test items" in nothing.lines()[0]
