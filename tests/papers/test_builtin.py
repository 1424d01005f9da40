"""The built-in papers: complete, typed, of fair length, and in words of our own.

The abstracts are in no repository of ours. Where the file that holds them lies beside a data
folder, no run of six words of an abstract may stand in its summary.
"""

import json
import re
from importlib import resources

import pytest

from tilth.store.cache import data_folders

FIELDS = {"slug": str, "title": str, "year": (int, type(None)), "family": str, "summary": str}
FAMILIES = {"code", "corpus", "data", "pretrain", "retrieval", "serving", "tables-vision"}
RUN = 6  # words
# Dashes of the long kind, and white space that is not one blank.
ODD = re.compile("[\u2012-\u2015\t\n\r]|  |^ | $")


def builtin() -> list[dict]:
    text = resources.files("tilth.papers").joinpath("builtin.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def runs(text: str) -> set[tuple[str, ...]]:
    given = words(text)
    return {tuple(given[start : start + RUN]) for start in range(len(given) - RUN + 1)}


def test_there_are_98_with_slugs_and_titles_of_their_own():
    papers = builtin()
    assert len(papers) == 98
    for field in ("slug", "title", "summary"):
        assert len({paper[field] for paper in papers}) == 98, field


@pytest.mark.parametrize("paper", builtin(), ids=lambda paper: paper["slug"])
def test_fields_and_lengths(paper):
    assert list(paper) == list(FIELDS)
    for field, kind in FIELDS.items():
        assert isinstance(paper[field], kind) and not isinstance(paper[field], bool), field
        assert not (isinstance(paper[field], str) and ODD.search(paper[field])), field
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", paper["slug"])
    assert paper["family"] in FAMILIES
    assert paper["year"] is None or 2010 <= paper["year"] <= 2025
    assert 40 <= len(paper["summary"].split()) <= 70
    assert 2 <= len(re.findall(r"\.(?: |$)", paper["summary"])) <= 3, "sentences"
    assert paper["summary"][0].isupper() and paper["summary"].endswith(".")


def test_no_figure_is_quoted():
    """What is claimed is said in words; only the name of the illness has digits."""
    found = {p["slug"]: re.findall(r"\S*\d\S*|%", p["summary"]) for p in builtin()}
    assert {slug: f for slug, f in found.items() if f} == {"youtube-health": ["COVID-19"]}


def test_runs_are_found_across_case_and_punctuation():
    assert runs("One two, THREE four-five six seven.") == {
        ("one", "two", "three", "four", "five", "six"),
        ("two", "three", "four", "five", "six", "seven"),
    }
    assert runs("only five words are here") == set()


def test_no_summary_repeats_six_words_of_its_abstract():
    files = [folder.parent / "papers.jsonl" for folder in data_folders()]
    file = next((path for path in files if path.is_file()), None)
    if file is None:
        pytest.skip("no papers.jsonl beside a data folder of this machine")
    given = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    papers = builtin()
    assert [p["slug"] for p in papers] == [p["slug"] for p in given]
    assert [p["title"] for p in papers] == [p["title"] for p in given]
    repeated = {
        paper["slug"]: [" ".join(run) for run in runs(paper["summary"]) & runs(source["abstract"])]
        for paper, source in zip(papers, given)
    }
    assert {slug: found for slug, found in repeated.items() if found} == {}
