"""Named sets: the table, where sets are looked for, and that they are what the name stands for."""

import json
from dataclasses import replace

import pytest

from tilth.data.named import SETS
from tilth.data.sets import SetPath, digest_path, expected, find_set, open_data, open_set
from tilth.data.task import KINDS as TASKS
from tilth.errors import DamagedError, DataError, UsageError
from tilth.store.cache import data_folders

KINDS = {"corpus", "files", *TASKS}


@pytest.mark.parametrize("name", sorted(SETS))
def test_every_line_says_where_it_comes_from(name):
    known = SETS[name]
    assert known.kind in KINDS and known.what and known.licence
    assert known.address.startswith("https://") and len(known.digest) == 32


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_set_that_is_here_opens(name):
    if not any((folder / (SETS[name].folder or name)).is_dir() for folder in data_folders()):
        pytest.skip(f"{name} is in none of the data folders")
    opened = open_set(name)
    assert opened.sources[0].name == name and opened.sources[0].licence == SETS[name].licence
    if SETS[name].kind == "corpus":
        assert next(iter(opened.documents())).text
    elif SETS[name].kind != "files":
        assert opened.kind == SETS[name].kind and opened.table.num_rows > 100
    if name == "ir_cranfield":
        gains = opened.table["gain"].to_pylist()
        assert {gain: gains.count(gain) for gain in (1, 2, 3, 4)} == {
            1: 363,
            2: 734,
            3: 387,
            4: 128,
        }
        assert [problem.detail for problem in opened.problems] == ["-1"] * 225


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A named set `tiny` made by the test, in $TILTH_DATA."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    (folder / "x.jsonl").write_text(json.dumps({"text": "t", "label": "1"}) + "\n")
    line = replace(SETS["glue_sst2"], digest=digest_path(folder))
    monkeypatch.setitem(SETS, "tiny", line)
    monkeypatch.setenv("TILTH_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_set_is_found_and_checked(here):
    task = open_set("tiny")
    assert task.labels == ["positive"] and task.name == "tiny"
    assert find_set("tiny").path == here
    (here / "x.jsonl").write_text("{}\n")
    with pytest.raises(DamagedError, match="is not the set that the name 'tiny' stands for"):
        open_set("tiny")


def test_a_set_that_is_nowhere_says_what_to_type(here):
    with pytest.raises(DataError, match="TILTH_DATA="):
        open_set("ir_med")
    with pytest.raises(UsageError, match="did you mean 'tiny'"):
        open_set("tinny")


def test_own_data_of_the_wrong_kind_is_refused_in_one_line(here, tmp_path):
    (tmp_path / "own.csv").write_text("body,class\nx,1\n")
    with pytest.raises(UsageError, match="columns text, label") as caught:
        open_data("own.csv", "classify")
    assert "has body, class" in str(caught.value) and "\n" not in str(caught.value)
    task = open_data("own.csv", "classify", {"text": "body", "label": "class"})
    assert task.labels == ["1"]
    with pytest.raises(UsageError, match="is a set of kind classify, not rank"):
        open_data("tiny", "rank")
    with pytest.raises(UsageError, match="queries"):
        open_data("own.csv", "rank")
    with pytest.raises(UsageError, match="neither a path nor a named set"):
        open_data("nothing.csv", "classify")
    assert open_data("tiny", "classify").digest == open_set("tiny").digest
    for kind in (*KINDS, "none", "pair"):
        assert expected(kind).startswith("it takes")


def test_documents_of_ones_own(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "a.txt").write_text("one letter")
    (folder / "b.txt").write_text("another")
    (folder / "c.txt").write_bytes(b"")
    given = open_data(str(folder), "corpus")
    problems = []
    assert isinstance(given, SetPath) and given.name == "letters"
    assert [document.text for document in given.documents(problems)] == ["one letter", "another"]
    assert [problem.reason for problem in problems] == ["empty"]
    (folder / "b.txt").write_text("changed")
    assert open_data(str(folder), "corpus").digest != given.digest


def test_a_corpus_that_tilth_made(tmp_path):
    from tilth.corpus.corpus import Corpus
    from tilth.corpus.rules import Rule
    from tilth.signals.length import Length

    (tmp_path / "a.txt").write_text("one letter of many words")
    (tmp_path / "b.txt").write_text("short")
    corpus = Corpus(tmp_path / "run" / "corpus")
    corpus.add([tmp_path / "a.txt", tmp_path / "b.txt"])
    given = open_data(str(tmp_path / "run"), "corpus")
    assert len(list(given.documents())) == 2
    corpus.measure([Length()])
    corpus.select(Rule({"long enough": "words >= 3"}))
    given = open_data(str(tmp_path / "run"), "corpus")
    assert [document.text for document in given.documents()] == ["one letter of many words"]
    assert given.digest == corpus.digest
