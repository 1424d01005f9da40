"""`tilth papers`: the examples of its help texts, lists, mistakes, a machine without a network."""

import functools
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tilth.cli import papers
from tilth.cli.main import run
from tilth.papers import importing
from tilth.papers.builtin import open_library
from tilth.papers.measured import VERDICTS
from tilth.report.papers import read_cards

ROOT = Path(__file__).parents[2]
COMMANDS = ("import", "search", "show", "new", "trending", "vote")
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>http://arxiv.org/abs/2401.00001v1</id>
<title>Zymurgy of quaggas</title><summary>They brew.</summary></entry></feed>"""
FILES = {
    "references.bib": "@misc{a, title = {Zymurgy}, year = 2020}\n@misc{b, title = {}}\n",
    "papers.jsonl": '{"title": "Quaggas", "abstract": "They brew."}\n',
    "feed.xml": ATOM,
    "saved-page.html": '<!doctype html><html><div data-props=\'{"paper": {"id": "x", '
    '"title": "Brewing", "authors": [{"name": "A"}]}}\'></div></html>',
}

PROGRAM = """
from tilth.cli.main import run
code = run(sys.argv[1:])
loaded = [name for name in ("torch", "transformers", "pyarrow", "duckdb") if name in sys.modules]
print(loaded, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


# The sources do not change meanwhile.
read_once = functools.cache(read_cards)


@pytest.fixture(autouse=True)
def place(tmp_path, home, monkeypatch):
    """A library of this test's own, beside the results of the repository."""
    monkeypatch.setenv("TILTH_LIBRARY", str(tmp_path / "papers.sqlite"))
    monkeypatch.setenv("TILTH_HOME", str(home))
    monkeypatch.setattr("tilth.report.papers.read_cards", read_once)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "results", tmp_path / "results")
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)


