"""What the systems that pre-train small encoders share."""

import numpy as np
import pyarrow as pa
import pytest

from tilth.data.task import Task, schema
from tilth.errors import DataError
from tilth.objectives.batch import Draws
from tilth.systems._budget_arms import Pooled
from tilth.systems._encoder_study import drawn, made_tasks, part, short
from tilth.testing.objectives import documents, tiny_model


def grouped(rows: int, group: int) -> Task:
    made = [
        {"id": str(n), "text": f"text {n}", "label": "a", "group": str(n // group), "split": ""}
        for n in range(rows)
    ]
    return Task("classify", "made", pa.Table.from_pylist(made, schema("classify")))


def test_no_group_is_in_both_parts_and_seeds_draw_anew():
    task = grouped(60, 4)
    pairs = [drawn(task, "x", 20, 12, seed) for seed in range(6)]
    for pair in pairs:
        train, test = (set(one.table["group"].to_pylist()) for one in (pair.train, pair.test))
        assert not train & test
        assert pair.train.table.num_rows == 20 and 12 <= pair.test.table.num_rows < 16
    assert len({tuple(pair.test.table["id"].to_pylist()) for pair in pairs}) > 1
    same = drawn(task, "x", 20, 12, 3)
    assert same.train.table.equals(pairs[3].train.table)
    with pytest.raises(DataError, match="too few"):
        drawn(grouped(5, 1), "x", 2, 2, 0)


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
