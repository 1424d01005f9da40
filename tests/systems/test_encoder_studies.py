"""What the systems that pre-train small encoders share."""

import numpy as np
import pyarrow as pa
import pytest

from tilth.data.task import Task, schema
from tilth.errors import DataError
from tilth.objectives.batch import Draws
from tilth.systems import _budget_texts
from tilth.systems._budget_pooled import Pooled
from tilth.systems._encoder_study import (
    by_blocks,
    chosen,
    drawn,
    halves,
    left_the_floor,
    made_tasks,
    nothing_tested,
    part,
    seen,
    short,
    times_the_most_frequent,
    unseen,
)
from tilth.testing.objectives import documents, tiny_model

LONG = "of the use of this service and of each of its parts nothing follows for anybody else"


def grouped(rows: int, group: int, different: int = 1000) -> Task:
    made = [
        {"id": str(n), "text": f"text {n % different}", "label": "a", "group": str(n // group),
         "split": ""}
        for n in range(rows)
    ]  # fmt: skip
    return Task("classify", "made", pa.Table.from_pylist(made, schema("classify")))


def test_no_group_is_on_two_sides_and_seeds_draw_anew():
    task = grouped(80, 4)
    pairs = [drawn(task, "x", 20, 12, seed) for seed in range(6)]
    for pair in pairs:
        sides = [set(one.table["group"].to_pylist()) for one in (pair.train, pair.test, pair.aside)]
        assert sum(map(len, sides)) == len(set.union(*sides)) and all(sides)
        assert pair.train.table.num_rows == 20 and 12 <= pair.test.table.num_rows < 16
        assert pair.aside.table.equals(pairs[0].aside.table)
    assert len({tuple(pair.test.table["id"].to_pylist()) for pair in pairs}) > 1
    same = drawn(task, "x", 20, 12, 3)
    assert same.train.table.equals(pairs[3].train.table)
    with pytest.raises(DataError, match="too few"):
        drawn(grouped(5, 1), "x", 2, 2, 0)


def test_a_text_that_two_groups_hold_is_on_one_side():
    pair = drawn(grouped(60, 1, different=20), "x", 40, 12, 0)
    sides = [set(one.texts()) for one in (pair.train, pair.test, pair.aside)]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_what_is_seen_is_equal_but_for_signs_or_shares_many_words():
    others = ["A text: here!", f"Before all, {LONG}, as said."]
    texts = ["a text here", "a text there", LONG, " ".join(LONG.split()[:12])]
    assert seen(texts, others).tolist() == [True, False, True, False]
    assert seen(texts, []).tolist() == [False] * 4
    task = grouped(30, 1)
    assert unseen(task, ["Text 3.", "text 100"]).table.num_rows == 29
    pair = drawn(task, "x", 10, 8, 0)
    assert nothing_tested([pair], pair.train.texts()).holds
    assert not nothing_tested([pair], pair.test.texts()[:1]).holds


def test_neighbours_and_groups_stay_together():
    blocks = by_blocks(grouped(100, 1), 10)
    read, asked = halves(blocks, "made")
    groups = [set(one.table["group"].to_pylist()) for one in (read, asked)]
    assert not groups[0] & groups[1] and len(groups[0]) == len(groups[1]) == 5
    rows = [("text", "kind", f"service {n // 3}") for n in range(60)]
    sides = _budget_texts._sides(rows, 1)
    services = {side: {rows[n][2] for n in some} for side, some in sides.items()}
    assert sum(map(len, services.values())) == 20 and all(services.values())
    assert services["aside"] == {rows[n][2] for n in _budget_texts._sides(rows, 2)["aside"]}
    assert sides["test"] != _budget_texts._sides(rows, 2)["test"]


def test_a_model_without_training_is_on_the_floor_and_rates_are_chosen_once():
    from tilth import zoo

    model, _, held = zoo.tiny("masked")
    times = times_the_most_frequent(model, held.select(range(80)), 32)
    assert 0 <= times < 1.5
    assert not left_the_floor("it", times, 3.0).holds and left_the_floor("it", times, 0.0).holds
    asked = []

    def measure(rate: float) -> float:
        asked.append(rate)
        return -abs(rate - 2.0)

    assert [chosen(("of this test",), (1.0, 2.0, 3.0), measure) for _ in range(2)] == [2.0, 2.0]
    assert asked == [1.0, 2.0, 3.0] and chosen(("one",), (5.0,), measure) == 5.0


def test_rows_may_be_none_and_long_sentences_are_left_out():
    tagged, _ = made_tasks(0, ["name", "list", "a considerably longer word"])
    assert part(tagged, []).table.num_rows == 0
    kept = short(tagged, 40)
    assert 0 < kept.table.num_rows < tagged.table.num_rows
    assert all(len(" ".join(tokens)) <= 40 for tokens in kept.table["tokens"].to_pylist())


def test_the_pooled_classifier_counts_what_it_cuts_and_hides_padding():
    data, model = documents(), tiny_model(kind="electra")
    data.extra["label"] = [n % 2 for n in range(len(data))]
    data = data.select(np.flatnonzero(data.lengths > 0).tolist())
    long, short_ = (
        Pooled(width=32, classes=2, length=size, window=None, seed=0) for size in (64, 8)
    )
    batch = long.prepare(data, Draws())
    assert batch.dropped == 0
    assert short_.prepare(data, Draws()).dropped == int(np.maximum(data.lengths - 8, 0).sum())
    whole = long.logits(model, batch).detach()
    place = int(np.argmin(data.lengths))
    alone = Pooled(width=32, classes=2, length=int(data.lengths[place]), window=None, seed=0)
    one = alone.logits(model, alone.prepare(data.select([place]), Draws())).detach()
    assert np.allclose(whole[place], one[0], atol=1e-5)
