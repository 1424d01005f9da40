"""Which sentences are chosen, and that they are the text's own."""

from hypothesis import given
from hypothesis import strategies as st

from tilth.apps.quoting import ASKING, LONGEST, asked, best_sentences, overlap, quotable, score
from tilth.testing import hostile, strategies


def parts(text):
    return [text[start:stop] for start, stop in quotable(text)]


def test_sentences_without_blanks_around_them():
    text = "  The rent is due.\n\nThe tenant leaves on 1 May.  =====\n\n"
    assert parts(text) == ["The rent is due.", "The tenant leaves on 1 May."]
    assert parts("") == parts(" \n") == parts("----\n\n***") == []


def test_a_question_goes_with_its_answer():
    text = "Who pays?\n-----\n\nThe landlord pays. He may refuse. Why?"
    assert parts(text) == ["Who pays?\n-----\n\nThe landlord pays.", "He may refuse.", "Why?"]


def test_long_ones_are_cut_between_clauses_or_lines():
    line = "one clause of a long sentence; "
    assert all(len(part) <= LONGEST for part in parts(line * 40))
    assert all(len(part) <= LONGEST for part in parts("a line of a table\n" * 60))
    assert parts("word" * 200) == ["word" * 200]


@given(st.one_of(strategies.texts(), st.sampled_from(hostile.TEXTS)))
def test_what_may_be_quoted_is_in_order_and_loses_no_letter(text):
    spans = quotable(text)
    at = 0
    for start, stop in spans:
        assert at <= start < stop and text[start:stop] == text[start:stop].strip()
        assert not any(letter.isalnum() for letter in text[at:start])
        at = stop
    assert not any(letter.isalnum() for letter in text[at:])


def test_the_formula():
    weights = {"rent": 3.0, "due": 1.0}
    assert overlap(weights, {"rent", "x"}) == 0.75 and overlap({}, {"x"}) == 0
    assert score(weights, ["rent"] * 25, 3) == 0.75 / 1.25 * 0.95**2


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 10)),
    st.lists(st.sampled_from("abcdefgh"), max_size=40),
    st.integers(1, 50),
)
def test_scores_lie_between_0_and_1_and_fall_with_rank(weights, terms, rank):
    value = score(weights, terms, rank)
    assert 0 <= score(weights, terms, rank + 1) <= value <= overlap(weights, set(terms)) <= 1


def test_words_that_only_ask_do_not_count():
    weights = {"what": 9.0, "does": 9.0, "rent": 1.0}
    assert asked(weights) == {"rent": 1.0}
    assert asked({"what": 9.0, "is": 1.0}) == {"what": 9.0, "is": 1.0}
    assert "rent" not in ASKING


def test_the_best_come_first_and_weak_ones_are_left_out():
    weights = {"rent": 2.0, "due": 2.0, "may": 1.0}
    first = [(0, 5, ["nothing"]), (6, 9, ["rent", "due"])]
    second = [(0, 4, ["rent", "due", "may"]), (5, 8, ["may"])]
    found = best_sentences(weights, [first, second])
    assert [(one.passage, one.start) for one in found] == [(1, 0), (0, 6)]
    assert best_sentences(weights, [first, second], 1) == found[:1]
    # Equal ones: the first.
    twice = [(0, 3, ["rent"]), (4, 7, ["rent"])]
    assert [one.start for one in best_sentences(weights, [twice])] == [0, 4]
    # Where nothing is shared, how the best passage begins.
    (only,) = best_sentences({"else": 1.0}, [first, second])
    assert (only.passage, only.start, only.score, only.overlap) == (0, 0, 0.0, 0.0)
    assert best_sentences(weights, []) == best_sentences(weights, [[], []]) == []
