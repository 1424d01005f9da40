"""The system casehold: items are sound, nothing crosses from training to test."""

import pytest

from tilth.errors import DataError
from tilth.systems import _casehold_items as items_of
from tilth.systems._casehold_arms import Plan, encoders
from tilth.zoo.micro import docstrings

TEXTS = [" ".join(text.split()[:24]) for _, text in docstrings() if len(text.split()) >= 24][:60]


def test_a_text_breaks_off_in_its_middle():
    text = " ".join(map(str, range(20)))
    assert items_of.halves(text, 4, 3) == ("6 7 8 9", "10 11 12")
    assert items_of.halves("too short", 4, 3) is None


def test_items_have_five_different_choices_from_their_side():
    task = items_of.items([*TEXTS, *TEXTS[:2]], 10, 8)
    sides = {split: task.split(split).table.to_pylist() for split in ("train", "test")}
    held = {row["choices"][row["answer"]] for row in sides["test"]}
    seen = {choice for row in sides["train"] for choice in row["choices"]}
    assert not held & seen
    for row in task.table.to_pylist():
        assert len(set(row["choices"])) == items_of.CHOICES
        start, end = row["text"], row["choices"][row["answer"]]
        assert any(items_of.halves(text, 10, 8) == (start, end) for text in TEXTS)
    assert len({row["answer"] for row in task.table.to_pylist()}) == items_of.CHOICES
    right = items_of.overlap(task.split("test"))
    assert len(right) == len(sides["test"]) and set(right) <= {0.0, 1.0}
    with pytest.raises(DataError, match="4 different texts"):
        items_of.items(TEXTS[:9], 10, 8)


def test_encoders_learn_equally_long():
    plan = Plan(tokens=6_000, width=32, layers=1, vocabulary=300, batch_tokens=256)
    texts = items_of.Texts(TEXTS[:20], TEXTS[20:40], TEXTS[40:50], TEXTS[50:])
    made = encoders(texts, plan, 0)
    nothing = made.pop("not pre-trained")
    assert nothing.tokens == 0 and len({one.tokens for one in made.values()}) == 1
    assert made["general twice"].tokenizer is made["general, then law"].tokenizer
    assert made["general twice"].tokenizer is not made["law alone"].tokenizer
    again = encoders(texts, plan, 1)
    first, second = (one["law alone"].model.get_input_embeddings().weight for one in (made, again))
    assert not first.equal(second)


def test_tests_are_the_same_for_every_seed_and_nothing_of_them_is_trained_on():
    task = items_of.items(TEXTS, 10, 8)
    pairs = [items_of.pair(task, "holdings", 12, seed) for seed in range(3)]
    assert pairs[0].test.table.equals(pairs[1].test.table)
    assert not pairs[0].train.table.equals(pairs[1].train.table)
    for one in pairs:
        ids = [set(part.table["id"].to_pylist()) for part in (one.train, one.test, one.aside)]
        assert sum(map(len, ids)) == len(set.union(*ids)) and all(ids)
