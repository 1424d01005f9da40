"""A child process that runs one function under limits, for parsers of files that others made.

    with Child("package.module:function", memory=1 << 30, seconds=20) as child:
        text = child.call(data, option="value")

The child lives on from call to call (a start costs about 0.1 s). It has limits on address space,
CPU and open files, may write no file and (unless root runs it) start no process, has an empty
environment and a session of its own, and dies with its parent. Time by the clock is watched from
outside. Answers are JSON headers and raw bytes; nothing from the child is ever unpickled. After
any failure the next call works: it starts a fresh child.

What it is not: a boundary against code that means harm. The child may still read files and reach
the network, as the user may; code that a model wrote runs in `generated.Sandbox`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import tilth
from tilth.errors import DataError, LimitError, TilthError
from tilth.sandbox.serve import FRAME

START_SECONDS = 60.0
# A child that has used so much CPU in all is replaced, so that leaks stay small.
CPU_SECONDS = 120.0
HEADER_BYTES = 1 << 16
# How long a child that closed its pipe may take to end, so that it can be said how it ended.
ENDING_SECONDS = 1.0

# The package is found where this one lies, and behind everything else, so that its neighbours
# hide no module of the standard library.
_PROGRAM = (
    "import sys; home = sys.argv[1]; sys.path.insert(0, home); import tilth; "
    "sys.path.remove(home); sys.path.append(home); "
    "from tilth.sandbox.serve import main; main(sys.argv[2:])"
)


class StartError(TilthError):
    """No child comes up. The machine or the installation is at fault, never the data."""


class _Ended(Exception):
    """The child is gone."""


class Child:
    """Runs `function` ("module:name", called with bytes and JSON options) in a child process.

    memory: bytes of address space; seconds: wall clock for one call; output: bytes of one answer;
    folders: further places to import from. Calls from several threads take turns. A child ends
    when the thread that started it does: where threads come and go, each should have its own.
    """

    def __init__(
        self,
        function: str,
        *,
        memory: int = 1 << 30,
        seconds: float = 20.0,
        output: int = 256 << 20,
        folders: Sequence[str | Path] = (),
    ) -> None:
        self.function, self.memory, self.seconds, self.output = function, memory, seconds, output
        self.folders = [str(folder) for folder in folders]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the child, and what it may have started in its session."""
        with self._lock:
            self._stop()

    def call(self, data: bytes, **options: Any) -> Any:
        """What the function gives: bytes, str or a JSON value.

        Raises LimitError (time, memory, length of the answer) and DataError (the function raised
        an error, or the process crashed), StartError where no child can be started.
        """
        header = json.dumps({"options": options}).encode("ascii")
        request = FRAME.pack(len(header), len(data)) + header
        with self._lock:
            while True:
                used = self._process is not None and self._owner == os.getpid()
                failure: TilthError
                try:
                    answer, body = self._exchange(request, data)
                except _Ended:
                    failure = DataError(f"the child process ended: {self._how_it_ended()}")
                except BaseException:
                    self._stop()
                    raise
                else:
                    cpu = answer.get("cpu")
                    if not isinstance(cpu, float) or cpu > CPU_SECONDS:
                        self._stop()
                    if answer.get("failure") != "memory":
                        break
                    self._stop()
                    failure = LimitError(f"needed more than {self.memory} bytes of memory")
                # Earlier calls may have worn the child out: only a fresh one is believed.
                if not used:
                    raise failure
        return _result(answer, body)

    def _exchange(self, request: bytes, data: bytes) -> tuple[dict[str, Any], bytes]:
        if self._owner != os.getpid():
            self._forget()
        if self._process is None:
            self._start()
        deadline = time.monotonic() + self.seconds
        try:
            self._send(request, deadline)
            self._send(data, deadline)
            return self._receive_frame(deadline)
        except TimeoutError:
            raise LimitError(f"took longer than {self.seconds:g} seconds") from None

    def _start(self) -> None:
        try:
            self._process = self._spawn()
        except OSError as error:  # too many processes or open files, no memory, no interpreter
            message = error.strerror or str(error)
            raise StartError(f"no child process runs {self.function}: {message}") from error
        self._owner = os.getpid()
        os.set_blocking(self._stdin, False)
        try:
            answer, _ = self._receive_frame(time.monotonic() + START_SECONDS)
            message = str(answer.get("message", ""))
        except _Ended:
            answer = {"failure": "start"}
            message = f"{self._how_it_ended()}, with {self.memory} bytes of memory"
        except (LimitError, DataError) as error:
            answer, message = {"failure": "start"}, error.what
        except TimeoutError:
            answer, message = {"failure": "start"}, f"not ready after {START_SECONDS:g} seconds"
        if answer.get("failure"):
            raise StartError(f"no child process runs {self.function}: {message}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        """The process that will serve; it leads a session of its own."""
        home = str(Path(tilth.__file__).parents[1])
        cpu = int(CPU_SECONDS + 2 * self.seconds + 1)
        interpreter = [sys.executable, "-I", "-B", "-X", "utf8", "-c", _PROGRAM, home]
        limits = [str(self.memory), str(cpu), str(os.getpid())]
        # Where the interpreter's own libraries lie is all that it may need to know.
        environment = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
        return subprocess.Popen(
            [*interpreter, self.function, *limits, *self.folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )

    @property
    def _stdin(self) -> int:
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin.fileno()

    @property
    def _stdout(self) -> int:
        assert self._process is not None and self._process.stdout is not None
        return self._process.stdout.fileno()

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            _wait(self._stdin, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                continue
            except BrokenPipeError:
                raise _Ended from None

    def _receive_frame(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        header_size, body_size = FRAME.unpack(self._receive(FRAME.size, deadline))
        if header_size > HEADER_BYTES or body_size > self.output:
            raise LimitError(f"the answer is longer than {self.output} bytes")
        try:
            header = json.loads(self._receive(header_size, deadline))
        except ValueError:
            header = None
        if not isinstance(header, dict):
            raise DataError("the child process gave no proper answer")
        return header, self._receive(body_size, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            _wait(self._stdout, select.POLLIN, deadline)
            part = os.read(self._stdout, min(size, 1 << 20))
            if not part:
                raise _Ended
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _stop(self) -> int:
        """Kill the child with its session; its exit code."""
        if self._owner != os.getpid():
            self._forget()
        process, self._process = self._process, None
        if process is None:
            return 0
        # Until it is waited for, its number cannot go to another process.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        self._close_pipes(process)
        return code

    def _how_it_ended(self) -> str:
        """Clear away a child that closed its pipe, and say how it ended."""
        assert self._process is not None
        by_itself = _ends_soon(self._process.pid)
        code = self._stop()
        if not by_itself:
            return "it closed its output"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _forget(self) -> None:
        """After a fork the child still belongs to the first process; only let go of it here."""
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # so that it is not waited for
            self._close_pipes(process)

    @staticmethod
    def _close_pipes(process: subprocess.Popen[bytes]) -> None:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _wait(descriptor: int, event: int, deadline: float) -> None:
    """Until the pipe is ready, or TimeoutError."""
    poll = select.poll()
    poll.register(descriptor, event)
    left = deadline - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TimeoutError


def _ends_soon(pid: int) -> bool:
    """Whether the process ends by itself; it is not waited for, so its number stays its own."""
    deadline = time.monotonic() + ENDING_SECONDS
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return True
        time.sleep(0.01)
    return False


def _result(answer: dict[str, Any], body: bytes) -> Any:
    failure, message = answer.get("failure"), str(answer.get("message", ""))
    if failure == "limit":
        raise LimitError(message)
    if failure is not None:
        raise DataError(message)
    if answer.get("kind") == "bytes":
        return body
    try:
        if answer.get("kind") == "str":
            return body.decode("utf-8", "surrogatepass")
        return json.loads(body)
    except (ValueError, RecursionError):
        raise DataError("the child process gave no proper answer") from None
