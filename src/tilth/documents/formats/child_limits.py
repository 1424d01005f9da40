"""What a parser's function needs in the child process: a limit on the CPU time of one call.

The clock on the wall is no measure of a page: on a busy machine a good page would run out of it.
Light on purpose: every child pays for what is imported here.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable
from typing import TypeVar

_Function = TypeVar("_Function", bound=Callable)


def cpu_limited(function: _Function) -> _Function:
    """Let the function take `cpu=seconds`; a call that uses more ends the process by SIGPROF.

    The process ends, since a library in the midst of its work hears of nothing else. Without
    `cpu` there is no limit.
    """

    @functools.wraps(function)
    def limited(data, *, cpu=None, **options):  # type: ignore[no-untyped-def]
        if cpu is None:
            return function(data, **options)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, cpu)
        try:
            return function(data, **options)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    return limited  # type: ignore[return-value]
