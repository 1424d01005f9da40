"""Contamination: the same as n-grams of Python strings, from named sets and files, in any order."""

from __future__ import annotations

import gzip
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError, UsageError
from tilth.signals.contamination import Contamination, overlap, shared_ngrams
from tilth.signals.evaluation_sets import read_texts
from tilth.testing.signals import check_signal

WORDS = st.lists(st.sampled_from("a b c d e".split()), max_size=30).map(" ".join)
ITEM = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi"


def batch(texts):
    return pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])


def grams(text, n):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)}


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.integers(1, 6))
def test_shared_ngrams_are_those_of_sets_of_tuples(texts, others, n):
    known = set().union(*(grams(text, n) for text in others), set())
    expected = [bool(grams(text, n) & known) for text in texts]
    assert shared_ngrams(texts, others, n).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6), st.integers(1, 6), st.booleans())
def test_overlap_is_that_of_sets_of_tuples_in_any_order(train, test, n, turned):
    known = set().union(*(grams(text, n) for text in train), set())
    sides = [grams(text, n) for text in test]
    together = set().union(*sides, set())
    batches = [batch(train[:2]), batch(train[2:])]
    found = overlap(batches[::-1] if turned else batches, [batch(test[3:]), batch(test[:3])], n)
    assert found["documents"] == sum(map(bool, sides))
    assert found["documents"] + found["documents_short"] == len(test)
    assert found["documents_hit"] == sum(bool(side & known) for side in sides)
    assert (found["ngrams"], found["ngrams_hit"]) == (len(together), len(together & known))
    if not together:
        assert found["ngrams_share"] is None and found["documents_share"] is None


def write_lines(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def test_signal_finds_items_and_keeps_its_contract(tmp_path):
    # One item stands in a list in a column of any name; the other is too short to be found.
    name = write_lines(tmp_path / "items.jsonl.gz", [{"any": ["x", ITEM]}, {"any": "one two"}])
    signal = Contamination(sets=[name])
    texts = [
        f"Before it. {ITEM.upper().replace(' ', ', ')}! And behind it.",
        ITEM.replace("theta", "other"),
        "one two",
        "",
    ]
    rows = signal.measure(batch(texts)).to_pylist()
    n = len(grams(texts[0], 13))
    assert rows[0] == {"contaminated_share": 4 / n, "contamination_hits": 4}
    assert rows[1] == {"contaminated_share": 0.0, "contamination_hits": 0}
    assert rows[2] == rows[3] == {"contaminated_share": None, "contamination_hits": 0}
    # Twelve equal words are found by 8-grams.
    assert Contamination(sets=[name], n=8).measure(batch(texts)).to_pylist()[1][
        "contamination_hits"
    ] == len(grams(texts[1], 8) & grams(ITEM, 8))
    check_signal(signal)


def test_order_of_sets_and_their_files_does_not_matter(tmp_path):
    one = write_lines(tmp_path / "one.jsonl", [{"q": ITEM}])
    (tmp_path / "two").mkdir()
    two = tmp_path / "two"
    (two / "b.csv").write_text(f'text,n\n"{ITEM[::-1]}",1\n')
    (two / "LICENSE").write_text("may be used by all who read this notice and keep it with copies")
    texts = batch([ITEM, ITEM[::-1], (two / "LICENSE").read_text()])
    first = Contamination(sets=[one, str(two)])
    second = Contamination(sets=[str(two), one])
    assert first.measure(texts).equals(second.measure(texts))
    # The licence beside a table is no test item.
    assert [row["contamination_hits"] > 0 for row in first.measure(texts).to_pylist()] == [
        True, True, False,
    ]  # fmt: skip


def test_digests_name_the_sets(tmp_path):
    name = write_lines(tmp_path / "items.jsonl", [{"q": ITEM}])
    before = Contamination(sets=[name]).parameters()
    assert Contamination(**before).parameters() == before
    write_lines(tmp_path / "items.jsonl", [{"q": ITEM + " rho"}])
    assert Contamination(sets=[name]).parameters()["digests"] != before["digests"]
    with pytest.raises(UsageError, match="digests"):
        Contamination(**before)


def test_fields_and_mistakes(tmp_path):
    name = write_lines(tmp_path / "items.jsonl", [{"q": "question", "a": "answer"}])
    assert list(read_texts(name)) == ["question", "answer"]
    assert list(read_texts(name, ["a"])) == ["answer"]
    with pytest.raises(DataError, match="'b'"):
        list(read_texts(name, ["a", "b"]))
    with pytest.raises(UsageError, match="sets"):
        Contamination()
    with pytest.raises(UsageError, match="no_such_set"):
        Contamination(sets=["no_such_set"])
    with pytest.raises(UsageError, match="from 1"):
        Contamination(sets=[name], n=0)
    (tmp_path / "broken.jsonl").write_text('{"q": \n')
    with pytest.raises(DataError, match="broken"):
        list(read_texts(str(tmp_path / "broken.jsonl")))


def test_texts_that_no_array_can_hold():
    lone = "\ud800 " + ITEM
    assert shared_ngrams([lone, ""], [lone], 13).tolist() == [True, False]
    assert shared_ngrams([], [ITEM], 13).dtype == np.bool_


def test_columns_of_one_row_are_joined_and_gaps_are_named(tmp_path):
    from tilth.errors import DataError
    from tilth.signals.evaluation_sets import read_joined

    table = tmp_path / "items.csv"
    table.write_text("q,s\nq,one\nwhat,s\n")
    assert list(read_joined(str(table), ["q", "s"])) == ["q\none", "what\ns"]
    rows = tmp_path / "items.jsonl"
    rows.write_text('{"q": "a", "s": null}\n{"q": null, "s": "b"}\n')
    with pytest.raises(DataError, match="row 0 has no text in each of q, s"):
        list(read_joined(str(rows), ["q", "s"]))
