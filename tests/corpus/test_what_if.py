"""A corpus held in memory: lists, histograms, and what moving a threshold would change."""

import random
import shlex

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.histograms import column_histogram, limits
from tilth.corpus.near_duplicates import NearDuplicates
from tilth.corpus.reader import Reader
from tilth.corpus.rules import Rule, decide
from tilth.corpus.snapshot import Snapshot, counted, listed, snapshot
from tilth.corpus.what_if import moved_rule, select_command, what_if
from tilth.errors import UsageError
from tilth.signals.length import Length

RULE = Rule({"long enough": "words >= 20", "not too long": "words < 60"})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Documents of 1 to 80 words; the first of every ten has a near-duplicate one word longer."""
    folder = tmp_path_factory.mktemp("what-if")
    (folder / "in").mkdir()
    chance = random.Random(1)
    for count in range(1, 81):
        words = [f"w{chance.randrange(10_000)}" for _ in range(count)]
        (folder / "in" / f"{count:02}.txt").write_text(" ".join(words))
        if count % 10 == 0:
            (folder / "in" / f"{count:02} again.txt").write_text(" ".join([*words, "more"]))
    (folder / "in" / "empty.txt").write_text("")
    made = Corpus(folder / "corpus", executor=LocalExecutor(1))
    made.add([folder / "in"])
    made.measure([Length()])
    made.find_duplicates(NearDuplicates())
    made.select(RULE)
    return made


@pytest.fixture(scope="module")
def held(corpus):
    return snapshot(corpus)


def test_lists_are_those_of_the_corpus(corpus, held):
    outcomes = [outcome for outcome in corpus.outcomes() if outcome.id]
    every = listed(held, limit=1000)
    assert [held.decision(row) for row in every.rows] == outcomes
    assert every.total == len(outcomes) == held.columns.num_rows
    for show, kept in (("kept", True), ("dropped", False)):
        found = listed(held, show=show, limit=1000)
        assert [held.decision(row) for row in found.rows] == [
            one for one in outcomes if one.kept == kept
        ]
    duplicates = listed(held, reason="duplicate")
    stands = [held.decision(row).representative for row in duplicates.rows]
    assert duplicates.total == 4 and all(held.row(id) is not None for id in stands)
    (problem,) = listed(held, show="unread").problems
    assert problem.reason == "empty" and listed(held, show="unread", source="none").total == 0


def test_lists_are_paged_ordered_and_searched(held):
    words = held.columns.column("words").to_pylist()
    down = listed(held, order="words", descending=True, limit=5)
    assert [words[row] for row in down.rows] == [81, 80, 79, 78, 77]
    pages = [listed(held, order="words", offset=at, limit=7).rows for at in range(0, 91, 7)]
    assert sorted(row for page in pages for row in page) == list(range(88))
    assert listed(held, source="0 AGAIN").total == 8
    with pytest.raises(UsageError, match="did you mean 'words'"):
        listed(held, order="wrds")
    with pytest.raises(UsageError, match="no list"):
        listed(held, show="lost")


def test_a_missing_value_is_unknown_and_ordered_last():
    table = pa.table({"id": ["a", "b"], "source": ["x", "x"], "position": [0, 1],
                      "words": [None, 4]})  # fmt: skip
    rule = Rule({"some": "words > 1"}, "words")
    held = Snapshot(table, rule, decide(table, rule))
    assert listed(held, reason="some (unknown)").rows == (0,)
    assert listed(held, order="words").rows == listed(held, order="words", descending=True).rows
    assert held.decision(0).unknown == ("some",) and held.decision(0).reasons == ()
    assert counted(held.decisions, rule)["some"] == (0, 1)
    drawn = column_histogram(table, "words")
    assert drawn.missing == 1 and sum(drawn.counts) == 1
    assert column_histogram(table.slice(0, 1), "words") is None


def test_a_histogram_knows_where_its_threshold_lies(held):
    drawn = column_histogram(held.columns, "words")
    assert sum(drawn.counts) == 88 and drawn.whole
    assert [drawn.place(drawn.edges[n]) for n in (0, -1)] == [0.0, 1.0]
    places = [drawn.place(value) for value in np.linspace(-5, 100, 60)]
    assert places == sorted(places)
    low, high = limits(RULE, held.columns.column_names)
    assert (low.column, low.number, low.above) == ("words", 20.0, True)
    assert (high.number, high.above) == (60.0, False)
    assert limits(Rule({"odd": "words = 3"}), ["words"]) == []


def test_nothing_moved_nothing_changes(held):
    found = what_if(held, {})
    assert not found.changed and found.rule == RULE and found.moved == ()
    assert found.kept == found.kept_before == int(held.kept.sum())
    assert not what_if(held, {"long enough": 20}).changed


def test_a_moved_threshold_changes_counts_and_who_stands_for_a_family(corpus, held):
    # Of 20 and 21 words the longer stands for both; from 22 on neither passes, up to 20 both do.
    found = what_if(held, {"long enough": 31}, examples=3)
    assert found.rule.conditions["long enough"] == "words >= 31" and found.moved == ("long enough",)
    assert (found.kept_before, found.kept) == (40, 30)
    assert found.newly_kept.total == 0 and found.newly_dropped.total == 10
    near = [(turned.value, turned.now.reasons) for turned in found.newly_dropped.nearest]
    assert near == [(29.0, ("long enough",)), (28.0, ("long enough",)), (27.0, ("long enough",))]
    # The family of 30 words stays, for its longer one still passes; that of 20 has nobody now.
    (gone,) = found.successions.largest
    assert gone.now == "" and held.values(held.row(gone.before))["words"] == 21
    # With at most 30 words the shorter one of 30 and 31 stands for both.
    found = what_if(held, {"not too long": 31})
    other = next(one for one in found.successions.largest if one.now)
    assert [held.values(held.row(id))["words"] for id in (other.before, other.now)] == [31, 30]
    assert [turned.value for turned in found.newly_kept.nearest] == [30.0]
    assert [(one.name, one.failed, one.failed_before) for one in found.conditions] == [
        ("long enough", 20, 20), ("not too long", 56, 24), ("duplicate", 1, 4),
    ]  # fmt: skip
    assert {(entry.value, entry.met) for entry in found.near} >= {(30.0, True), (31.0, False)}
    # Nothing was written: the corpus still has its rule.
    assert snapshot(corpus).rule == RULE


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 9)),
            st.integers(0, 3),
            st.one_of(st.none(), st.sampled_from("abc")),
        ),
        min_size=1, max_size=25,
    ),
    st.integers(0, 10), st.integers(0, 10),
)  # fmt: skip
def test_what_if_is_what_the_moved_rule_decides(rows, before, now):
    ids = [f"{number:02}" for number in range(len(rows))]
    table = pa.table(
        {
            "id": ids, "source": ids, "position": [0] * len(rows),
            "words": pa.array([row[0] for row in rows], pa.int64()),
            "bytes": [row[1] for row in rows],
            "cluster": pa.array([row[2] for row in rows], pa.string()),
            "cluster_size": [2] * len(rows),
        }
    )  # fmt: skip
    rule = Rule({"words": f"words >= {before}"})
    held = Snapshot(table, rule, decide(table, rule), (), {id: n for n, id in enumerate(ids)})
    found = what_if(held, {"words": now}, examples=99)
    after = decide(table, Rule({"words": f"words >= {now}"}))
    assert found.decisions.equals(after)
    sides = {False: set(), True: set()}
    stands = [{}, {}]
    for id, row, was, will in zip(ids, rows, held.decisions["kept"].to_pylist(),
                                  after["kept"].to_pylist()):  # fmt: skip
        if was != will:
            sides[will].add(id)
        for kept, side in ((was, stands[0]), (will, stands[1])):
            if kept and row[2]:
                side[row[2]] = id
    assert {turned.now.id for turned in found.newly_kept.nearest} == sides[True]
    assert {turned.now.id for turned in found.newly_dropped.nearest} == sides[False]
    expected = {
        (name, stands[0].get(name, ""), stands[1].get(name, ""))
        for name in "abc"
        if stands[0].get(name) != stands[1].get(name)
    }
    assert {(one.cluster, one.before, one.now) for one in found.successions.largest} == expected


def test_thresholds_are_moved_as_numbers_only(held):
    names = ["words", "share of x", "a"]
    rule = Rule({"a": '0.5 < "share of x"', "b": "words = 3"})
    moved = moved_rule(rule, {"a": -0.25}, names)
    assert moved.conditions == {"a": '"share of x" > -0.25', "b": "words = 3"}
    assert moved_rule(moved, {"a": 3.0}, names).conditions["a"] == '"share of x" > 3'
    with pytest.raises(UsageError, match="does not compare one column"):
        moved_rule(rule, {"b": 4}, names)
    with pytest.raises(UsageError, match="no condition 'c'"):
        moved_rule(rule, {"c": 4}, names)
    for number in (float("nan"), float("inf")):
        with pytest.raises(UsageError, match="finite"):
            moved_rule(rule, {"a": number}, names)
    with pytest.raises(UsageError, match="no rule"):
        what_if(Snapshot(held.columns, None, None), {"long enough": 3})


def test_the_command_that_is_shown_decides_the_same(tmp_path, corpus, held):
    import shutil

    from tilth.cli.main import run

    copy = tmp_path / "a corpus; it's odd"
    shutil.copytree(corpus.folder, copy)
    found = what_if(held, {"long enough": 31, "not too long": 50.5})
    words = shlex.split(select_command(str(copy), found.rule))
    assert words[0] == "tilth" and run(words[1:]) == 0
    after = snapshot(Corpus(copy))
    assert after.rule == found.rule and after.decisions.equals(found.decisions)
    # Names that the command line would not take for names are left out.
    odd = Rule({"words >= 3": "words >= 5", "with: colon": "words < 9"})
    assert shlex.split(select_command("c", odd))[5:8:2] == ["words >= 5", "words < 9"]


def test_a_reader_holds_what_was_read(corpus, monkeypatch):
    from tilth.corpus import reader

    reads = []
    read_group = reader.read_group
    monkeypatch.setattr(
        reader, "read_group", lambda *given: reads.append(given) or read_group(*given)
    )
    ids = corpus.columns().column("id").to_pylist()
    made = Reader(corpus)
    assert made.get_many(ids[:3]) == corpus.get_many(ids[:3])
    before = len(reads)
    assert made.get(ids[0]).id == ids[0] and made.get("0" * 32) is None
    assert len(reads) == before and len(made) == len(ids)
    small = Reader(corpus, held=9000)
    for id in ids:
        assert small.get(id).id == id
    assert small._bytes <= 9000 and 0 < len(small._known) < 10
