"""The commands as a user types them, against a real mail server."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from mail_server import links

from tilth.cli.main import run
from tilth.papers.digest import Digest
from tilth.papers.digest.tokens import secret
from tilth.papers.library import Library
from tilth.papers.paper import made_paper

URL = "https://papers.example.org"
READER = "reader@example.org"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


@pytest.fixture(autouse=True)
def file(tmp_path, library, monkeypatch, server):
    path = str(library.path)
    monkeypatch.setenv("TILTH_LIBRARY", path)
    monkeypatch.setenv("TILTH_SMTP", f"smtp://127.0.0.1:{server.port}")
    monkeypatch.setenv("TILTH_SMTP_FROM", "Papers <papers@example.org>")
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def tilth(capsys):
    def typed(*words, code=0):
        assert run(["papers", *words]) == code
        said = capsys.readouterr()
        return said.out if code == 0 else said.err

    return typed


def test_from_subscribing_to_ending_it(tilth, library, postbox):
    said = tilth("subscribe", READER, "--every", "daily", "--family", "corpus")
    assert said == tilth("subscribe", READER, "--every", "daily", "--family", "corpus")
    assert "tilth papers digest --send" in said
    assert json.loads(tilth("digest", "--send", "--public-url", URL, "--json"))["sent"] == 1
    (asked,) = postbox.to(READER)
    Digest(library, secret(library.path)).confirm(links(asked)["confirm"])
    soon = datetime.now(UTC) + timedelta(seconds=2)
    library.add([made_paper("A paper that is new", family="corpus")], at=soon)

    shown = tilth("digest", "--preview", "--day", TOMORROW)
    assert "To: r...@example.org" in shown and "A paper that is new" in shown
    assert "1 of 1 would get a mail" in shown and READER not in shown
    said = tilth("digest", "--send", "--public-url", URL, "--day", TOMORROW)
    assert said == "1 sent\n"
    assert "A paper that is new" in postbox.to(READER)[1].get_body(("plain",)).get_content()
    again = tilth("digest", "--send", "--public-url", URL, "--day", TOMORROW)
    assert again == "", "nothing happened, nothing is said"

    listed = json.loads(tilth("digest", "--list", "--json"))
    assert [one["address"] for one in listed["subscriptions"]] == ["r...@example.org"]
    assert listed["messages"] == [] and "active" in tilth("digest", "--list")
    assert "1 subscription ended" in tilth("digest", "--remove", "READER@example.org")
    assert "none" in tilth("digest", "--list")


def test_what_was_not_sent_is_listed(tilth, postbox):
    postbox.answers[READER] = "550 no such mailbox"
    postbox.data_answers["other@example.org"] = "HANG UP"
    postbox.answers["third@example.org"] = "450 later"
    for name in ("reader", "other", "third"):
        tilth("subscribe", f"{name}@example.org", "--every", "weekly")
    said = tilth("digest", "--send", "--public-url", URL)
    assert said.startswith("1 later, 1 given up, 1 in doubt\n") and "--list" in said
    listed = json.loads(tilth("digest", "--list", "--json"))["messages"]
    assert {(one["state"], one["tries"]) for one in listed} == {
        ("given up", 1), ("in doubt", 0), ("waiting", 1),
    }  # fmt: skip
    assert "550 no such mailbox" in tilth("digest", "--list")


def test_a_preview_for_nobody_in_particular(tilth):
    shown = tilth("digest", "--preview", "--family", "corpus", "--every", "weekly")
    assert "1 of 1 would get a mail" in shown and "To: r...@example.org" in shown
    assert tilth("digest", "--list").split() == ["none"]


def test_the_line_for_cron(tilth, tmp_path):
    said = tilth("digest", "--public-url", f"{URL}/a%20b", "--library", "x y.sqlite")
    line = said.splitlines()[-1]
    assert line.startswith("*/15 * * * * cd ") and "papers digest --send" in line
    assert r"a\%20b" in line and f"'{tmp_path}/x y.sqlite'" in line


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [(["subscribe", "nobody"], 2, "no e-mail address"),
     (["subscribe", READER, "--every", "hourly"], 2, "daily, weekly"),
     (["subscribe", READER, "--family", "corpsu"], 2, "did you mean 'corpus'"),
     (["subscribe", READER, "--query", "http://x"], 2, "words"),
     (["digest", "--send"], 2, "--public-url https://HOST"),
     (["digest", "--send", "--list"], 2, "at a time"),
     (["digest", "--send", "--public-url", "papers"], 2, "--public-url"),
     (["digest", "--send", "--public-url", URL, "--smtp", "smtp://127.0.0.1:1"], 1, "mail server"),
     (["digest", "--preview", "--day", "tomorrow"], 2, "2026-11-30")],
)  # fmt: skip
def test_mistakes_end_in_one_line(tilth, words, code, says):
    if code == 1:
        tilth("subscribe", READER)
    said = tilth(*words, code=code)
    assert says in said and said.count("\n") == 1


def test_a_key_that_others_can_read_ends_in_one_line(tilth, library):
    secret(library.path)
    library.path.with_suffix(".key").chmod(0o644)
    assert "chmod 600" in tilth("digest", "--list", code=1)
    assert Library(library.path).families()
