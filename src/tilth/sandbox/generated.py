"""Runs code that a model or a stranger wrote: no network, no user files, limits on everything.

    with Sandbox() as sandbox:
        outcome = sandbox.run("print(int(input()) + 1)", stdin="1", seconds=2)
        outcome.status, outcome.stdout                     # "ok", "2\\n"
        outcomes = sandbox.run_many([Call(code) for code in thousands])

Python code runs in bubblewrap (see `bubblewrap.py`), as nobody where root calls. Before the first
run of a process a self-test tries to break out; where any attempt succeeds, or there is no
bubblewrap, nothing is run and SandboxError says why. There is no weaker fallback.

One start (about 0.1 s) serves many calls: each runs in a forked child, alone, and everything that
it leaves is cleared away. A call that brings the whole sandbox down is tried once more in a fresh
one and then reported as killed; others are not touched by it.

What it is not: a guard against faults of the kernel. Calls share a kernel with the host, as all
containers do.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from tilth.errors import DataError, LimitError, UsageError
from tilth.sandbox.bubblewrap import SandboxError, command_line, interpreter, places
from tilth.sandbox.child import Child, StartError
from tilth.sandbox.serve import FRAME

Status = Literal["ok", "error", "timed out", "memory", "output", "killed"]

# How long the supervisor inside may take on top of a call's own limit.
GRACE_SECONDS = 10.0
# The first process and the supervisor.
OWN_TASKS = 2
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Call:
    """One piece of code, run as `__main__`. What is None is taken from the sandbox."""

    code: str
    stdin: str | bytes = ""
    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    `status`: `ok` (exit code 0), `error` (an exception or another exit code), `timed out`,
    `memory`, `output` (it printed, or left files, beyond the limit), `killed` (a signal, or it
    brought the sandbox down). `error`: the exception's name, the exit code or the signal. What was
    printed is kept up to the limit; bytes that are not UTF-8 are shown as escapes.
    """

    status: Status
    stdout: str = ""
    stderr: str = ""
    error: str = ""
    seconds: float = 0.0