def out_of(capsys, *words):
    code = run(["papers", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def told(capsys, *words):
    code, out, error = out_of(capsys, *words, "--json")
    assert code == 0, error
    return json.loads(out)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_every_help_text_run(capsys, monkeypatch, name):
    asked = []
    monkeypatch.setattr(
        importing, "fetched", lambda address: asked.append(address) or ATOM.encode()
    )
    code, text, _ = out_of(capsys, name, "--help")
    examples = re.findall(r"^ *(tilth .*)$", text[text.index("Examples:") :], re.MULTILINE)
    assert code == 0 and len(examples) >= 2
    for example in examples:
        words = shlex.split(example)
        assert words[:3] == ["tilth", "papers", name]
        code, out, error = out_of(capsys, *words[2:])
        assert code == 0 and out, (example, error)
        if "--json" in words:
            assert json.loads(out)
    if name == "import":
        assert asked == [f"{importing.API}2308.16369"]


def test_an_import_tells_counts_and_reasons_and_goes_on_behind_a_bad_file(capsys):
    code, out, error = out_of(capsys, "import", "nowhere.bib", "references.bib", "papers.jsonl")
    assert code == 1 and "1 of 3 were not imported" in error and "nowhere.bib" in error
    assert "references.bib: 1 added" in out and "line 2: has no title" in out
    assert "papers.jsonl: 1 added" in out
    again = told(capsys, "import", "references.bib")
    assert again["imported"][0] | {"source": ""} == {
        "source": "", "added": 0, "merged": 0, "known": 1, "bad": 1,
        "reasons": [{"where": "line 2", "reason": "has no title"}],
    }  # fmt: skip


def test_an_abstract_is_shown_only_from_the_users_own_library(capsys):
    title = open_library().paper("spgc").title
    assert "Abstract" not in out_of(capsys, "show", "spgc")[1]
    Path("own.jsonl").write_text(json.dumps({"title": title.upper(), "abstract": "My own copy."}))
    told(capsys, "import", "own.jsonl")
    _, out, _ = out_of(capsys, "show", "spgc")
    assert "Abstract (from your library, jsonl own.jsonl):\nMy own copy." in out
    assert told(capsys, "show", "spgc")["paper"]["abstract"] == "My own copy."


def test_a_paper_with_a_system_has_claim_and_verdict_and_others_offer_no_run(capsys):
    shown = told(capsys, "show", "spgc")["paper"]
    result = json.loads(Path("results/spgc.json").read_text())
    assert shown["verdict"] == result["verdict"] == shown["measured"]["verdict"]
    assert shown["measured"]["command"] == "tilth run spgc" and shown["measured"]["claim"]
    _, out, _ = out_of(capsys, "show", "spgc")
    assert "paper's figure not quoted" in out and "tilth run spgc" in out and "interval [" in out
    told(capsys, "import", "papers.jsonl")
    (hit,) = told(capsys, "search", "Quaggas", "-k", "1", "--with", "words")["hits"]
    _, out, _ = out_of(capsys, "show", hit["id"])
    assert "not built yet" in out and "tilth run" not in out
    Path("results/spgc.json").unlink()
    assert told(capsys, "show", "spgc")["paper"]["verdict"] == "not measured yet"


def test_lists_are_by_day_family_and_verdict(capsys):
    page = told(capsys, "new", "--limit", "3")
    assert len(page["papers"]) == 3 and page["total"] == open_library().count()
    assert page["previous"] is None and "abstract" not in page["papers"][0]
    assert told(capsys, "new", "--day", "2020-01-01")["next"] == page["day"]
    corpus = told(capsys, "new", "--family", "corpus")["papers"]
    assert corpus and {paper["family"] for paper in corpus} == {"corpus"}
    counts = 0
    for verdict in VERDICTS:
        found = told(capsys, "new", "--verdict", verdict, "--limit", "1000")
        assert {paper["verdict"] for paper in found["papers"]} <= {verdict}
        counts += found["total"]
    assert counts == open_library().count()
    _, out, _ = out_of(capsys, "new", "--day", "2020-01-01")
    assert f"next: tilth papers new --day {page['day']}" in out


def test_a_vote_lifts_a_paper_once(capsys):
    for _ in range(2):
        assert told(capsys, "vote", "min-k")["votes"] == 1
    scores = {paper["id"]: paper["score"] for paper in told(capsys, "trending")["papers"]}
    assert scores["min-k"] >= 2
    assert told(capsys, "vote", "min-k", "--back")["votes"] == 0


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["show", "spgcc"], 2, "did you mean 'spgc'"),
        (["vote", "spgcc"], 2, "did you mean 'spgc'"),
        (["search", " "], 2, "the query is empty"),
        (["search", "x", "--with", "word"], 2, "did you mean 'words'"),
        (["search", "x", "--encoder", "/nowhere"], 1, "no such folder"),
        (["new", "--day", "today"], 2, "is no day"),
        (["new", "--verdict", "hold"], 2, "did you mean 'holds'"),
        (["new", "--verdict", "holds", "--day", "2026-01-01"], 2, "at a time"),
        (["import", "nowhere.bib"], 1, "nowhere.bib"),
        (["import", "papers.jsonl", "--format", "bibtx"], 2, "did you mean 'bibtex'"),
        (["new", "--library", "references.bib"], 1, "no library of papers"),
    ],
)
def test_mistakes_end_in_one_line_and_the_right_code(capsys, words, code, says):
    found, _, error = out_of(capsys, *words)
    assert found == code
    assert says in error and len(error.strip().splitlines()) == 1


def test_a_bare_machine_searches_the_built_in_papers_offline(offline, tmp_path):
    query = "a corpus of old books that anybody can build again"
    words = ["papers", "search", query, "-k", "3", "--json"]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "nobody")}
    done = offline(PROGRAM, *words, env=bare)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "spgc" in [hit["id"] for hit in json.loads(done.stdout)["hits"]]
    assert done.stderr.splitlines()[-1] == "[]"
    assert (tmp_path / "nobody" / ".local" / "share" / "tilth" / "papers.sqlite").is_file()


def test_the_commands_of_the_digest_are_there():
    names = {one.name or one.callback.__name__ for one in papers.command.registered_commands}
    assert names == {*COMMANDS, "subscribe", "digest"}
