"""Whatever a child does, the caller gets an answer or an error with its reason, and the next call
works."""

import os
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tilth.errors import DataError, LimitError
from tilth.sandbox import child as module
from tilth.sandbox.child import Child, StartError

HERE = Path(__file__).parent


def make(**options):
    options = {"memory": 256 << 20, "seconds": 10.0, **options}
    return Child("misbehave:run", folders=[HERE], **options)


@pytest.fixture(scope="module")
def child():
    with make() as one:
        yield one


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # it ended, and waits for whoever adopted it


def is_gone(pid: int) -> bool:
    """Whether the process ends; one that was killed needs a moment."""
    for _ in range(2000):
        if not is_there(pid):
            return True
        threading.Event().wait(0.005)
    return False


def test_bytes_texts_and_values_come_back(child):
    data = os.urandom(3 << 20)
    assert child.call(data) == data
    assert child.call(b"") == b""
    assert child.call("Gr\xfc\xdfe \U0001f40c".encode(), what="text") == "Gr\xfc\xdfe \U0001f40c"
    assert child.call(b"\xff", what="text") == "\udcff"
    answer = child.call(b"abc", what="value", number=1, names=["a", None], text="\ud800")
    assert answer["options"] == {"number": 1, "names": ["a", None], "text": "\ud800"}
    assert answer["length"] == 3 and answer["calls"] > 1  # one child answers many calls


def test_the_child_is_alone(child, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    with make() as other:
        facts = other.call(b"", what="facts")
    assert facts["pid"] == facts["session"] != os.getpid()
    # Set in the child itself: by the C library where there is no locale, and by tilth.
    assert set(facts["environment"]) <= {"LD_LIBRARY_PATH", "LC_CTYPE", "GOMP_SPINCOUNT"}
    assert facts["folder"] == "/" and facts["standard_input"] == ""
    assert facts["files"][0] <= 64 and facts["core"] == [0, 0]


def test_what_the_function_prints_is_lost(child):
    assert child.call(b"", what="chatter") == "said"


@pytest.mark.parametrize(
    ("what", "error", "reason"),
    [
        ("bomb", LimitError, "bytes of memory"),
        ("exit_now", DataError, "exit code 3"),
        ("leave", DataError, "exit code 4"),
        ("segfault", DataError, f"signal {signal.SIGSEGV.value}"),
        ("recurse", LimitError, "nested too deeply"),
        ("fail", DataError, "ValueError: no good: data"),
        ("odd", DataError, "TypeError"),
        ("write_file", DataError, "OSError"),
    ],
)
def test_a_failure_has_a_reason_and_the_next_call_works(child, tmp_path, what, error, reason):
    data = str(tmp_path / "file").encode() if what == "write_file" else b"data"
    with pytest.raises(error, match=reason):
        child.call(data, what=what)
    assert child.call(b"well") == b"well"
    for path in tmp_path.iterdir():
        assert path.stat().st_size == 0


@pytest.mark.parametrize("what", ["loop", "sleep"])
def test_time_is_limited(what):
    with make(seconds=0.2) as child:
        pid = child.call(b"", what="facts")["pid"]
        with pytest.raises(LimitError, match=r"longer than 0\.2 seconds"):
            child.call(b"", what=what)
        assert not is_there(pid)
        assert child.call(b"well") == b"well"


def test_the_length_of_an_answer_is_limited():
    with make(output=1 << 20) as child:
        with pytest.raises(LimitError, match="longer than 1048576 bytes"):
            child.call(b"", what="long_answer")
        assert child.call(b"well") == b"well"


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (struct.pack(">IQ", 2, 1 << 60) + b"{}", LimitError),
        (struct.pack(">IQ", 1 << 31, 0), LimitError),
        (struct.pack(">IQ", 3, 0) + b"\xff{]", DataError),
        (struct.pack(">IQ", 2, 0) + b"[]", DataError),
        (struct.pack(">IQ", 15, 4) + b'{"kind":"json"}' + b"{{{{", DataError),
        (b"\x00\x00", LimitError),
    ],
)
def test_frames_of_a_child_that_lies_are_not_believed(frame, error):
    with make(seconds=0.4) as child:
        with pytest.raises(error):
            child.call(frame, what="lie")
        assert child.call(b"well") == b"well"


def test_a_child_that_closes_its_pipe_is_ended(monkeypatch):
    monkeypatch.setattr(module, "ENDING_SECONDS", 0.05)
    with make() as child:
        pid = child.call(b"", what="facts")["pid"]
        with pytest.raises(DataError, match="closed its output"):
            child.call(b"", what="close_output")
        assert not is_there(pid)
        assert child.call(b"well") == b"well"


def test_a_worn_out_child_is_replaced_before_it_is_believed():
    # Each call alone fits; kept together they do not, and the caller does not notice.
    with make(memory=200 << 20) as child:
        kept = [child.call(b"", what="leak") for _ in range(8)]
    assert set(kept) > {1} and kept.count(1) >= 2


def test_a_child_that_used_much_cpu_is_replaced(monkeypatch):
    monkeypatch.setattr(module, "CPU_SECONDS", 0.0)
    with make() as child:
        first = child.call(b"", what="facts")["pid"]
        assert not is_there(first)
        assert child.call(b"", what="facts")["pid"] != first


def test_nothing_is_left_behind():
    with make() as child:
        pid = child.call(b"", what="facts")["pid"]
        grandchild = child.call(b"", what="fork")
        # Only root is not held to the limit on processes.
        assert grandchild == 0 or os.geteuid() == 0
        assert child.call(b"well") == b"well"
    assert not is_there(pid)
    assert grandchild == 0 or is_gone(grandchild)


def test_an_outside_kill_costs_nothing():
    with make() as child:
        os.kill(child.call(b"", what="facts")["pid"], signal.SIGKILL)
        assert child.call(b"well") == b"well"


def test_a_child_dies_with_its_parent():
    program = (
        "import os, sys\n"
        "from tilth.sandbox.child import Child\n"
        f"child = Child('misbehave:run', folders=[{str(HERE)!r}])\n"
        "print(child.call(b'', what='facts')['pid'], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9
    assert is_gone(int(done.stdout))


def test_a_fork_of_the_caller_gets_a_child_of_its_own():
    with make() as child:
        mine = child.call(b"", what="facts")["pid"]
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, str(child.call(b"", what="facts")["pid"]).encode())
                child.close()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        other = int(os.read(reader, 100))
        os.close(reader)
        os.close(writer)
        assert other != mine
        assert child.call(b"", what="facts")["pid"] == mine
    assert not is_there(other)


def test_threads_take_turns(child):
    answers = {}

    def work(number):
        data = bytes([number]) * 100_000
        answers[number] = all(child.call(data) == data for _ in range(5))

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == dict.fromkeys(range(4), True)


@pytest.mark.parametrize("function", ["no_such_module:run", "misbehave:no_such_name"])
def test_a_function_that_is_not_there_is_said(function):
    with Child(function, folders=[HERE]) as child:
        with pytest.raises(StartError, match="no child process runs"):
            child.call(b"")
        with pytest.raises(StartError, match="Error"):
            child.call(b"")


def test_too_little_memory_to_start_is_said():
    # Either the interpreter ends, or the import fails: how far it gets depends on its version.
    with make(memory=1 << 20) as child, pytest.raises(StartError, match="no child process runs"):
        child.call(b"")


def test_an_interpreter_that_does_not_run_is_said(monkeypatch):
    with make() as child:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/no/such/interpreter")
            with pytest.raises(StartError, match="No such file"):
                child.call(b"")
        assert child.call(b"well") == b"well"