class Sandbox:
    """Runs Python code that is not trusted. Not started before the first call; see the module.

    seconds: by the clock and of CPU, for one call; memory: bytes of address space of one process;
    processes: how many, threads included, a call may have at once; output: bytes printed;
    file_bytes: all that may be written to /tmp, and in one file; folders: read-only, to import
    from. `run` may be called from several threads, which take turns.
    """

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        memory: int = 512 << 20,
        processes: int = 1,
        output: int = 1 << 20,
        file_bytes: int = 16 << 20,
        folders: Sequence[str | Path] = (),
    ) -> None:
        limits = {"seconds": seconds, "memory": memory, "processes": processes,
                  "output": output, "file_bytes": file_bytes}  # fmt: skip
        for name, value in limits.items():
            if not value > 0:
                raise UsageError(f"{value} is no limit", where=name)
        self.seconds, self.memory, self.processes = seconds, memory, processes
        self.output, self.file_bytes = output, file_bytes
        self.folders = tuple(str(Path(folder).resolve(strict=True)) for folder in folders)
        self._lock = threading.Lock()
        self._cell: _Cell | None = None

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs inside."""
        with self._lock:
            if self._cell is not None:
                self._cell.close()
                self._cell = None

    def run(
        self,
        code: str,
        stdin: str | bytes = "",
        seconds: float | None = None,
        memory: int | None = None,
    ) -> Outcome:
        """Run a program. Raises SandboxError where generated code cannot be run safely."""
        from tilth.sandbox.selftest import require_sandbox

        require_sandbox()
        with self._lock:
            if self._cell is None:
                self._cell = _Cell(self)
            return self._cell.run(Call(code, stdin, seconds, memory))

    def run_many(self, calls: Iterable[Call], workers: int = 2) -> list[Outcome]:
        """Run programs that know nothing of one another; outcomes in order. See `run`."""
        from tilth.sandbox.selftest import require_sandbox

        require_sandbox()
        calls = list(calls)
        if workers < 1:
            raise UsageError("at least one worker is needed", where="workers")
        outcomes: dict[int, Outcome] = {}
        places_left = iter(range(len(calls)))
        taking, failed = threading.Lock(), threading.Event()

        def work() -> None:
            # A sandbox ends with the thread that started it: each has its own.
            with contextlib.closing(_Cell(self)) as cell:
                while not failed.is_set():
                    with taking:
                        place = next(places_left, None)
                    if place is None:
                        return
                    outcomes[place] = cell.run(calls[place])

        with ThreadPoolExecutor(max(1, min(workers, len(calls)))) as pool:
            jobs = [pool.submit(work) for _ in range(min(workers, len(calls)))]
            for job in jobs:
                try:
                    job.result()
                except BaseException:
                    failed.set()
                    raise
        return [outcomes[place] for place in range(len(calls))]


class _Cell(Child):
    """One bubblewrap with its supervisor."""

    def __init__(self, limits: Sandbox) -> None:
        output = 2 * limits.output + (1 << 16)
        super().__init__("generated code", memory=limits.memory, output=output)
        self.limits = limits
        self.complaints: IO[bytes] | None = None

    def run(self, call: Call) -> Outcome:
        """The outcome of one call. Raises SandboxError where no supervisor comes up."""
        limits = self.limits
        code = call.code.encode("utf-8", "surrogatepass")
        given = call.stdin
        if isinstance(given, str):
            given = given.encode("utf-8", "surrogatepass")
        seconds = limits.seconds if call.seconds is None else call.seconds
        self.seconds = seconds + GRACE_SECONDS
        options = {
            "code": len(code),
            "code_name": "<generated>",
            "seconds": seconds,
            "memory": limits.memory if call.memory is None else call.memory,
            "tasks": OWN_TASKS + limits.processes,
            "output": limits.output,
            "file_bytes": limits.file_bytes,
        }
        try:
            answer = self.call(code + given, **options)
        except StartError as error:
            raise SandboxError(
                f"the sandbox does not start: {self._complaint() or error.what}",
                hint="see docs/sandbox.md for what it needs",
            ) from error
        except LimitError:
            return Outcome("timed out", error="the sandbox did not answer", seconds=seconds)
        except DataError as error:
            return Outcome("killed", error=error.what)
        return _outcome(answer)

    def close(self) -> None:
        super().close()
        if self.complaints is not None:
            self.complaints.close()
            self.complaints = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        limits = self.limits
        program = (HERE / "inside.py").read_text("utf-8")
        argv = command_line(program, limits.folders, limits.file_bytes)
        if os.geteuid() == 0:
            arguments = json.dumps({"argv": argv, "places": list(places(limits.folders))})
            argv = [interpreter(), "-I", "-S", "-B", str(HERE / "launch.py"), arguments]
        if self.complaints is None:
            self.complaints = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
        return subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            env=environment,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )

    def _complaint(self) -> str:
        if self.complaints is None:
            return ""
        self.complaints.seek(0)
        return self.complaints.read(2000).decode("utf-8", "replace").strip().replace("\n", "; ")

    @property
    def host_process(self) -> int:
        """The process as the host sees it; 0 where none runs."""
        return self._process.pid if self._process is not None else 0


def _outcome(answer: Any) -> Outcome:
    if isinstance(answer, bytes) and len(answer) >= FRAME.size:
        head, size = FRAME.unpack(answer[: FRAME.size])
        start = FRAME.size + head
        facts = json.loads(answer[FRAME.size : start])
        stdout, stderr = answer[start : start + size], answer[start + size :]
        return Outcome(
            facts["status"],
            stdout.decode("utf-8", "backslashreplace"),
            stderr.decode("utf-8", "backslashreplace"),
            facts["error"],
            facts["seconds"],
        )
    raise SandboxError("the supervisor of the sandbox gave no proper answer")
