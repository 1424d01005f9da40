"""Search: 50 questions in other words, filters, what changes an index, and what is kept of it."""

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tilth.errors import DataError, UsageError
from tilth.papers import search as module
from tilth.papers.builtin import open_library
from tilth.papers.importing import import_papers
from tilth.papers.library import Library
from tilth.papers.measured import Measured
from tilth.papers.paper import id_of, made_paper
from tilth.papers.search import WAYS, Search, search
from tilth.retrieval.encoders import latent
from tilth.retrieval.encoders.hashed import Hashed

ROOT = Path(__file__).parents[2]
GOAL = 45

spec = importlib.util.spec_from_file_location("papers_search", ROOT / "benchmarks/papers_search.py")
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def shared_cache(home, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(home))


@pytest.fixture
def made(tmp_path):
    return open_library(tmp_path / "papers.sqlite")


@pytest.mark.parametrize("state", ["built in", "abstracts"])
def test_both_ways_together_find_at_least_what_words_find(made, capsys, state):
    if state == "abstracts":
        if not benchmark.TEXTS.is_file():
            pytest.skip("../shared/papers.jsonl is not here")
        import_papers(made, benchmark.TEXTS)
    values = benchmark.found_by(made)
    told = benchmark.verdict(values)
    with capsys.disabled():
        shares = ", ".join(f"{how} {values[how].mean():.2f}" for how in WAYS)
        print(f"\nrecall@5 of 50 questions, {state}: {shares}; best alone: {told['best']}")
    assert len(values["both"]) == 50
    assert values["both"].sum() >= values["words"].sum()
    assert values["both"].sum() >= GOAL


def test_answers_are_papers_of_the_choice_in_order(made):
    found = search(made, "language model serving with long prompts", 8)
    assert [hit.rank for hit in found] == list(range(1, 9))
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    family = found[0].paper.family
    some = search(made, "language model serving with long prompts", 8, family=family)
    assert some and {hit.paper.family for hit in some} == {family}
    measured = {found[3].paper.id: Measured(slug=found[3].paper.id, family="", claim="", part="",
                                            command="", verdict="holds")}  # fmt: skip
    only = search(made, "language model", 5, verdict="holds", measured=measured)
    assert [hit.paper.id for hit in only] == [found[3].paper.id]


@pytest.mark.parametrize("how", WAYS)
def test_an_import_is_found_at_once(made, how):
    kept = Search(made)
    question = "zymurgical quaggas of Tilthonia"
    assert not any("Quaggas" in hit.paper.title for hit in kept(question, 5, how))
    made.add([made_paper("Zymurgy and Quaggas in Tilthonia", authors=["Ann Bee"])])
    assert kept(question, 5, how)[0].paper.title == "Zymurgy and Quaggas in Tilthonia"
    made.vote(id_of("Zymurgy and Quaggas in Tilthonia"), "somebody")
    assert kept(question, 1, how)[0].paper.votes == 1


def test_authors_are_found_by_words(made):
    made.add([made_paper("Zymurgy", authors=["Ann Beeling"])])
    assert search(made, "beeling", 1, how="words")[0].paper.title == "Zymurgy"


def test_what_was_made_is_taken_from_the_cache_and_old_states_go(made, monkeypatch, tmp_path):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "KEPT", 1)
    fits = []
    real = latent.fit
    monkeypatch.setattr(latent, "fit", lambda *given: fits.append(1) or real(*given))
    first = search(made, "contaminated tests", 3, how="meaning")
    assert search(made, "contaminated tests", 3, how="meaning") == first and fits == [1]
    (folder,) = [one for one in module._cached("x").parent.iterdir() if one.is_dir()]
    (folder / "manifest.json").unlink()
    assert search(made, "contaminated tests", 3, how="meaning") == first and fits == [1, 1]
    for number in range(2):
        made.add([made_paper(f"Paper {number}")])
        search(made, "contaminated tests", 3, how="meaning")
    left = [one for one in folder.parent.iterdir() if one.is_dir()]
    assert len(left) == 2 and folder not in left


def test_a_cache_that_cannot_be_written_costs_only_time(made, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "file"))
    assert search(made, "contaminated tests", 1, how="meaning")


def test_another_encoder_is_taken_from_its_folder_or_as_it_is(made, tmp_path):
    encoder = Hashed(dimensions=64)
    encoder.save(tmp_path / "encoder")
    given = search(made, "contaminated tests", 3, encoder, "meaning")
    assert given == search(made, "contaminated tests", 3, str(tmp_path / "encoder"), "meaning")
    assert given != search(made, "contaminated tests", 3, how="meaning")
    with pytest.raises(DataError, match="no such folder"):
        search(made, "contaminated tests", 3, str(tmp_path / "nowhere"), "both")


def test_a_library_of_few_papers_is_searched_by_words(tmp_path):
    few = Library(tmp_path / "few.sqlite")
    assert search(few, "anything") == []
    few.add([made_paper("Zymurgy")])
    assert [hit.paper.title for hit in search(few, "zymurgy")] == ["Zymurgy"]
    with pytest.raises(DataError, match="too few"):
        search(few, "zymurgy", how="meaning")


@pytest.mark.parametrize(
    "query, how, says",
    [
        (" \n", "both", "the query is empty"),
        ("x" * 2001, "both", "2,000 are most"),
        ("x", "meanin", "did you mean 'meaning'"),
    ],
)
def test_what_cannot_be_asked_is_refused(made, query, how, says):
    with pytest.raises(UsageError, match=says):
        search(made, query, how=how)


def test_odd_queries_are_answered(made):
    for query in ("?", "\ud800", "' OR 1=1 --", "\x00", "深度学习", "a" * 2000):
        for how in WAYS:
            assert isinstance(search(made, query, 3, how=how), list)


def test_threads_search_while_papers_come_in(made):
    kept, failures = Search(made), []

    def work(number):
        try:
            for n in range(4):
                if number == 0:
                    made.add([made_paper(f"Zymurgy {n}")])
                assert kept("zymurgy of language models", 3, WAYS[n % 3])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []


def test_a_bare_machine_searches_without_torch(tmp_path):
    program = (
        "import sys; from tilth.papers.builtin import open_library\n"
        "from tilth.papers.search import search\n"
        f"made = open_library({str(tmp_path / 'p')!r})\n"
        "[search(made, 'a query', how=how) for how in ('words', 'meaning', 'both')]\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
