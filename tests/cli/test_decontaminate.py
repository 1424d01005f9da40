"""The command `decontaminate` on files of its own, with rules and with a server."""

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
from server import Server

from tilth.cli.decontaminate import command
from tilth.errors import DataError, UsageError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    test = [{"question": "Ann has 12 pears and buys 30. How many?", "answer": "#### 42"},
            {"question": "Bo walks 5 of 9 miles. Left?", "answer": "#### 4"}]  # fmt: skip
    train = ["Ann, with 30 new pears and 12 old ones, has how many?\n#### 42", "Oats.\n#### 8"]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test))
    (tmp_path / "train.csv").write_text("".join(f'"{text}"\n' for text in ["text", *train]))
    return [str(tmp_path / "test.jsonl"), str(tmp_path / "train.csv")]


COLUMNS = "--test-column question --test-column answer --training-column text".split()


def run(*words):
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command("decontaminate")(command)
    found = CliRunner().invoke(app, [*words], catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def test_rules(files, tmp_path):
    out = tmp_path / "found.json"
    text = run(*files, "--kind", "maths", *COLUMNS, "-q", "--out", str(out))
    assert "1 of 2 test items (50.0%)" in text and "judge: rules" in text
    assert "same answer, same numbers" in text and "Ann has 12 pears" in text
    assert json.loads(out.read_text())["contaminated"] == [0]
    found = json.loads(run(*files, "--kind", "maths", *COLUMNS, "-q", "--json"))
    assert found["to_drop"] == [0] and found["coverage"] == 1.0


def test_a_model_judges_and_is_asked_once(files):
    server = Server()
    url = ["--judge-url", server.url, "--judge-model", "made"]
    for _ in range(2):
        found = json.loads(run(*files, "--kind", "knowledge", *COLUMNS, "-q", "--json", *url))
        assert found["judge"] == "endpoint made" and found["coverage"] == 0.0
    assert len(server.bodies) == 4
    server.stop()


def test_mistakes(files):
    with pytest.raises(UsageError, match="no kind"):
        run(*files, "--kind", "math", "-q")
    with pytest.raises(UsageError, match="both its address and its model"):
        run(*files, "--kind", "maths", "--judge-model", "made")
    with pytest.raises(DataError, match="has no text in each of questions"):
        run(*files, "--kind", "maths", "--test-column", "questions", "-q")
