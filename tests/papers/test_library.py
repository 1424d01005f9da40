"""The library: one file, one paper a title, votes that count once, and what it refuses."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from tilth.errors import DamagedError, DataError, LockedError, UsageError
from tilth.papers import builtin, library, tables
from tilth.papers.builtin import builtin_papers, builtin_text, open_library
from tilth.papers.library import Library
from tilth.papers.measured import NOT_BUILT, Measured
from tilth.papers.paper import id_of, made_paper, title_key

MONDAY = datetime(2026, 5, 4, 12, tzinfo=UTC)
TUESDAY = datetime(2026, 5, 5, 12, tzinfo=UTC)
BUILT_IN = '{{"slug":"{}","title":"{}","year":null,"family":"corpus","summary":"Ours."}}\n'


@pytest.fixture
def empty(tmp_path):
    return Library(tmp_path / "papers.sqlite")


def paper(title, **more):
    return made_paper(title, source="a test", **more)


def brought(*pairs):
    return builtin_papers("".join(BUILT_IN.format(slug, title) for slug, title in pairs))


def test_the_file_is_its_owners_alone_and_lies_where_it_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("TILTH_LIBRARY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    made = Library(library.default_library())
    assert made.path == tmp_path / "tilth" / "papers.sqlite"
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o600
    monkeypatch.setenv("TILTH_LIBRARY", str(tmp_path / "other"))
    assert library.default_library() == tmp_path / "other"


def test_papers_come_back_as_they_were_given(empty):
    given = paper("On Tilth", authors=["A. Bee", "C. Dee"], year=2024, abstract="Soil.\n\nMore.",
                  summary="Short.", address="https://example.org/x", family="corpus")  # fmt: skip
    assert empty.add([given], MONDAY) == (1, 0, 0)
    (found,) = empty.papers()
    assert found.id == id_of("On Tilth") and found.day == "2026-05-04"
    for name in ("title", "authors", "year", "abstract", "summary", "address", "family", "source"):
        assert getattr(found, name) == getattr(given, name)
    assert empty.paper(found.id) == found
    texts = ("On Tilth", "A. Bee, C. Dee", "Short.", "Soil.\n\nMore.")
    assert empty.texts() == {found.id: texts}


def test_one_title_is_one_paper_and_what_it_lacks_is_filled(empty):
    assert empty.add([paper("Well-Read Students: a study")]) == (1, 0, 0)
    before = empty.revision
    assert empty.add([paper("well read students -- A STUDY", abstract="New.")]) == (0, 1, 0)
    assert empty.revision == before + 1
    assert empty.add([paper("Well-Read Students: a study", abstract="Other.")]) == (0, 0, 1)
    assert empty.revision == before + 1
    (found,) = empty.papers()
    assert found.abstract == "New." and found.title == "Well-Read Students: a study"


@pytest.mark.parametrize("first", ["import", "bring"])
def test_an_imported_paper_and_the_built_in_one_become_one(empty, first):
    imported = paper("A Standard Corpus", abstract="Theirs.", authors=["A. Bee"])
    ours = brought(("spgc", "A standard corpus"))
    for step in (first, {"import": "bring", "bring": "import"}[first]):
        if step == "import":
            empty.add([imported], MONDAY)
            empty.vote(empty.papers()[0].id, "somebody")
        else:
            assert empty.bring(ours, "1")
    (found,) = empty.papers()
    assert (found.id, found.built_in, found.votes) == ("spgc", True, 1)
    assert (found.title, found.summary) == ("A standard corpus", "Ours.")
    assert (found.abstract, found.authors, found.source) == ("Theirs.", ("A. Bee",), "a test")


def test_a_slug_is_believed_only_where_tilth_brings_it(empty):
    empty.bring(brought(("spgc", "A standard corpus")), "1")
    empty.add([paper("Another spelling", id="spgc", abstract="Theirs.")])
    empty.add([paper("Something else", id="free")])
    assert {p.id for p in empty.papers()} == {id_of("Something else"), "spgc"}
    assert empty.paper("spgc").abstract == "Theirs."


def test_two_rows_that_turn_out_to_be_one_paper_share_their_votes(empty):
    empty.bring(brought(("spgc", "An old title")), "1")
    empty.add([paper("A new title", abstract="Theirs.")], MONDAY)
    empty.vote("spgc", "one")
    empty.vote(id_of("A new title"), "one")
    empty.vote(id_of("A new title"), "two")
    empty.bring(brought(("spgc", "A new title")), "2")
    (found,) = empty.papers()
    assert (found.id, found.votes, found.abstract) == ("spgc", 2, "Theirs.")


def test_what_is_no_more_brought_goes_unless_somebody_has_it(empty):
    empty.bring(brought(("a", "Aaa"), ("b", "Bbb"), ("c", "Ccc")), "1")
    empty.vote("b", "one")
    empty.add([paper("Ccc")])
    assert not empty.bring(brought(("a", "Aaa")), "1")
    assert empty.bring([], "2")
    assert {p.id: p.built_in for p in empty.papers()} == {"b": False, "c": False}


def test_a_vote_counts_once_a_visitor_and_can_be_taken_back(empty):
    empty.add([paper("On Tilth")])
    id = id_of("On Tilth")
    assert [empty.vote(id, visitor) for visitor in ("a", "a", "b")] == [1, 1, 2]
    assert empty.voted(id, "a") and not empty.voted(id, "c")
    assert empty.withdraw(id, "a") == 1 and empty.withdraw(id, "a") == 1
    assert not empty.voted(id, "a")
    with pytest.raises(UsageError, match="needs a visitor"):
        empty.vote(id, "")
    with pytest.raises(UsageError, match="no paper has the id"):
        empty.vote("elsewhere", "a")
    assert empty.vote(id, "a telling name") == 2
    stored = [path.read_bytes() for path in empty.path.parent.iterdir()]
    assert any(id.encode() in data for data in stored)
    assert not any(b"a telling name" in data for data in stored)


def test_filters_narrow_and_count_alike(empty):
    empty.bring(brought(("a", "Counting words"), ("b", "Counting pages")), "1", MONDAY)
    empty.add([paper("Serving 100% of _words_", authors=["Ève Ö"], family="serving")], TUESDAY)
    measured = {
        slug: Measured(slug=slug, family="", claim="", part="", command="", verdict=verdict)
        for slug, verdict in (("a", "holds"), ("gone", "holds"))
    }

    def ids(**choice):
        found = [p.id for p in empty.papers(**choice)]
        assert empty.count(**choice) == len(found)
        return found

    third = id_of("Serving 100% of _words_")
    assert ids() == [third, "b", "a"]  # The newest, then by title.
    assert ids(family="serving") == [third] and ids(family="none") == []
    assert ids(text="WORDS counting") == ["a"] and ids(text="100%") == [third]
    assert ids(text="ève") == [third] and ids(text="_") == [third]
    assert ids(day="2026-05-05") == [third] and ids(day="2026-05-06") == []
    assert ids(verdict="holds", measured=measured) == ["a"]
    assert set(ids(verdict=NOT_BUILT, measured=measured)) == {"b", third}
    assert ids(verdict="undecided", measured=measured) == []
    assert empty.families() == {"corpus": 2, "serving": 1}
    assert empty.papers(limit=1, offset=1)[0].id in ("a", "b")
    with pytest.raises(UsageError, match="did you mean 'holds'"):
        empty.papers(verdict="hold", measured=measured)
    with pytest.raises(UsageError, match="did you mean 'trending'"):
        empty.papers(order="trendng")


def test_days_know_their_neighbours(empty):
    assert empty.near("2026-05-04") == (None, None)
    empty.add([paper("One")], MONDAY)
    empty.add([paper("Two", family="serving")], TUESDAY)
    assert empty.near("2026-05-04") == (None, "2026-05-05")
    assert empty.near("2026-05-05") == ("2026-05-04", None)
    assert empty.near("2027-01-01") == ("2026-05-05", None)
    assert empty.near("2027-01-01", family="none") == (None, None)


def test_threads_and_a_second_library_write_to_one_file(empty):
    empty.add([paper("On Tilth")])
    id, others = id_of("On Tilth"), [empty, Library(empty.path)]

    def work(number):
        for n in range(5):
            others[number % 2].vote(id, f"{number} {n}")
            others[number % 2].add([paper(f"Paper {number} {n}")])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert empty.paper(id).votes == 30 and empty.count() == 31
    assert len(empty._idle) <= library.IDLE


def test_an_import_is_all_or_nothing(empty):
    def broken():
        yield paper("First")
        raise OSError("the disk went away")

    with pytest.raises(OSError):
        empty.add(broken())
    assert empty.count() == 0 and empty.add([paper("First")]) == (1, 0, 0)


def test_a_file_that_is_none_of_ours_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "text").write_text("not a database at all, but long enough " * 50)
    with pytest.raises(DamagedError, match="no library of papers"):
        Library(tmp_path / "text")
    made = Library(tmp_path / "new").connection()
    made.execute(f"PRAGMA user_version = {len(tables.MIGRATIONS) + 1}")
    made.close()
    with pytest.raises(DataError, match="newer version"):
        Library(tmp_path / "new")
    with pytest.raises(DataError, match="cannot be opened"):
        Library(tmp_path)
    busy = Library(tmp_path / "busy")
    busy.close()
    monkeypatch.setattr(library, "BUSY", 0.05)
    holder = sqlite3.connect(tmp_path / "busy", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError, match="another process"):
        busy.add([paper("x")])
    holder.close()
    assert busy.add([paper("x")]) == (1, 0, 0)


@pytest.mark.parametrize(
    "line, says",
    [
        ("{", "line 1: is no JSON"),
        ('{"slug": "a"}', "line 1: has not the keys"),
        (BUILT_IN.format("A/b", "T"), "slug 'A/b' is none"),
        (BUILT_IN.format("a", "T") * 2, "line 2: the slug 'a'"),
        (BUILT_IN.format("a", "--"), "has no title"),
    ],
)
def test_a_bad_line_of_the_built_in_ones_is_named(line, says):
    with pytest.raises(DamagedError, match=says):
        builtin_papers(line)


def test_the_built_in_papers_are_in_order_and_the_user_gets_them(tmp_path):
    papers = builtin_papers(builtin_text())
    assert len({title_key(p.title) for p in papers}) == len(papers)
    assert all(p.family and p.summary and not p.abstract for p in papers)
    made = open_library(tmp_path / "papers.sqlite")
    assert made.count() == len(papers) and all(p.built_in for p in made.papers(limit=500))
    again = open_library(tmp_path / "papers.sqlite")
    assert again.revision == made.revision


def test_an_installation_without_the_file_works(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "FILE", "nowhere.jsonl")
    assert open_library(tmp_path / "papers.sqlite").papers() == []


def test_a_library_loads_nothing_heavy(tmp_path):
    program = (
        "import sys; from tilth.papers.builtin import open_library; from tilth.papers import feed\n"
        f"feed.day_page(open_library({str(tmp_path / 'p')!r}))\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'duckdb', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
