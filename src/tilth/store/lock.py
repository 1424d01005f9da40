"""One process a folder: an advisory lock that the system drops when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tilth.errors import LockedError

NAME = ".lock"


@contextlib.contextmanager
def lock(folder: str | Path) -> Iterator[None]:
    """Hold the folder. Raises LockedError, naming the process, where another one holds it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            raise LockedError(
                f"process {holder} is working on this folder",
                where=str(folder),
                hint="wait for it, or end it",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
