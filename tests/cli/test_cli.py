"""Exit codes, one-line errors, JSON, and examples in every help text."""

import json
import re
import shlex

import pytest

from tilth.cli import COMMANDS
from tilth.cli.main import run

# Commands with commands of their own, and one of these.
GROUPS = {
    "compress": "truncate", "corpus": "show", "zoo": "list", "evaluate": "membership",
    "papers": "search",
}  # fmt: skip


def out_of(capsys, *words):
    code = run(list(words))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_ends_in_examples_of_its_own_command(capsys, name):
    code, text, _ = out_of(capsys, name, "--help")
    assert code == 0
    if name in GROUPS:
        code, text, _ = out_of(capsys, name, GROUPS[name], "--help")
    examples = [line.strip() for line in text.splitlines() if line.strip().startswith("tilth ")]
    assert examples and "Examples:" in text
    for example in examples:
        assert shlex.split(example)[1] == name


@pytest.mark.parametrize(
    "words, code, says",
    [
        (["serach", "x"], 2, "did you mean 'search'"),
        (["search"], 2, "Missing argument"),
        (["search", "/nowhere", "x"], 1, "is not a run folder"),
        (["search", "/nowhere", "x", "-k", "0"], 2, "greater than or equal to 1"),
        (["corpus", "stats", "/nowhere"], 1, "holds no corpus"),
        (["build", "/nowhere/at/all", "-o", "{tmp}/run"], 2, "/nowhere/at/all"),
        (["build", "x", "--set", "train.tokns=3"], 2, "did you mean 'tokens'"),
        (["build", "x", "--plan", "/nowhere.toml"], 2, "no such plan"),
        (["build", "-o", "{tmp}/run", "--set", "documents.group_by=x"], 2, "has no effect"),
        (["build", "x", "--executor", "locl"], 2, "did you mean 'local'"),
        (["show", "spgcc"], 2, "did you mean 'spgc'"),
        (["run", "spgc", "--scale", "smol"], 2, "small"),
    ],
)
def test_mistakes_end_in_one_line_and_the_right_code(capsys, tmp_path, words, code, says):
    words = [word.format(tmp=tmp_path) for word in words]
    found, _, error = out_of(capsys, *words)
    assert found == code
    assert says in error and len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    found, out, _ = out_of(capsys, *words, "--json")
    if found == code:
        assert says in json.loads(out)["error"]


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="no such plan"):
        run(["build", "x", "--plan", "/nowhere.toml", "--debug"])


def test_doctor_says_what_is_here(capsys):
    code, text, _ = out_of(capsys, "doctor", "--json")
    assert code == 0 and json.loads(text)["parts"]["pyarrow"]
    code, text, _ = out_of(capsys, "--version")
    assert code == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", text)


def test_progress_in_a_pipe_is_a_few_lines(capsys):
    from tilth.cli.output import ProgressLines

    lines = ProgressLines()
    for done in range(1001):
        lines("read", done, 1000)
    assert 10 <= len(capsys.readouterr().err.splitlines()) <= 12


def test_text_of_documents_cannot_steer_the_terminal(capsys):
    from tilth.cli.output import info, table

    info("a\x1b[2Jb")
    table("", ["x"], [["\x1b]0;title\x07 [bold]"]])
    text = capsys.readouterr().out
    assert "\x1b" not in text and "\x07" not in text and "[bold]" in text
