"""Running a smoke scale: fixed words, one at a time, limits, its group ends with it, what it says
is text."""

import json
import os
import signal
import sys
import threading

import pytest
from web_site import ask, let_in, serving

from tilth.serving.refusal import Refused
from tilth.web.smoke import LETTERS, LINES, Smokes

# Says what it was called with, then does what the slug says.
CHILD = """
import os, signal, subprocess, sys, time
print("words", *sys.argv[1:], flush=True)
deed = sys.argv[2]
if deed == "long":
    print("x" * 5000)
    [print("line", n) for n in range(5000)]
if deed == "evil":
    print("<script>window.evil=1</script>\\x1b[31m\\u202e\\r\\xff")
    print(sorted(name for name in os.environ if "KEY" in name or "SMTP" in name))
if deed == "fail":
    sys.exit(3)
if deed == "memory":
    bytearray(64 << 30)
if deed in ("stay", "stubborn"):
    if deed == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    print("child", child.pid, flush=True)
    time.sleep(1000)
"""
SLUGS = ["spgc", "long", "evil", "fail", "memory", "stay", "stubborn", "quick"]


@pytest.fixture
def smokes(monkeypatch):
    monkeypatch.setenv("TILTH_SERVE_KEY", "secret")
    monkeypatch.setenv("TILTH_SMTP_PASSWORD", "secret")
    monkeypatch.setenv("THE_KEYRING", "secret")  # As --set llm_key may name it.
    smokes = Smokes(SLUGS, program=[sys.executable, "-c", CHILD])
    yield smokes
    smokes.stop()


def first(run, start):
    """The first line that begins so, waited for."""
    there = threading.Event()
    for _ in range(2000):
        found = next((line for line in run.lines if line.startswith(start)), None)
        if found:
            return found
        there.wait(0.01)
    raise AssertionError(run.lines)


def gone(pid):
    there = threading.Event()
    for _ in range(1000):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        there.wait(0.01)
    return False


def test_the_words_are_fixed_and_the_slug_is_of_the_table(smokes):
    run = smokes.start("quick")
    assert run.wait(30) and run.state == "finished" and run.code == 0
    assert run.lines == ["words run quick --scale smoke"]
    for slug in ("", "nothing", "spgc --out /tmp", "../spgc", "--help", "spgc\0", "SPGC"):
        with pytest.raises(Refused) as found:
            smokes.start(slug)
        assert found.value.status == 404
    for number in ("0", "2", "-1", "x", "", "\u0661", "9" * 30, "9" * 5000):
        with pytest.raises(Refused):
            smokes.find(number)
    assert smokes.find("1") is run


def test_one_runs_at_a_time_and_cancel_ends_its_group(smokes):
    run = smokes.start("stay")
    child = int(first(run, "child").split()[1])
    with pytest.raises(Refused) as found:
        smokes.start("quick")
    assert found.value.status == 409 and "stay is running" in found.value.message
    run.cancel()
    assert run.wait(30) and run.state == "cancelled" and run.code == -signal.SIGTERM
    assert gone(child)
    again = smokes.start("quick")
    assert again.number == run.number + 1 and again.wait(30) and again.state == "finished"
    run.cancel()  # Nothing happens to one that is through.
    assert run.state == "cancelled"


def test_time_and_memory_have_limits(monkeypatch):
    from tilth.web import smoke

    monkeypatch.setattr(smoke, "GRACE", 0.05)
    smokes = Smokes(SLUGS, seconds=0.5, program=[sys.executable, "-c", CHILD])
    run = smokes.start("stubborn")
    assert run.wait(30) and run.state == "out of time" and run.code == -signal.SIGKILL
    smokes = Smokes(SLUGS, program=[sys.executable, "-c", CHILD])
    run = smokes.start("memory")
    assert run.wait(30) and run.state == "failed" and "MemoryError" in run.lines[-1]


def test_output_is_cut_and_secrets_are_not_passed_on(smokes):
    run = smokes.start("long")
    assert run.wait(30) and run.state == "finished"
    assert len(run.lines) == LINES and max(map(len, run.lines)) == LETTERS
    run = smokes.start("evil")
    assert run.wait(30)
    assert (
        run.lines[1] == "<script>window.evil=1</script>[31m\N{LATIN SMALL LETTER Y WITH DIAERESIS}"
    )
    assert run.lines[2] == "[]"
    assert smokes.start("fail").wait(30) and smokes.find("3").code == 3


def test_the_end_of_the_server_ends_what_runs(smokes):
    run = smokes.start("stay")
    child = int(first(run, "child").split()[1])
    smokes.stop()
    assert not run.running and gone(child)
    with pytest.raises(Refused):
        smokes.start("quick")


def test_nothing_is_left_of_many(smokes):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(25):
        run = smokes.start("fail")
        assert run.wait(30)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    with pytest.raises(Refused):  # Old ones are forgotten.
        smokes.find("1")


def events(text):
    """(kind, value, number) of each event."""
    found = []
    for part in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in part.split("\n") if ": " in line)
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"]), int(lines["id"])))
    return found


def test_pages_and_events_of_a_run(site, monkeypatch):
    monkeypatch.setattr(site, "smokes", Smokes([*SLUGS, "retro"],
                                               program=[sys.executable, "-c", CHILD]))  # fmt: skip
    with serving(site) as address:
        cookie = let_in(address)
        for path in ("/papers/spgc/smoke", "/smoke/1/cancel"):
            assert ask(address, path, {})[0] == 403
        status, _, headers = ask(address, "/papers/spgc/smoke", {"x": "--out"}, cookie=cookie)
        assert status == 303 and headers["location"] == "/smoke/1"
        status, text, headers = ask(address, "/smoke/1/events")
        assert status == 200 and headers["content-type"].startswith("text/event-stream")
        assert events(text) == [("line", "words run spgc --scale smoke", 1), ("end", "finished", 1)]
        assert events(ask(address, "/smoke/1/events", last_event_id="1")[1]) == [
            ("end", "finished", 1)
        ]
        status, text, _ = ask(address, "/smoke/1")
        assert status == 200 and "finished" in text and "words run spgc" in text
        assert ask(address, "/smoke/2")[0] == 404
        # What it says is text on the page too.
        run = site.smokes.find("1")
        run.lines.append("<script>alert(1)</script>")
        assert "<script>alert" not in ask(address, "/smoke/1")[1]
        # A system whose paper the library does not hold has a page too, and no link.
        other = site.smokes.start("quick")
        assert other.wait(30)
        status, text, _ = ask(address, f"/smoke/{other.number}")
        assert status == 200 and "/papers/quick" not in text
        # A page watches until the end, whenever that comes.
        monkeypatch.setattr(run, "state", "running")
        assert 'http-equiv="refresh"' in ask(address, "/smoke/1")[1]
        monkeypatch.undo()


def test_cancel_by_a_form(site, monkeypatch):
    smokes = Smokes(["spgc", "stay"], program=[sys.executable, "-c", CHILD])
    monkeypatch.setattr(site, "smokes", smokes)
    with serving(site) as address:
        cookie = let_in(address)
        run = smokes.start("stay")
        first(run, "child")
        text = ask(address, "/papers/spgc", cookie=cookie)[1]
        assert 'href="/smoke/1"' in text and "One runs at a time" in text
        status, text, _ = ask(address, "/papers/spgc/smoke", {}, cookie=cookie)
        assert status == 409 and "stay is running" in text
        assert ask(address, "/smoke/1/cancel", {}, cookie=cookie)[0] == 303
        assert run.state == "cancelled"
