"""The README's blocks are run as they stand, and the two ways give the same ids."""

import contextlib
import io
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from tilth.cli.main import run as command
from tilth.testing.mixed import SMALL_PLAN, write_mixed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(name):
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", README, re.S)
    assert found, f"README has no block {name}"
    return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    write_mixed(folder / "my-documents", count=60)
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def test_the_commands_run_as_they_stand(folder, capsys):
    for line in block("commands").splitlines():
        words = shlex.split(line)
        assert words[0] == "tilth"
        if words[1] == "build":
            # The same command, on fewer tokens.
            words += ["--quiet", *(part for s in SMALL_PLAN for part in ("--set", s))]
        assert command(words[1:]) == 0, line
        assert capsys.readouterr().out
    assert (folder / "kept.jsonl").stat().st_size > 1000
    assert (folder / "my-run" / "report" / "report.html").is_file()


def test_the_steps_run_as_they_stand(folder, capsys):
    for line in block("steps").splitlines():
        assert command(shlex.split(line)[1:]) == 0, line
        assert capsys.readouterr().out


def test_the_models_are_made_as_it_says(folder, capsys):
    texts = [
        f"Letter {n}: the tenant gives notice and leaves in month {n % 12}." for n in range(60)
    ]
    rows = [f"{json.dumps(text)},{'even' if n % 2 else 'odd'}" for n, text in enumerate(texts)]
    Path("letters.csv").write_text("\n".join(["text,label", *rows]), "utf-8")
    lines = [json.dumps({"text": text * 5}) for text in texts]
    Path("newer.jsonl").write_text("\n".join(lines), "utf-8")
    small = ["--tokens", "8192", "--set", "batch_tokens=512"]
    new = ["--size", "40k", "--set", "vocabulary=400", "--set", "context=64"]
    for line in block("models").splitlines():
        words = shlex.split(line)
        # The same commands, on fewer tokens.
        if words[1] == "train":
            words += small if "--base" in words else [*small, *new]
        elif words[1] == "tune":
            words += ["--set", "epochs=4"]
        assert command(words[1:]) == 0, (line, capsys.readouterr().err)
        assert capsys.readouterr().out
    assert (folder / "adapted" / "model.safetensors").is_file()


def test_the_python_lines_give_the_same_ids(folder, capsys):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block("python"), "README", "exec"), {"__name__": "__main__"})
    dropped, _, hits = printed.getvalue().strip().splitlines()[:1], None, printed.getvalue()
    assert "dropped" in dropped[0]
    assert command(["search", "my-run", "notice to the tenant", "-k", "3", "--json"]) == 0
    for hit in json.loads(capsys.readouterr().out)["hits"]:
        assert hit["id"] in hits


def test_every_file_that_the_readme_names_is_there():
    for name in re.findall(r"`((?:docs/|src/|LOG)[\w./-]*)`", README):
        assert (ROOT / name).exists(), name
