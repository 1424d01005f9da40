"""The system casehold: items are sound, nothing crosses from training to test."""

import pytest

from tilth.errors import DataError
from tilth.systems import _casehold_items as items_of
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
    plan = items_of.Plan(tokens=12_000, size="60k", vocabulary=300)
    made = items_of.encoders(TEXTS[:30], TEXTS[30:], plan)
    assert len({one.tokens for one in made.values()}) == 1
    assert made["general twice"].tokenizer is made["general, then law"].tokenizer
