"""The commands threshold and scorer: conditions that a rule takes, and refusals."""

import json

import pytest
import typer
from typer.testing import CliRunner

from tilth.cli.score import STEPS
from tilth.corpus.corpus import Corpus
from tilth.errors import DataError, UsageError
from tilth.signals.length import Length
from tilth.signals.symbols import Symbols

app = typer.Typer()
for name, step in STEPS.items():
    app.command(name)(step)


def run(*words):
    """What a command prints; its errors pass through."""
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    rows = [{"text": "word " * (n + 1) + "12" * (n % 3)} for n in range(60)]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Corpus(folder / "corpus")
    made.add([path])
    made.measure([Length(), Symbols()])
    return made


def test_budget(corpus):
    found = json.loads(
        run("threshold", corpus.folder, "words", "--budget", 10, "--keep", "high", "--json")
    )
    assert found["kept"] <= 10 and found["condition"] == f"words >= {found['threshold']}"
    assert sum(row[2] for row in found["histogram"]) == 60
    words = corpus.columns().column("words").to_pylist()
    assert found["kept"] == sum(n >= found["threshold"] for n in words)
    small = json.loads(
        run("threshold", corpus.folder, "alphabetic_share", "--budget", 900, "--unit", "bytes",
            "--json")
    )  # fmt: skip
    assert small["direction"] == 1 and small["size"] <= 900
    shown = run("threshold", corpus.folder, "words", "--budget", 10, "--keep", "high")
    assert "keeps" in shown and "--where" in shown


def test_the_condition_is_one_that_a_rule_takes(corpus):
    from tilth.corpus.rules import Rule

    found = json.loads(
        run("threshold", corpus.folder, "words", "--budget", 7, "--keep", "low", "--json")
    )
    decisions = corpus.select(Rule({"budget": found["condition"]}, "words"))
    assert decisions.column("kept").to_pylist().count(True) == found["kept"]


def test_one_hill(corpus):
    assert "not two hills" in run("threshold", corpus.folder, "words", "--two-hills",
                                  "--keep", "high")  # fmt: skip


def test_precision(corpus, tmp_path):
    table = corpus.columns()
    words = table.column("words").to_pylist()
    lines = ["id,label"]
    lines += [
        f"{id},{'good' if n > 20 else 'bad'}"
        for id, n in zip(table.column("id").to_pylist(), words)
    ]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    asked = ["threshold", corpus.folder, "words", "--precision", 0.6, "--labels",
             tmp_path / "labels.csv", "--keep", "high", "--json"]  # fmt: skip
    found = json.loads(run(*asked))
    assert found["precision"][0] >= 0.6 and found["documents"] == 60
    assert found["kept"] == sum(n >= found["threshold"] for n in words)
    with pytest.raises(UsageError, match="no label 'fine'"):
        run(*asked, "--good", "fine")
    (tmp_path / "labels.csv").write_text("id,label\nnobody,good\n")
    with pytest.raises(DataError, match="no labelled id"):
        run(*asked)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["words"], "one of --budget"),
        (["words", "--budget", "3", "--two-hills"], "one of --budget"),
        (["words", "--precision", "0.9"], "belong together"),
        (["wrds", "--budget", "3", "--keep", "low"], "did you mean 'words'"),
        (["words", "--budget", "3"], "--keep high or low"),
        (["words", "--budget", "3", "--keep", "big"], "high or low"),
        (["words", "--budget", "3", "--keep", "low", "--unit", "tokens"], "no tokens"),
    ],
)
def test_mistakes(corpus, words, said):
    with pytest.raises(UsageError, match=said):
        run("threshold", corpus.folder, *words)


def test_scorer(tmp_path):
    rows = [
        {"text": f"{'rain and storm' if n % 2 else 'tax and vat'} {n}", "label": "ab"[n % 2]}
        for n in range(80)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = run("scorer", "linear", path, "-o", tmp_path / "made", "--positive", "b",
                "--set", "bits=12")  # fmt: skip
    assert "area under the curve 1.000" in shown
    from tilth.signals.scorers import trained

    assert trained.load(tmp_path / "made").calibration is not None
    with pytest.raises(UsageError, match="leave --other out"):
        run("scorer", "linear", path, "-o", tmp_path / "x", "--positive", "b", "--other", path)
    with pytest.raises(UsageError, match="no option 'bit'"):
        run("scorer", "linear", path, "-o", tmp_path / "x", "--positive", "b", "--set", "bit=12")
