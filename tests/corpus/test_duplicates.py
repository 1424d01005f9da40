import random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.blocks import require_manifest
from tilth.corpus.corpus import Corpus
from tilth.corpus.duplicates import (
    CLUSTERS,
    COLUMNS,
    DUPLICATES,
    ExactDuplicates,
    Groups,
    Links,
    families,
    group_equal,
)
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.near_duplicates import NearDuplicates
from tilth.corpus.rules import Rule, decide
from tilth.errors import UsageError
from tilth.lookup import construct
from tilth.store.digest import digest
from tilth.testing.common import check_method
from tilth.testing.faults import tree

WORDS = [f"word{i}" for i in range(300)]


def write_documents(folder, count=40, seed=0):
    """Files of 40 words; every fifth is the one before with one word changed, or in capitals."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    words = []
    for number in range(count):
        if number % 5 == 4:
            changed = [*words]
            changed[3] = "changed"
            text = " ".join(changed)
        elif number % 5 == 3:
            text = " ".join(words).upper()
        else:
            words = [chance.choice(WORDS) for _ in range(60)]
            text = " ".join(words)
        (folder / f"{number:03}.txt").write_text(text + "\n")


@pytest.mark.parametrize("name", DUPLICATES)
def test_methods_keep_the_contract(name):
    method = construct("duplicates", DUPLICATES, name, {})
    check_method("duplicates", method)
    assert method.name == name
    assert list(method.columns) == list(COLUMNS) == CLUSTERS.names[1:]
    assert method.schema.names[:2] == ["id", "fingerprint"]


@given(st.lists(st.sampled_from("pqrst"), max_size=30), st.randoms())
@settings(max_examples=60, deadline=None)
def test_groups_are_numbered_by_their_smallest_ids(prints, chance):
    ids = [digest(number) for number in range(len(prints))]
    chance.shuffle(ids)
    groups = group_equal(pa.table({"id": pa.array(ids, pa.string()), "fingerprint": prints}))
    members = {}
    for row, number in enumerate(groups.group):
        members.setdefault(number, []).append(row)
    assert sorted(members) == list(range(len(groups))) and len(members) == len(set(prints))
    smallest = [min(ids[row] for row in members[number]) for number in range(len(groups))]
    assert smallest == sorted(smallest) == [ids[row] for row in groups.first]
    for rows in members.values():
        assert len({prints[row] for row in rows}) == 1


def test_columns_of_a_chain():
    # Four groups a-b-c in a chain and d alone; b has two documents.
    groups = Groups(
        pa.array(["a", "b", "c", "d", "b2"]), np.array([0, 1, 2, 3, 1]), np.array([0, 1, 2, 3])
    )
    links = Links(
        np.array([0, 1]), np.array([1, 2]), np.array([0.9, 0.8]), np.array([0, 0, 0, 3]),
        np.array([1.0, 0.9, 0.6, 1.0]),
    )  # fmt: skip
    found = families(groups, links)
    assert found.clusters.column("cluster").to_pylist() == ["a", "a", "a", None, "a"]
    assert found.clusters.column("cluster_size").to_pylist() == [4, 4, 4, 1, 4]
    assert found.clusters.column("duplicate_similarity").to_pylist() == [0.9, 1.0, 0.8, None, 1.0]
    assert found.clusters.column("cluster_similarity").to_pylist() == [1.0, 0.9, 0.6, None, 0.9]
    assert found.edges.to_pylist() == [
        {"id": "a", "other": "b", "similarity": 0.9},
        {"id": "b", "other": "b2", "similarity": 1.0},
        {"id": "b", "other": "c", "similarity": 0.8},
    ]
    assert found.statistics == {
        "documents": 5, "different": 4, "in_families": 4, "families": 1, "edges": 3,
    }  # fmt: skip


def test_the_last_method_decides(tmp_path):
    write_documents(tmp_path / "documents")
    corpus = Corpus(tmp_path / "corpus", executor=LocalExecutor(1))
    corpus.add([tmp_path / "documents"])
    assert not set(COLUMNS) & set(corpus.columns().column_names)
    with pytest.raises(UsageError, match="no search for duplicates"):
        corpus.edges()
    exact = corpus.find_duplicates()
    by_exact = corpus.columns()
    near = corpus.find_duplicates(NearDuplicates())
    by_near = corpus.columns()
    assert exact["families"] == near["families"] == 8
    assert (exact["in_families"], near["in_families"]) == (16, 24)
    for table in (by_exact, by_near):
        assert table.column_names.count("cluster") == 1
        assert set(COLUMNS) < set(table.column_names)
    assert corpus.edges().num_rows == 16
    # What ran before and runs again is the last one again, at the cost of nothing.
    before = tree(corpus.folder / "layers")
    assert corpus.find_duplicates(ExactDuplicates()) == exact
    assert corpus.columns() == by_exact and corpus.edges().num_rows == 8
    assert tree(corpus.folder / "layers") == before
    corpus.drop_others()
    assert corpus.columns() == by_exact
    folder = corpus.layer_folder() / "duplicates"
    assert [path.name.split("@")[0] for path in folder.iterdir()] == ["exact"]


def test_rules_use_the_columns_and_an_added_document_asks_for_a_new_search(tmp_path):
    write_documents(tmp_path / "documents")
    corpus = Corpus(tmp_path / "corpus", executor=LocalExecutor(1))
    corpus.add([tmp_path / "documents"])
    corpus.find_duplicates(NearDuplicates())
    decisions = corpus.select(Rule({"not copied": "cluster_size <= 1"}, keep_by="position"))
    assert pc.sum(decisions.column("kept")).as_py() == 16
    few = Rule({"not too alike": "coalesce(duplicate_similarity, 0) < 1"}, keep_by="position")
    assert pc.sum(corpus.select(few).column("kept")).as_py() == 24
    (tmp_path / "documents" / "new.txt").write_text("One more file, with nine words in it all.\n")
    corpus.add([tmp_path / "documents"])
    assert "cluster" not in corpus.columns().column_names
    with pytest.raises(UsageError, match="no search for duplicates"):
        corpus.edges()
    statistics = corpus.find_duplicates(NearDuplicates())
    assert statistics["documents"] == corpus.columns().num_rows == 41
    manifest = require_manifest(next((corpus.layer_folder() / "duplicates").iterdir()))
    assert manifest["statistics"] == statistics


values = st.one_of(st.none(), st.integers(0, 6))
rows = st.lists(st.tuples(values, values, st.sampled_from([None, "p", "q", "r"])), max_size=25)
conditions = st.lists(
    st.sampled_from(["x > 2", "y <= 4", "x + y > 3", "x IS NULL OR x < 5", "y % 2 = 0"]),
    max_size=3, unique=True,
)  # fmt: skip


@given(rows, conditions, st.sampled_from(["x", "y", "x - y", "1"]), st.randoms())
@settings(max_examples=60, deadline=None)
def test_no_family_with_a_passing_member_is_lost(rows, conditions, keep_by, chance):
    schema = pa.schema(
        [("id", pa.string()), ("x", pa.int64()), ("y", pa.int64()), ("cluster", pa.string())]
    )
    table = [
        {"id": digest(number), "x": x, "y": y, "cluster": cluster}
        for number, (x, y, cluster) in enumerate(rows)
    ]
    rule = Rule({f"c{number}": text for number, text in enumerate(conditions)}, keep_by)
    decided = decide(pa.Table.from_pylist(table, schema), rule).to_pylist()
    assert [row["id"] for row in decided] == [row["id"] for row in table]
    kept = {}
    for row, decision in zip(table, decided):
        assert decision["passed"] >= decision["kept"]
        if row["cluster"] is None:
            assert decision["kept"] == decision["passed"]
        elif decision["passed"]:
            kept.setdefault(row["cluster"], []).append(decision["kept"])
    assert all(sum(members) == 1 for members in kept.values())
    shuffled = [*table]
    chance.shuffle(shuffled)
    again = decide(pa.Table.from_pylist(shuffled, schema), rule).to_pylist()
    assert sorted(again, key=lambda d: d["id"]) == sorted(decided, key=lambda d: d["id"])
