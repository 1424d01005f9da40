import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.blocks import group_by_prefix
from tilth.corpus.duplicates import FINGERPRINT, ExactDuplicates, clusters
from tilth.corpus.split import components, split_by_component
from tilth.documents.document import Document, to_batch
from tilth.errors import DataError
from tilth.store.digest import digest

values = st.sampled_from(["", "p", "q", "r", "s", "t"])


@given(st.lists(st.tuples(values, values), min_size=1, max_size=15))
@settings(max_examples=50, deadline=None)
def test_components_equal_a_flood_fill(rows):
    label = components([a for a, _ in rows], [b for _, b in rows])
    expected = list(range(len(rows)))
    for _ in rows:
        for i, (a, b) in enumerate(rows):
            for j, (c, d) in enumerate(rows):
                if (a and a == c) or (b and b == d):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    same = np.equal.outer(label, label)
    assert (same == np.equal.outer(expected, expected)).all()


@given(st.lists(st.integers(1, 50), min_size=3, max_size=40), st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_whole_components_about_the_share_for_any_order(sizes, seed):
    ids = [digest(i) for i in range(len(sizes))]
    component = np.arange(len(sizes)) // 2
    held_out = split_by_component(component, ids, sizes, 0.2, seed)
    assert held_out.any() and not held_out.all()
    for number in set(component):
        assert len(set(held_out[component == number])) == 1
    turn = np.random.default_rng(seed).permutation(len(sizes))
    again = split_by_component(
        component[turn], [ids[i] for i in turn], [sizes[i] for i in turn], 0.2, seed
    )
    assert (again == held_out[turn]).all()


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match="one group"):
        split_by_component(np.zeros(3, int), ["a", "b", "c"], [1, 1, 1], 0.1)


def test_exact_duplicates_even_out_case_and_white_space():
    texts = ["One  two\n", "one two", "One two!", "", " "]
    batch = to_batch([Document(id=str(i), text=text) for i, text in enumerate(texts)])
    table = pa.Table.from_batches([ExactDuplicates().fingerprint(batch)])
    assert clusters(table).column("cluster").to_pylist() == ["0", "0", None, "3", "3"]
    strict = pa.Table.from_batches([ExactDuplicates(loose=False).fingerprint(batch)])
    assert clusters(strict).column("cluster").to_pylist() == [None] * 5
    assert clusters(table.schema.empty_table()).schema.names == ["id", "cluster"]
    assert table.schema == FINGERPRINT


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(50, 300))
@settings(max_examples=50, deadline=None)
def test_grouping_keeps_all_is_order_free_and_bounded(sizes, limit):
    items = [(digest(i), size, i) for i, size in enumerate(sizes)]
    groups = group_by_prefix(items, limit)
    assert sorted(i for group in groups for i in group) == list(range(len(sizes)))
    for group in groups:
        assert len(group) == 1 or sum(sizes[i] for i in group) <= limit
    assert group_by_prefix(items[::-1], limit) == groups


def test_one_more_item_changes_one_group_or_splits_it():
    items = [(digest(i), 10, i) for i in range(500)]
    before = {tuple(group) for group in group_by_prefix(items, 200)}
    after = {tuple(group) for group in group_by_prefix([*items, (digest("new"), 10, -1)], 200)}
    assert len(before - after) == 1
