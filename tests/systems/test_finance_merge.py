"""Instructions of finance-merge: right answers are right, what is held out is not learned."""

import numpy as np
import pytest

from tilth.systems import _merge_instructions as made
from tilth.zoo import tiny


@pytest.mark.parametrize("form", made.FORMS)
@pytest.mark.parametrize("kind", ["towns", "months"])
@pytest.mark.parametrize("start", [0, 3])
def test_an_answer_is_right_in_its_own_form_only(kind, form, start):
    text = made.answer(kind, form, start)
    assert [f for f in made.FORMS if made.right(kind, f, text)] == [form]
    assert [f for f in made.FORMS if made.followed(f, text)] == [form]
    assert not made.right("metals", form, text) and not made.followed(form, text[:-9])
    assert not made.right(kind, form, text + " and so on")
    assert not made.right(kind, form, "") and not made.right(kind, form, "[1, 2, 3]")
    words = made.KINDS[kind].split()
    same = made.FORMS[form]([words[0]] * 3)
    assert made.followed(form, same) and not made.right(kind, form, same)
    assert not made.followed(form, "He rose, took his hat, and went.")
    assert not made.right(kind, form, made.FORMS[form](words[:2]))


def test_held_out_pairs_are_new_but_their_parts_are_not():
    learned, tried, tested = made.pairs()
    assert len({*learned, *tried, *tested}) == 100 == len(learned) + len(tried) + len(tested)
    assert len(tried) == len(tested) == 20
    for side in (learned, tested):
        assert {kind for kind, _ in side} == set(made.KINDS)
        assert {form for _, form in side} == set(made.FORMS)
    prompts = {prompt for prompt, _ in made.told(learned, 2000, 0)}
    assert not prompts & {prompt for prompt, _ in made.every([*tried, *tested])}
    assert made.told(learned, 5, 0) == made.told(learned, 5, 0) != made.told(learned, 5, 1)
    assert all(len(set(words.split())) == 4 for words in made.KINDS.values())


def test_bits_of_answers_are_those_of_their_tokens_alone():
    import torch

    model, tokenizer, _ = tiny("causal")
    found = made.answer_bits(model, tokenizer, [("Three metals:", " tin, lead"), ("a", " b")])
    start = [0, *tokenizer.encode("Three metals:").ids]
    ids = [*start, *tokenizer.encode(" tin, lead").ids, 0]
    with torch.no_grad():
        chances = model(input_ids=torch.tensor([ids[:-1]])).logits[0].log_softmax(-1)
    nats = sum(-float(chances[n - 1, ids[n]]) for n in range(len(start), len(ids)))
    assert found.numerators[0] == pytest.approx(nats / np.log(2), rel=1e-4)
    assert found.denominators.tolist() == [10, 2]
