"""Where blocks are worked on. The bytes made are the same for any executor and worker count."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def available_cores() -> int:
    """Cores that this process may use; containers and `taskset` count."""
    return len(os.sched_getaffinity(0))


class LocalExecutor:
    """Processes on this machine (joblib's loky: scripts need no `__main__` guard).

    With one worker, or one item, everything runs in this process.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or available_cores()

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Iterator[tuple[int, Any]]:
        if self.workers == 1 or len(items) <= 1:
            yield from ((number, function(item)) for number, item in enumerate(items))
            return
        from joblib import Parallel, delayed

        # Where psutil is installed, loky replaces workers that have grown, and warns of it in a
        # thread of its own. That is harmless, unless warnings are errors: then the thread is gone,
        # and the answer never comes.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        pool = Parallel(
            n_jobs=min(self.workers, len(items)),
            backend="loky",
            return_as="generator_unordered",
            pre_dispatch="2*n_jobs",
            batch_size=1,
            # Big arguments are paths and small lists; nothing is worth a memory map.
            max_nbytes=None,
        )
        yield from pool(
            delayed(_numbered)(function, number, item) for number, item in enumerate(items)
        )


def _numbered(function: Callable[[Any], Any], number: int, item: Any) -> tuple[int, Any]:
    return number, function(item)
