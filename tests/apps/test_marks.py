"""Marks of an answer as it comes: known ones stay, others go, however the text is cut."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.apps.marks import MARK, Marks, cited_sentences


def read(*pieces, known=(1, 2)):
    marks = Marks(known)
    given = [marks.push(piece) for piece in pieces] + [marks.finish()]
    assert "".join(given) == marks.text
    return marks


@pytest.mark.parametrize(
    ("text", "wanted", "found", "removed"),
    [
        ("The rent is due [1].", "The rent is due [1].", [(16, 1)], 0),
        ("Due [2, 7] now [7].", "Due [2] now.", [(4, 2)], 2),
        ("Due [1,2,1].", "Due [1][2].", [(4, 1), (7, 2)], 0),
        ("See [9]", "See", [], 1),
        ("[0] and [12345] and [x] [1", " and [12345] and [x] [1", [], 1),
        # In code nothing is a mark.
        ("Take `a[9]` [1]", "Take `a[9]` [1]", [(12, 1)], 0),
        ("```\na[9]\nb[1]\n```\n[1]", "```\na[9]\nb[1]\n```\n[1]", [(18, 1)], 0),
        ("A ` alone [9]\n[1]", "A ` alone\n[1]", [(10, 1)], 1),
        ("open ```a[9]", "open ```a[9]", [], 0),
        # Nothing becomes a mark by what was taken out of it.
        ("[[9]1]", "[?1]", [], 1),
        ("[1, [9]2]", "[1,?2]", [], 1),
        # Thoughts at the beginning are no answer.
        ("<think>[1] hm\n\n</think>\n\nYes [1].", "Yes [1].", [(4, 1)], 0),
        (" <THINK>for ever [1]", "", [], 0),
        ("<thin air [1]", "<thin air [1]", [(10, 1)], 0),
        ("No <think>x</think> [1]", "No <think>x</think> [1]", [(20, 1)], 0),
    ],
)
def test_known_marks_stay_and_others_go(text, wanted, found, removed):
    for marks in (read(text), read(*text)):
        assert (marks.text, marks.found, marks.removed) == (wanted, found, removed)


TOKENS = ["[", "]", "[1]", "[2, 9]", "[9]", "1", "9", ", ", " ", "  ", "\n", "`", "```", "a", "x.",
          "<think>", "</think>", "<", "thinking>", "[1, 2]", "``"]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=25), st.data())
def test_the_same_however_it_is_cut(tokens, data):
    text = "".join(tokens)
    whole = read(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)])]
    for other in (read(*pieces), read(*text)):
        assert (other.text, other.found, other.removed) == (
            whole.text, whole.found, whole.removed)  # fmt: skip
    # Every mark that is noted stands there, and outside code there is no other.
    for place, number in whole.found:
        assert number in (1, 2) and whole.text.startswith(f"[{number}]", place)
    if "`" not in text:
        there = {match.start() for match in MARK.finditer(whole.text)}
        assert there == {place for place, _ in whole.found}
        assert set(re.findall(r"\[(9)\]", whole.text)) == set()


def cited(text):
    marks = read(text)
    return cited_sentences(marks.text, marks.found)


def test_a_mark_belongs_to_the_sentence_before_it():
    assert cited("The rent is due [1]. It is high.[2] Nobody pays.") == [
        ("The rent is due.", (1,)),
        ("It is high.", (2,)),
        ("Nobody pays.", ()),
    ]
    assert cited("One. [1] [2]\n\nTwo. [2]") == [("One.", (1, 2)), ("Two.", (2,))]
    assert cited("A [1] and B [2] and A [1].") == [("A and B and A.", (1, 2))]


def test_at_the_beginning_of_a_line_it_belongs_to_what_follows():
    assert cited("[1] One stands here.\n\n[2] Two stands there.") == [
        ("One stands here.", (1,)),
        ("Two stands there.", (2,)),
    ]
    assert cited("[1][2] Both.") == [("Both.", (1, 2))]
    assert cited("One.\n[2]") == [("One.", (2,))]
    assert cited("[1]") == [] and cited("") == []
