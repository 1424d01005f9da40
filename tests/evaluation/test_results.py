"""Results read back, the board, pages and plots: the same bytes for the same results."""

import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tilth.errors import DamagedError, UsageError
from tilth.evaluation.card import Claim
from tilth.evaluation.documentation import own_command, page, write_docs
from tilth.evaluation.plot import intervals_svg
from tilth.evaluation.results import board, interval, number, read_result, read_results
from tilth.evaluation.runner import run_system, write_result

sys.path.insert(0, str(Path(__file__).parent))
from made_systems import claim, make


@pytest.fixture
def measured(tmp_path):
    system = make(claim(), claim("equal", primary=False), claim("broken", primary=False))
    write_result(run_system(system), tmp_path)
    return system, tmp_path


def test_results_come_back_as_they_were_written(measured):
    _, folder = measured
    found = read_results(folder)
    assert list(found) == ["made"] and found["made"]["verdict"] == "holds"
    assert read_results(folder / "nowhere") == {}


@pytest.mark.parametrize(
    "change", [{"scale": "smoke"}, {"slug": "other"}, {"extra": 1}, {"claims": None}]
)
def test_what_is_no_result_is_refused(measured, change):
    _, folder = measured
    path = folder / "made.json"
    value = json.loads(path.read_text()) | change
    if change == {"claims": None}:
        del value["claims"]
    path.write_text(json.dumps(value))
    with pytest.raises(DamagedError):
        read_result(path)


def test_the_board_marks_what_is_stale(measured):
    system, folder = measured
    results = read_results(folder)
    (row,) = board(results, lambda slug: system)
    assert row["state"] == "current" and row["family"] == "tests"
    assert row["licences"] == ["not stated"] and row["data"] == ["made"]
    results["made"]["code"] = "0" * 32
    (row,) = board(results, lambda slug: system)
    assert row["state"] == "stale"

    def gone(slug):
        raise UsageError("no system is called 'made'")

    (row,) = board(results, gone)
    assert "no system" in row["state"] and row["verdict"] == "holds"


def test_pages_say_what_was_measured_and_nothing_else(measured):
    system, folder = measured
    docs = folder / "docs"
    other = make(slug="later", data_kind="corpus", model_kind="causal")
    written = write_docs(folder, docs, {"made": system, "later": other})
    names = [path.relative_to(docs).as_posix() for path in written]
    assert names == ["board.md", "systems/later.md", "systems/made.md", "systems/made.svg"]
    text = (docs / "systems" / "made.md").read_text()
    assert "## Measured: holds" in text and "(made.svg)" in text
    assert "undecided: a value is not a finite number" in text
    assert "made (not stated; aaaa" in text and "tilth run made" in text
    assert "Not measured yet" in (docs / "systems" / "later.md").read_text()
    assert own_command(other.CARD) == "tilth run later --data MY-DATA --model MY-MODEL"
    assert "| [made](systems/made.md) | tests | holds |" in (docs / "board.md").read_text()
    first = {path: path.read_bytes() for path in written}
    write_docs(folder, docs, {"later": other, "made": system})
    assert {path: path.read_bytes() for path in written} == first
    assert not any(str(folder).encode() in data for data in first.values())


def test_a_stale_page_says_so(measured):
    system, folder = measured
    result = read_result(folder / "made.json")
    assert "**Stale**" not in page(system, result)
    assert "**Stale**" in page(system, result | {"code": "0" * 32})


def test_plots_are_the_same_bytes_and_show_every_claim(measured):
    _, folder = measured
    result = read_result(folder / "made.json")
    svg = intervals_svg(result)
    assert svg == intervals_svg(result)
    text = " ".join(ElementTree.fromstring(svg).itertext())
    for one in result["claims"]:
        assert f"{one['method']} against plain — {one['verdict']}" in text
    assert "date" not in text.lower()


def test_figures_for_people():
    assert number(None) == "none" and number(0.123456) == "0.1235"
    assert interval({"ci_low": None, "ci_high": None}) == "none"
    assert interval({"ci_low": -0.5, "ci_high": 2.0}) == "[-0.5, 2]"


@pytest.mark.parametrize(
    "fields, sentence",
    [
        ({"unit": "points"}, "b is higher by more than 0.1 points"),
        ({"margin": 0.0, "direction": -1}, "b is lower"),
        ({"margin": -0.1}, "b is worse by less than 0.1"),
        ({"margin": 0.5, "relative": True}, "b is higher by more than a factor of 1.5"),
    ],
)
def test_a_claim_in_one_line(fields, sentence):
    given = {"metric": "b", "method": "m", "baseline": "n", "margin": 0.1, "kind": "counted"}
    assert Claim(**{**given, **fields}).sentence() == f"m against n: {sentence}"
