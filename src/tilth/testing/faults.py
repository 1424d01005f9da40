"""Faults in the one writer: stop a process dead at any moment of any write.

    list_moments(work)           the moments of an undisturbed run, with the paths
    count_moments(work)          the same with names of files
    run_until(work, strike)      run in a forked child that dies at that moment
    run_for(work, seconds)       run in a forked child that is killed after so long

A child is forked, so `work` may be any callable; the caller must not have started threads.
"""

from __future__ import annotations

import os
import select
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from tilth.store import write

Work = Callable[[], object]


def list_moments(work: Work) -> list[tuple[str, Path]]:
    """Run `work` here; every (moment, path) at which a fault could strike, in order."""
    moments: list[tuple[str, Path]] = []
    write.fault = lambda moment, path: moments.append((moment, path))
    try:
        work()
    finally:
        write.fault = None
    return moments


def count_moments(work: Work) -> list[tuple[str, str]]:
    """Run `work` here; every (moment, file name) at which a fault could strike, in order."""
    return [(moment, path.name) for moment, path in list_moments(work)]


Strike = int | Callable[[str, Path], bool]


def run_until(work: Work, strike: Strike) -> bool:
    """Run `work` in a forked child that is killed at moment number `strike`, counted from 0, or at
    the first (moment, path) for which `strike` is true.

    True where it was killed, False where it finished before. Raises AssertionError where the child
    ended in any other way.
    """
    seen = 0

    def fault(moment: str, path: Path) -> None:
        nonlocal seen
        if seen == strike if isinstance(strike, int) else strike(moment, path):
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    return _was_killed(os.waitpid(_fork(work, fault), 0)[1])


def run_for(work: Work, seconds: float) -> bool:
    """Run `work` in a forked child and kill it after `seconds`; True where that came in time."""
    child = _fork(work, None)
    # The process's file descriptor becomes readable when it ends: nothing is polled.
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
    return _was_killed(os.waitpid(child, 0)[1])


def _fork(work: Work, fault: Callable[[str, Path], None] | None) -> int:
    child = os.fork()
    if child == 0:
        write.fault = fault
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            # No clean-up of the parent's copies (buffers, pools) may run in the child.
            os._exit(code)
    return child


def _was_killed(status: int) -> bool:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    assert os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0, f"the child failed: {status}"
    return False


def tree(folder: str | Path, ignore: tuple[str, ...] = (".lock", "events.jsonl")) -> dict[str, str]:
    """Every file below a folder with its SHA-256, to compare two results byte for byte."""
    from tilth.store.digest import sha256_file

    folder = Path(folder)
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ignore
    }
