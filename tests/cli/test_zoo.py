import json

import pytest

from tilth.cli.main import run


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))


def test_the_list_says_what_is_built(capsys):
    assert run(["zoo", "list"]) == 0
    assert "gpt-books\tshared" in capsys.readouterr().out
    assert run(["zoo", "list", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["models"]
    assert {m["zoo"] for m in models} == {"shared", "python"}
    assert all(m["built"] is None and m["gate"] is None for m in models)


def test_a_name_that_is_none_ends_in_one_line(capsys):
    assert run(["zoo", "build", "gpt-book"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'gpt-books'" in said and said.count("\n") == 1
