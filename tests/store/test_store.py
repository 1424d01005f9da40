import json
import os
import signal
import subprocess
import sys

import pytest

from tilth.errors import DamagedError, LockedError, TilthError, UsageError, nearest
from tilth.store import write
from tilth.store.digest import canonical_json, digest, sha256_file
from tilth.store.events import Events
from tilth.store.lock import lock
from tilth.store.manifest import is_complete, read_manifest, verify, write_manifest
from tilth.testing.faults import count_moments, run_until, tree


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), write.atomic_write(tmp_path / "x") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_write_reports_its_size_and_digest(tmp_path):
    with write.atomic_write(tmp_path / "deep" / "x") as file:
        file.write(b"one ")
        file.write(memoryview(b"two"))
    assert (tmp_path / "deep" / "x").read_bytes() == b"one two"
    assert file.size == 7 and file.sha256 == sha256_file(tmp_path / "deep" / "x")


def test_at_every_moment_the_old_or_the_new_file_is_there(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def work():
        write.write_bytes(path, b"new and longer")

    moments = count_moments(lambda: write.write_bytes(tmp_path / "y", b"new and longer"))
    assert [name for name, _ in moments] == ["open", "write", "rename", "done"]
    (tmp_path / "y").unlink()
    for strike in range(len(moments)):
        path.write_bytes(b"old")
        assert run_until(work, strike)
        assert path.read_bytes() in (b"old", b"new and longer")
        assert write.remove_temporary(tmp_path) == (strike in (1, 2))
        assert list(tree(tmp_path)) == ["x"]
    assert not run_until(work, len(moments))


def test_a_manifest_finds_every_change(tmp_path):
    write.write_text(tmp_path / "a" / "b.txt", "text")
    write.write_text(tmp_path / "c.txt", "more")
    assert not is_complete(tmp_path) and read_manifest(tmp_path) is None
    with pytest.raises(DamagedError, match="unfinished"):
        verify(tmp_path)
    write_manifest(tmp_path, made_by="test")
    assert is_complete(tmp_path, {"made_by": "test"})
    assert not is_complete(tmp_path, {"made_by": "other"})
    assert set(verify(tmp_path)["files"]) == {"a/b.txt", "c.txt"}
    (tmp_path / "c.txt").write_text("mere")
    assert is_complete(tmp_path)
    with pytest.raises(DamagedError, match=r"c\.txt"):
        verify(tmp_path)
    (tmp_path / "c.txt").unlink()
    assert not is_complete(tmp_path)


def test_a_folder_has_one_holder_and_a_dead_one_lets_go(tmp_path):
    program = (
        "import sys, time\n"
        "from tilth.store.lock import lock\n"
        "with lock(sys.argv[1]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockedError, match=str(holder.pid)), lock(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with lock(tmp_path):
        pass


def test_events_survive_a_torn_line(tmp_path):
    events = Events(tmp_path / "events.jsonl")
    assert list(events.read()) == []
    events.write("start", step="read")
    with open(events.path, "ab") as file:
        file.write(b'{"kind": "torn')
    events.write("end", step="read")
    assert [event["kind"] for event in events.read()] == ["start", "end"]


def test_digests_frame_their_parts():
    assert digest("ab", "c") != digest("a", "bc")
    assert len(digest("x")) == 32
    assert canonical_json({"b": 1, "a": [2]}) == '{"a":[2],"b":1}'
    with pytest.raises(ValueError):
        canonical_json(float("nan"))


def test_errors_are_one_line_and_cross_processes():
    import pickle

    error = UsageError("no such key", where="plan.toml", hint="did you mean 'x'?")
    assert str(error) == "plan.toml: no such key (did you mean 'x'?)"
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, TilthError) and str(copy) == str(error) and copy.exit_code == 2
    assert nearest("wrods", ["words", "bytes"]) == "did you mean 'words'?"


def test_json_that_does_not_parse_is_damage(tmp_path):
    write.write_json(tmp_path / "x.json", {"b": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == write.read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DamagedError):
        write.read_json(tmp_path / "x.json")
