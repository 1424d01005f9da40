"""Tasks: their columns, digests, and splits that no group crosses."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.data.task import Collection, Task, schema, split_by_group, split_by_time
from tilth.errors import DataError, UsageError


def table(rows):
    return pa.Table.from_pylist(
        [{"id": str(n), "text": f"text {n}", "label": l, "group": g, "split": ""}
         for n, (l, g) in enumerate(rows)],
        schema("classify"),
    )  # fmt: skip


def task(rows, **fields):
    return Task("classify", "made", table(rows), **fields)


@settings(max_examples=30)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=60), st.integers(0, 3))
def test_no_group_crosses_and_the_order_of_rows_does_not_matter(groups, seed):
    rows = table([("x", g) for g in groups])
    try:
        parted = split_by_group(rows, "group", {"train": 0.7, "test": 0.3}, seed)
    except DataError as error:
        assert "empty" in str(error)
        return
    found = {}
    for row in parted.to_pylist():
        assert found.setdefault(row["group"], row["split"]) == row["split"]
    assert set(found.values()) == {"train", "test"}
    assert parted.num_rows == len(groups) and parted.column_names == rows.column_names
    turned = split_by_group(
        rows.take(list(range(len(groups)))[::-1]), "group", {"train": 0.7, "test": 0.3}, seed
    )
    assert dict(zip(turned["id"].to_pylist(), turned["split"].to_pylist())) == dict(
        zip(parted["id"].to_pylist(), parted["split"].to_pylist())
    )


def test_shares_are_kept_and_the_seed_counts():
    rows = table([("x", f"g{n // 2}") for n in range(2000)])
    shares = {"train": 8, "valid": 1, "test": 1}
    one, other = (split_by_group(rows, "group", shares, seed) for seed in (0, 1))
    counts = [one["split"].to_pylist().count(name) for name in shares]
    assert counts == pytest.approx([1600, 200, 200], abs=3)
    assert one["split"] != other["split"]


def test_a_new_row_moves_few_others():
    groups = [f"g{n}" for n in range(500)]
    shares = {"train": 0.8, "test": 0.2}
    one = split_by_group(table([("x", g) for g in groups]), "group", shares)
    two = split_by_group(table([("x", g) for g in [*groups, "new"]]), "group", shares)
    moved = sum(a != b for a, b in zip(one["split"].to_pylist(), two["split"].to_pylist()))
    assert moved <= 2


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match="1 groups of 'group' leave the split"):
        split_by_group(table([("x", "g")] * 5), "group", {"train": 0.5, "test": 0.5})
    with pytest.raises(DataError, match="did you mean 'group'"):
        split_by_group(table([("x", "g")]), "groups", {"train": 1.0})
    with pytest.raises(UsageError, match="above 0"):
        split_by_group(table([("x", "g")]), "group", {"train": 1.0, "test": 0.0})


def test_time_splits_keep_the_past_before_the_future():
    rows = pa.table({"year": [2003, 2001, 2001, 2002, 2003, 2004]})
    parted = split_by_time(rows, "year", {"train": 0.5, "test": 0.5}).to_pylist()
    past = [row["year"] for row in parted if row["split"] == "train"]
    future = [row["year"] for row in parted if row["split"] == "test"]
    assert sorted(past) == [2001, 2001, 2002] and min(future) == 2003
    with pytest.raises(DataError, match="1 rows have no 'year'"):
        split_by_time(pa.table({"year": [2001, None]}), "year", {"train": 1.0})


def test_a_task_knows_its_labels_splits_and_digest():
    made = task([("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")])
    assert made.labels == ["a", "b"] and made.metric == "accuracy" and made.splits() == {"": 4}
    parted = made.with_splits({"train": 0.5, "test": 0.5})
    assert parted.splits() == {"test": 2, "train": 2}
    assert parted.split("test").table.num_rows == 2
    assert made.digest == task([("a", "1"), ("b", "2"), ("a", "3"), ("b", "4")]).digest
    assert len({made.digest, parted.digest, parted.split("test").digest}) == 3
    assert made.sources == (("made", made.digest, "not stated"),)
    with pytest.raises(UsageError, match="did you mean 'train'"):
        parted.split("trian")
    with pytest.raises(UsageError, match="has no judgements"):
        made.judgements()


def test_the_wrong_columns_are_refused_in_one_line():
    with pytest.raises(DataError, match="has columns id, text, label, group, split, not a, b"):
        Task("classify", "made", pa.table({"a": [1], "b": [2]}))
    with pytest.raises(UsageError, match="did you mean 'classify'"):
        schema("clasify")
    ranked = pa.Table.from_pylist([], schema("rank"))
    with pytest.raises(DataError, match="collection"):
        Task("rank", "made", ranked)


def test_a_rank_task_splits_by_query():
    rows = [
        {"query": f"q{n % 10}", "document": f"d{n}", "gain": n % 3, "split": ""} for n in range(50)
    ]
    documents = pa.table({"id": ["d0", "d1"], "title": ["T", "x"], "text": ["body", "x y"]})
    collection = Collection(documents, pa.table({"id": ["q0"], "text": ["what"]}))
    made = Task("rank", "made", pa.Table.from_pylist(rows, schema("rank")), collection=collection)
    assert collection.texts() == {"d0": "T\nbody", "d1": "x y"}
    assert collection.query_texts() == {"q0": "what"} and made.labels == []
    parted = made.with_splits({"train": 0.5, "test": 0.5})
    train, test = (set(parted.split(name).judgements()) for name in ("train", "test"))
    assert not train & test and len(train | test) == 10
    assert made.judgements()["q1"] == {"d1": 1, "d11": 2, "d21": 0, "d31": 1, "d41": 2}
