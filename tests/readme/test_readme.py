"""The README's blocks are run as they stand, and the two ways give the same ids."""

import contextlib
import io
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


def test_the_python_lines_give_the_same_ids(folder, capsys):
    import json

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
