"""What systems share that time the engine: its modules, and threads for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

# What decides how long a step takes, and so every ratio of steps: for `Card.modules`.
ENGINE = ("tilth.serving.compiled", "tilth.serving.kernels", "tilth.serving.model_runner",
          "tilth.serving.products")  # fmt: skip


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many for torch, while this lasts: what is timed on one thread leaves others alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
