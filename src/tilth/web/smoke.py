"""The smoke scale of a system in a child process: one at a time, under limits, to be watched.

    smokes = Smokes(cards, key="...")
    run = smokes.start("spgc")          # python -m tilth run spgc --scale smoke
    run.lines, run.state                # as it goes; `changed` waits for more

Nothing of the command line comes from a request but the slug, which must be one of the table. The
child has a process group of its own, limits on address space and CPU, and of the environment only
what `PASSED` names: no secret of the server. Time by the clock is watched from outside. What it
prints is kept as text up to a length and escaped where it is drawn.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Sequence

from tilth.serving.refusal import Refused

# Seconds by the clock and of CPU, bytes of address space; lines, and letters of a line, kept.
SECONDS, CPU, MEMORY = 300.0, 900, 8 << 30
LINES, LETTERS = 2000, 500
# Seconds from asking a child to end to ending it; finished runs that are kept.
GRACE, KEPT = 3.0, 20
# What a child sees of the environment. A list of what it may see, not of what it may not: keys lie
# under names that the user chose.
PASSED = frozenset({
    "PATH", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "HOME", "USER", "TMPDIR", "TZ", "LANG",
    "LC_ALL", "LC_CTYPE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TILTH_HOME", "TILTH_DATA", "HF_HOME",
    "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
})  # fmt: skip


class Smoke:
    """One run. `state`: running, finished, failed, cancelled or out of time. `code`: how it ended.

    `lines` only grows. All may be read from any thread.
    """

    def __init__(self, number: int, slug: str, command: Sequence[str], seconds: float) -> None:
        self.number, self.slug, self.state = number, slug, "running"
        self.lines: list[str] = []
        self.code: int | None = None
        self.seconds = 0.0
        self._wanted = "failed"  # What it is where it does not end well.
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()
        environment = {name: value for name, value in os.environ.items() if name in PASSED}
        # No module of the folder that the server was started in is taken for one of Python's.
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1", "TERM": "dumb"}
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment, start_new_session=True,
        )  # fmt: skip
        with contextlib.suppress(OSError):  # It may be through already.
            resource.prlimit(self._process.pid, resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (CPU, CPU))
        self._timer = threading.Timer(seconds, self._end, ["out of time"])
        self._timer.daemon = True
        self._timer.start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self.state == "running"

    def cancel(self) -> None:
        """End it; nothing happens where it is through."""
        self._end("cancelled")

    def wait(self, seconds: float) -> bool:
        """Whether it is through within so many seconds."""
        self._reader.join(seconds)
        return not self._reader.is_alive()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[asyncio.Event]:
        """An event of this loop that is set at every change; clear it before looking."""
        listener = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener[1]
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @property
    def watchers(self) -> int:
        return len(self._listeners)

    def _end(self, why: str) -> None:
        with self._lock:
            if self.state != "running" or self._wanted != "failed":
                return
            self._wanted = why
        self._signal(signal.SIGTERM)
        killer = threading.Timer(GRACE, self._signal, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def _signal(self, number: int) -> None:
        """To the whole group. Its name is nobody else's until `_read` has waited for its leader."""
        with self._lock:
            if self.state == "running":
                os.killpg(self._process.pid, number)

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        for line in iter(lambda: pipe.readline(4 * LETTERS), b""):
            if len(self.lines) < LINES:
                text = line.decode("utf-8", "replace").rstrip("\n")
                kept = "".join(c for c in text if c.isprintable() or c == "\t")
                self.lines.append(kept[:LETTERS])
                self._tell()
        pipe.close()
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self._timer.cancel()
        with self._lock:
            # What it started and left behind ends with it.
            os.killpg(self._process.pid, signal.SIGKILL)
            self.code = self._process.wait()
            self.seconds = time.monotonic() - self._began
            self.state = "finished" if self.code == 0 else self._wanted
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for loop, event in listeners:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(event.set)


class Smokes:
    """`slugs`: of all systems. `program`: what runs them; another one only in tests."""

    def __init__(
        self, slugs: Collection[str], *, seconds: float = SECONDS, program: Sequence[str] = ()
    ) -> None:
        self._slugs, self._seconds = frozenset(slugs), seconds
        self._program = list(program) or [sys.executable, "-m", "tilth"]
        self._runs: OrderedDict[int, Smoke] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def current(self) -> Smoke | None:
        """The run that goes on."""
        # A list, made at once: another thread may begin a run meanwhile.
        return next((run for run in list(self._runs.values()) if run.running), None)

    def start(self, slug: str) -> Smoke:
        """Begin one. Raises Refused for a slug that is not in the table, and where one runs."""
        if slug not in self._slugs:
            raise Refused(404, "this paper has no system to run", code="not_found")
        with self._lock:
            if self._closed:
                raise Refused(503, "the server is about to end")
            if self.current is not None:
                raise Refused(409, f"{self.current.slug} is running; one runs at a time")
            number = next(reversed(self._runs), 0) + 1
            command = [*self._program, "run", slug, "--scale", "smoke"]
            run = self._runs[number] = Smoke(number, slug, command, self._seconds)
            if len(self._runs) > KEPT:
                self._runs.popitem(last=False)
            return run

    def find(self, number: str) -> Smoke:
        """The run of a number. Raises Refused where there is none, or no more."""
        # Python makes no number of thousands of digits.
        counts = number.isascii() and number.isdigit() and len(number) < 9
        found = self._runs.get(int(number)) if counts else None
        if found is None:
            raise Refused(404, "there is no such run, or no more", code="not_found")
        return found

    def stop(self) -> None:
        """End what runs and begin nothing more."""
        with self._lock:
            self._closed, run = True, self.current
        if run is not None:
            run.cancel()
            run.wait(2 * GRACE)
