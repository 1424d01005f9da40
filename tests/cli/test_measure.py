"""`tilth run`, `show`, `systems`, `board`, `data`: what they print, write and refuse."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tilth import systems
from tilth.cli.main import run

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from made_systems import claim, make


@pytest.fixture
def tilth(tmp_path, monkeypatch, capsys):
    """Runs a command line in an empty folder, where the only system is a made one."""
    made = make(claim(), claim("equal", primary=False), data_kind="classify", model_kind="causal")
    other = make(slug="other", family="second")
    loaded = {"made": made, "other": other}
    monkeypatch.setattr(systems, "SYSTEMS", {"made": "x", "other": "x"})
    monkeypatch.setattr(systems, "load_system", lambda slug: _load(loaded, slug))
    monkeypatch.chdir(tmp_path)

    def call(*words):
        code = run(list(words))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    call.made = made
    return call


def _load(loaded, slug):
    from tilth.errors import UsageError

    if slug not in loaded:
        raise UsageError(f"no system is called {slug!r}")
    return loaded[slug]


def test_run_writes_a_result_that_board_and_show_read(tilth, tmp_path):
    code, out, _ = tilth("run", "made", "-q")
    assert code == 0 and "verdict: holds" in out and "micro scale" in out
    assert json.loads((tmp_path / "results" / "made.json").read_text())["verdict"] == "holds"
    code, out, _ = tilth("board")
    assert code == 0 and "made\ttests\tholds" in out and "not stated\tcurrent" in out
    code, out, _ = tilth("show", "made")
    assert "verdict: holds" in out and "tilth run made --data MY-DATA" in out
    tilth.made.CARD = replace(tilth.made.CARD, modules=("tilth.errors",))
    assert "stale" in tilth("board")[1] and "STALE" in tilth("show", "made")[1]
    assert json.loads(tilth("show", "made", "--json")[1])["stale"] is True


def test_smoke_leaves_nothing(tilth, tmp_path):
    code, out, _ = tilth("run", "made", "--scale", "smoke", "-q")
    assert code == 0 and "not judged" in out and "nothing is kept" in out
    assert list(tmp_path.iterdir()) == []


def test_json_is_the_result_itself(tilth, tmp_path):
    code, out, _ = tilth("run", "made", "--json", "-q", "--out", "here", "--set", "seeds=6")
    assert code == 0 and json.loads(out) == json.loads(
        (tmp_path / "here" / "made.json").read_text()
    )
    assert json.loads(out)["seeds"] == 6


def test_own_data_and_model(tilth, tmp_path):
    (tmp_path / "mine.csv").write_text("body,label\n" + "x,1\n" * 9)
    words = ("run", "made", "--data", "mine.csv", "-q")
    code, _, error = tilth(*words)
    assert code == 2 and "columns text, label" in error and len(error.splitlines()) == 1
    code, out, _ = tilth(*words, "--set", "data.text=body")
    assert code == 0 and "own-results/made.json" in out
    assert not (tmp_path / "results").exists()
    result = json.loads((tmp_path / "own-results" / "made.json").read_text())
    assert result["scale"] == "own" and "mine" in [one["name"] for one in result["data"]]
    (tmp_path / "model").mkdir()
    for config, expected in [
        (None, "holds no config.json"),
        ({"architectures": ["BertForMaskedLM"]}, "another kind: BertForMaskedLM"),
        ({}, "no architecture"),
        ({"architectures": ["LlamaForCausalLM"]}, ""),
    ]:
        if config is not None:
            (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        code, _, error = tilth("run", "made", "--model", "model", "-q")
        assert code == (2 if expected else 0) and expected in error


@pytest.mark.parametrize(
    "words, says",
    [
        (["run", "nobody"], "no system is called 'nobody'"),
        (["run", "made", "--scale", "smal"], "did you mean 'small'"),
        (["run", "made", "--scale", "own"], "needs --data or --model"),
        (["run", "made", "--scale", "small", "--model", "m"], "takes no data or model of yours"),
        (["run", "other", "--data", "x"], "takes no data"),
        (["run", "other", "--model", "x"], "takes no model"),
        (["run", "made", "--set", "seeds"], "is not name=value"),
        (["run", "made", "--set", "seeds=3", "--set", "seeds=4"], "given twice"),
        (["run", "made", "--set", "exampels=3"], "did you mean 'examples'"),
        (["run", "made", "--set", "data.text=x"], "need --data"),
        (["run", "made", "--data", "x", "--set", "data.txt=x"], "did you mean 'text'"),
        (["data", "ir_crnfield"], "did you mean 'ir_cranfield'"),
    ],
)
def test_mistakes_end_in_one_line(tilth, words, says):
    code, _, error = tilth(*words)
    assert code == 2 and says in error and len(error.splitlines()) == 1


def test_a_broken_invariant_ends_in_an_error(tilth):
    tilth.made.invariants = lambda inputs, measured: [("sound", False)]
    code, out, _ = tilth("run", "made", "-q")
    assert code == 1 and "BROKEN invariant: sound" in out and "verdict: undecided" in out


def test_systems_are_listed_and_searched(tilth):
    out = json.loads(tilth("systems", "--json")[1])
    assert [card["slug"] for card in out["systems"]] == ["other", "made"]
    out = json.loads(tilth("systems", "SECOND", "--json")[1])
    assert [card["slug"] for card in out["systems"]] == ["other"]
    assert "no system holds 'nothing'" in tilth("systems", "nothing")[1]


def test_the_board_by_family_and_in_files(tilth, tmp_path):
    assert "no result in results" in tilth("board")[1]
    tilth("run", "made", "-q")
    tilth("run", "other", "-q")
    rows = json.loads(tilth("board", "--family", "second", "--json")[1])["rows"]
    assert [row["slug"] for row in rows] == ["other"]
    code, _, error = tilth("board", "--family", "secnd")
    assert code == 2 and "did you mean 'second'" in error
    code, out, _ = tilth("board", "--write", "docs")
    assert code == 0 and "5 files written below docs" in out
    assert (tmp_path / "docs" / "systems" / "made.svg").is_file()


def test_data_sets_are_listed(tilth):
    sets = json.loads(tilth("data", "--json")[1])["sets"]
    assert {"books_en", "ir_cranfield", "glue_sst2"} <= {one["name"] for one in sets}
    assert "news_ag\tclassify" in tilth("data")[1]
    code, _, error = tilth("data", "ir_med")
    assert code == 0 or "TILTH_DATA" in error
