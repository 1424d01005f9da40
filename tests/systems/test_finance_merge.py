"""Instructions of finance-merge: right answers are right, what is held out is not learned."""

import random

import pytest

from tilth.systems import _merge_instructions as made


@pytest.mark.parametrize("form", made.FORMS)
@pytest.mark.parametrize("kind", ["towns", "months"])
def test_an_answer_is_right_in_its_own_form_only(kind, form):
    text = made.answer(kind, form, random.Random(1))
    assert [f for f in made.FORMS if made.right(kind, f, text)] == [form]
    assert not made.right("metals", form, text)
    assert not made.right(kind, form, text + " and so on")
    assert not made.right(kind, form, "") and not made.right(kind, form, "[1, 2, 3]")
    words = made.KINDS[kind].split()
    assert not made.right(kind, form, made.FORMS[form]([words[0]] * 3))
    assert not made.right(kind, form, made.FORMS[form](words[:2]))


def test_held_out_pairs_are_new_but_their_parts_are_not():
    learned, held_out = made.pairs()
    assert not set(learned) & set(held_out) and len(held_out) == 10
    assert {kind for kind, _ in learned} == set(made.KINDS)
    assert {form for _, form in learned} == set(made.FORMS)
    prompts = {prompt for prompt, _ in made.conversations(500, 0)}
    assert not prompts & {made.prompt(*pair) for pair in held_out}
    assert made.conversations(5, 0) == made.conversations(5, 0) != made.conversations(5, 1)
