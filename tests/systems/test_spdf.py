"""Tasks of spdf: slots counted by hand, subjects on one side; a masked training keeps its zeros."""

import pytest

from tilth.systems import _sparse_tasks as tasks


@pytest.mark.parametrize("number", range(len(tasks.SENTENCES)))
def test_a_sentence_says_its_meaning_and_no_other(number):
    for meaning in tasks.meanings()[1][:60]:
        text = tasks.SENTENCES[number].format(**meaning)
        assert tasks.slot_errors(meaning, text) == 0
        for slot, value in meaning.items():
            other = next(o for o in tasks.SLOTS[slot].split(",") if o != value)
            wrong = {**meaning, slot: other}
            assert tasks.slot_errors(wrong, text) == pytest.approx(1 / len(meaning))
            both = text + " " + tasks.SENTENCES[number].format(**wrong)
            assert slot == "family" or tasks.slot_errors(meaning, both) > 0
        assert tasks.slot_errors(meaning, "") == 1


def test_held_out_meanings_are_not_learned():
    learned, held_out = tasks.meanings()
    assert len(learned) + len(held_out) == 10 * 6 * 3 * 4 * 2
    prompts = {prompt for prompt, _ in tasks.restaurants(300, 0)}
    assert not prompts & {tasks.prompt(one) for one in held_out}
    assert tasks.restaurants(3, 0) == tasks.restaurants(3, 0) != tasks.restaurants(3, 1)


class Table:
    def __init__(self, rows):
        self.rows = rows

    def to_pylist(self):
        return [
            {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
            for q, a in self.rows
        ]


def test_items_of_one_subject_lie_on_one_side():
    rows = [(f"Thing_{n // 3} | is | {n}", f"It is {n}.\nMore.") for n in range(60)]
    rows.append(("Long | is | " + "x" * 300, "Too long."))
    rows.append(("A | b | c\n" * 4, "Too many."))
    task = type("Task", (), {"table": Table(rows)})
    sides = tasks.triples(task)
    assert list(map(len, sides)) == [42, 9, 9]
    subjects = [{prompt.split(" | ")[0] for prompt, _ in side} for side in sides]
    assert len(set.union(*subjects)) == sum(map(len, subjects))
    prompt, text = sides[2][0]
    assert prompt.startswith("Thing ") and text.startswith("It is ")


def test_pairs_longer_than_a_row_are_left_out_and_counted():
    from tilth.systems import _continued_texts, _sparse_texts
    from tilth.zoo import tiny

    _, novels, _ = _continued_texts.smoke()
    parts = [("a\n", "b"), ("a\n", "word " * 90)], [("c\n", "d")], [("e\n", "f" * 400)]
    made = _sparse_texts._fitting(tiny("causal")[1], novels, parts, 64, None)
    assert made.learned == [("a\n", "b")] and made.tried == [("c\n", "d")]
    assert made.tests == [] and made.left_out == 2
