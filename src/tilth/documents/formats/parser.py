"""The parent's side of a parser of foreign bytes: a child for each thread, errors as Refused."""

from __future__ import annotations

import atexit
import signal
import threading
from typing import Any

from tilth.documents.formats.common import Refused
from tilth.errors import DataError, LimitError
from tilth.sandbox.child import Child

MEMORY = 1 << 30
# One call: a page, a PDF file, the next few megabytes of an archive.
CPU_SECONDS = 20.0
# Only a child that hangs without working comes so far.
WALL_SECONDS = 900.0

_KILLED = {f"signal {int(number)}" for number in (signal.SIGPROF, signal.SIGXCPU)}


class PerThread:
    """A child for each thread that runs `function`: it dies with the thread that started it."""

    def __init__(self, function: str, memory: int = MEMORY) -> None:
        self._function, self._memory = function, memory
        self.local = threading.local()

    def __call__(self) -> Child:
        child: Child | None = getattr(self.local, "child", None)
        if child is None:
            child = Child(self._function, memory=self._memory, seconds=WALL_SECONDS)
            self.local.child = child
            atexit.register(child.close)
        return child


def ask(child: Child, data: bytes, cpu: float | None = None, **options: Any) -> Any:
    """What the child's function says. Raises Refused where it fails or reaches a limit.

    Raises StartError where no child runs at all: that says nothing of the data.
    """
    seconds = CPU_SECONDS if cpu is None else cpu
    try:
        return child.call(data, cpu=seconds, **options)
    except LimitError as error:
        raise Refused("parser limit", error.what) from None
    except DataError as error:
        if error.what.rpartition(": ")[2] in _KILLED:
            raise Refused("parser limit", f"took longer than {seconds:g} CPU seconds") from None
        raise Refused("damaged", error.what) from None
