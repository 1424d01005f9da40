"""`tilth serve` as a process: what it loads, what it prints, what it refuses, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from web_site import ask

HEAVY = "torch transformers pyarrow duckdb".split()
PROGRAM = (
    "import sys; from tilth.cli.main import run; code = run(sys.argv[1:]);"
    f"print(code, [name for name in {HEAVY} if name in sys.modules])"
)


def started(words, folder, **environment):
    """A process of `tilth serve`, its address and the token of its pages."""
    environment = {**os.environ, "TILTH_LIBRARY": str(folder / "papers.sqlite"), **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--port", "0", *words], stdout=subprocess.PIPE,
        text=True, env={**environment, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    line = process.stdout.readline()
    found = re.search(r"http://(127\.0\.0\.1):(\d+)/(\?token=\S+)?", line)
    assert found, line
    return process, (found[1], int(found[2])), found[3] or ""


def ended(process):
    """What it says at its end, after SIGTERM."""
    process.send_signal(signal.SIGTERM)
    try:
        said = process.stdout.read()
        assert process.wait(60) == 0
        return said.strip()
    finally:
        process.kill()
        process.stdout.close()


def test_papers_are_served_without_torch(tmp_path):
    process, address, token = started(["--set", f"results={tmp_path}"], tmp_path)
    try:
        assert ask(address, "/papers")[0] == 200
        status, _, headers = ask(address, f"/{token}")
        assert status == 303
        cookie = headers["set-cookie"].partition(";")[0]
        for path in ("/papers?q=project+gutenberg&how=words", "/papers?q=old+books&how=meaning",
                     "/papers?q=old+books", "/papers/spgc", "/board",
                     "/papers?order=trending"):  # fmt: skip
            assert ask(address, path, cookie=cookie)[0] == 200, path
        assert ask(address, "/papers/pie/vote", {}, cookie=cookie)[0] == 303
        assert json.loads(ask(address, "/v1/models")[1])["data"] == []
        assert ask(address, "/search")[0] == 404
        status, _, _ = ask(address, "/papers/spgc/smoke", {}, cookie=cookie)
        assert status == 303
        # It ends while something runs and is watched.
        assert "running" in ask(address, "/smoke/1", cookie=cookie)[1]
    finally:
        said = ended(process)
    assert said == "0 []"


def test_a_run_has_its_pages(built, tmp_path):
    process, address, _ = started([str(built.folder)], tmp_path)
    try:
        status, _, headers = ask(address, "/")
        assert status == 303 and headers["location"] == "/search"
        for path in ("/search?q=court", "/ask", "/corpus", "/report", "/model", "/papers"):
            status, text, _ = ask(address, path)
            assert status == 200, path
            for title in ("Papers", "Board", "Search", "Ask", "Corpus", "Report", "Model"):
                assert f">{title}</a>" in text, path
    finally:
        assert ended(process).startswith("0 ")


def test_a_key_takes_the_place_of_the_token(tmp_path):
    (tmp_path / "short").write_text("too-short")
    from tilth.cli.main import run

    assert run(["serve", "--key-file", str(tmp_path / "short")]) == 2
    process, address, token = started([], tmp_path, TILTH_SERVE_KEY="a-key-of-16-letters-or-more")
    try:
        assert token == ""
        assert ask(address, "/papers")[0] == 401
        assert ask(address, "/papers", authorization="Bearer a-key-of-16-letters-or-more")[0] == 200
    finally:
        assert ended(process).startswith("0 ")


def test_words_that_do_not_go_together(tmp_path, capsys, monkeypatch):
    from tilth.cli.main import run

    monkeypatch.setenv("TILTH_LIBRARY", str(tmp_path / "papers.sqlite"))
    monkeypatch.delenv("TILTH_SMTP", raising=False)
    for words, says in (
        (["--llm", "http://127.0.0.1:1/v1"], "questions about a run"),
        (["--public-url", "https://papers.example.org"], "mail server"),
        (["--public-url", "papers.example.org"], "no address of a server"),
        (["--set", "result=x"], "did you mean 'results'"),
        ([str(tmp_path), "--public-url", "https://papers.example.org"], "wants a key"),
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from elsewhere"),
    ):
        assert run(["serve", "--port", "0", *words]) == 2
        assert says in capsys.readouterr().err
    assert run(["serve", "--port", "0", "--set", f"papers_encoder={tmp_path / 'none'}"]) == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "other.sqlite").write_bytes(b"no library at all" * 100)
    assert run(["serve", "--port", "0", "--set", f"library={tmp_path / 'other.sqlite'}"]) == 1
    assert "other.sqlite" in capsys.readouterr().err


def test_an_llm_wants_a_corpus_to_answer_from(tmp_path, capsys):
    from tilth.cli.serve_pages import run_pages
    from tilth.errors import UsageError
    from tilth.serving.http import Service

    with pytest.raises(UsageError, match="no corpus"):
        run_pages(str(tmp_path), Service(), "http://127.0.0.1:1/v1", "m", "")
    assert run_pages(str(tmp_path), Service(), "", "", "") is None
    assert "no corpus" in capsys.readouterr().err


def test_small_answers_leave_at_once():
    """asyncio turns Nagle's delay off for sockets that say that they are TCP's."""
    import socket

    from tilth.cli.serve import _listen

    listener = _listen("127.0.0.1", 0)
    try:
        assert listener.proto == socket.IPPROTO_TCP
    finally:
        listener.close()
