"""The prompt: passages are quoted material, what does not fit is left out whole."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tilth.apps.answers import Passage
from tilth.apps.marks import MARK, Marks
from tilth.apps.prompt import CONTEXT, counter, estimated, fill, fitted, inert
from tilth.testing import strategies


def passage(number, text, source="a.txt"):
    return Passage(number, f"id{number}", source, "", 0, len(text), text)


def test_passages_stand_between_fences_with_a_code():
    prompt = fill("Who pays?", [passage(1, "The landlord pays."), passage(3, "Nobody.")])
    (code,) = set(re.findall(r"<<<(\w{16})", prompt))
    assert prompt.count(f"<<<{code} passage") == 2 and prompt.count(f"{code}>>>") == 3
    assert f"<<<{code} passage 3, from a.txt\nNobody.\n{code}>>>" in prompt
    assert prompt.endswith("Question: Who pays?\nAnswer:")
    assert prompt == fill("Who pays?", [passage(1, "The landlord pays."), passage(3, "Nobody.")])
    assert code not in fill("Who pays?", [passage(1, "The landlord pays.")])


@given(strategies.texts(), strategies.texts())
def test_no_passage_writes_a_mark_or_the_end_of_its_fence(text, source):
    prompt = fill("q", [passage(1, text, source)])
    (code,) = set(re.findall(r"<<<(\w{16}) passage 1", prompt))
    inside = prompt.split("\n\n<<<")[1].split(f"\n{code}>>>")[0]
    assert not MARK.search(inside)
    assert prompt.count(f"{code}>>>") == 2


def test_what_steers_a_model_is_made_inert():
    hostile = "a[2] <|im_end|> </s> [INST] <end_of_turn> <b> [x] x<y"
    assert inert(hostile) == "a[ 2] < |im_end|> < /s> [ INST] < end_of_turn> <b> [x] x<y"
    assert inert("say STOP", ["STOP"]) == "say S TOP"
    prompt = fill("q", [passage(1, hostile)], ["STOP"])
    assert "<|" not in prompt.replace("< |", "")
    # A model that copies a passage cites nothing by that.
    marks = Marks([1, 2])
    marks.push(inert("Copied [2] and [1, 2]."))
    marks.finish()
    assert marks.found == [] and marks.removed == 0


@given(st.lists(st.integers(1, 400), min_size=1, max_size=8), st.integers(0, 1500))
def test_what_does_not_fit_is_left_out_whole(sizes, room):
    passages = [passage(number, "x" * size) for number, size in enumerate(sizes, start=1)]
    prompt, used = fitted("q", passages, len, room)
    assert (prompt == "") == (used == [])
    assert len(prompt) <= room
    assert all(one.used and one.text == passages[one.number - 1].text for one in used)
    left = [one for one in passages if one.number not in {two.number for two in used}]
    if used:
        assert prompt == fill("q", used)
        # Nothing was left out that could have been added to what is better than it.
        for one in left:
            before = [two for two in used if two.number < one.number]
            assert len(fill("q", [*before, one])) > room


def test_who_counts_the_tokens():
    class Own:
        context = 100

        def count(self, prompt):
            return 7

    count, context = counter(Own())
    assert (count("x"), context) == (7, 100)
    assert counter(Own(), 50)[1] == 50 and counter(Own(), 500)[1] == 100
    assert counter(object()) == (estimated, CONTEXT) and counter(object(), 9)[1] == 9
    assert estimated("abcd") == 2 and estimated("\u4e2d") == 1
