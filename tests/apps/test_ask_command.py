"""`tilth ask` on a built run: its own examples, its exit codes, and the texts that it cites."""

import json
import shlex
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))
import tiny
from server import Server

from tilth.build.asking import best_search, open_asker
from tilth.cli.main import run as command
from tilth.errors import DataError, UsageError


@pytest.fixture(scope="module")
def server():
    one = Server()
    one.deed = "say The tenant pays [1]. Elephants dance [7]."
    yield one
    one.stop()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    folder = tmp_path_factory.mktemp("asked")
    bpe.save(tiny.tokenizer(), folder / "tokens")
    save_model(tiny.model("llama"), folder / "model", folder / "tokens")
    return folder / "model"


def printed(capsys, *words):
    code = command(["ask", *map(str, words)])
    return code, capsys.readouterr()


def test_its_examples_run(built, server, model, capsys):
    assert command(["ask", "--help"]) == 0
    parts = (" ".join(part.split()) for part in capsys.readouterr().out.split("\n\n"))
    examples = [part for part in parts if part.startswith("tilth ask ")]
    assert len(examples) == 4
    for example in examples:
        words = shlex.split(example.replace("http://127.0.0.1:8000/v1", server.url))
        given = {"my-run": built.folder, "my-assistant": model}
        if server.url in words:
            given.pop("my-assistant")
        words = [given.get(word, word) for word in words[2:]]
        code, out = printed(capsys, *words)
        # A model with random weights and room for 128 tokens answers nothing: it is quoted.
        assert code == (1 if model in words else 0), out.err
        assert "Passages (" in out.out or json.loads(out.out)["found"]


def test_citations_are_the_run_s_own_text(built, capsys):
    for using in ("lexical", "dense", "fused"):
        code, out = printed(
            capsys, built.folder, "Who pays the rent?", "--retriever", using, "--json"
        )
        answer = json.loads(out.out)
        assert code == 0 and answer["using"] == using and answer["how"] == "quoted"
        assert answer["citations"] and len(answer["passages"]) == 5
        for one in [*answer["citations"], *answer["passages"]]:
            document = built.corpus.get(one["document"])
            assert document.text[one["start"] : one["stop"]] == one["text"]
            assert document.source == one["source"]


def test_the_report_says_which_search_is_used(built):
    advised = best_search(built)
    screen = "\n".join(built.first_screen())
    assert f"Which search to use? {advised.capitalize()}." in screen
    asker = open_asker(built)
    assert asker.using == advised == asker.ask("Who pays the rent?").using
    with pytest.raises(UsageError, match="did you mean 'dense'"):
        open_asker(built, using="dens")


def test_a_model_at_an_address_writes_and_is_checked(built, server, capsys):
    before = len(server.bodies)
    llm = ("--llm", server.url, "--llm-model", "made")
    code, out = printed(capsys, built.folder, "Who pays the rent?", *llm)
    assert code == 0 and len(server.bodies) == before + 1
    assert out.out.count("The tenant pays [1]. Elephants dance.") == 1
    assert "1 citations of passages that are not there were taken out" in out.out
    assert "Elephants dance.  (cites nothing)" in out.out and "cited: characters" in out.out


def test_exit_codes(built, server, capsys):
    code, out = printed(capsys, built.folder, "qqqqxyz zzyqx", "--retriever", "lexical")
    assert code == 0 and out.out == "Nothing was found: no document holds any of these words.\n"
    assert printed(capsys, built.folder, "rent", "--llm-model", "x")[0] == 2
    assert printed(capsys, built.folder, "rent", "--retriever", "dens")[0] == 2
    assert printed(capsys, built.folder, " ")[0] == 2
    assert printed(capsys, built.folder, "rent", "--llm", "/nowhere")[0] == 2
    assert printed(capsys, "/nowhere", "rent")[0] == 1
    llm = ("--llm", server.url, "--llm-model", "made")
    said, server.deed = server.deed, "400"
    try:
        code, out = printed(capsys, built.folder, "Who pays the rent?", *llm)
        assert code == 1 and "The model gave no answer (failed: status 400" in out.out
        assert '" [1]' in out.out
        server.deed = "401"
        code, out = printed(capsys, built.folder, "Who pays the rent?", *llm)
        assert code == 2 and "refuses the key" in out.err and len(out.err.splitlines()) == 1
    finally:
        server.deed = said


def test_a_run_without_a_dense_index_says_why(built, tmp_path):
    import shutil

    from tilth.build.run import Run

    shutil.copytree(built.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "index" / "dense")
    with pytest.raises(DataError, match="no dense index"):
        open_asker(Run(tmp_path / "run"), using="dense")
