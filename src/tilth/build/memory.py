"""What a training needs at the very least, against what the machine has free: before a model is
built, because a process that is killed for memory says nothing.

In float32 a parameter that trains takes 16 bytes (itself, its gradient, both moments of AdamW), one
that does not 4. Activations come on top: `training.plan` says them once the model is there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tilth.errors import DataError, LimitError

TRAINED, HELD = 16, 4
GROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Bytes that a process can still take here; None where the system does not say.

    What Linux calls available (files that it may drop count as free), or less where the control
    group of this container is given less.
    """
    free = _meminfo()
    try:
        most = int((GROUP / "memory.max").read_text())
        used = int((GROUP / "memory.current").read_text())
        rows = (line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        droppable = next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)
    except (OSError, ValueError):  # no such group, or `max`: no limit
        return free
    left = max(0, most - used + droppable)
    return left if free is None else min(free, left)


def _meminfo() -> int | None:
    try:
        rows = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(row.split()[1]) * 1024 for row in rows if row.startswith("MemAvail")), None)


def refuse_too_large(
    parameters: int, *, trained: int | None = None, where: str = "", hint: str = ""
) -> None:
    """Raise LimitError, with both numbers, where the weights alone do not fit in free memory.

    `trained`: how many of the `parameters` train; all of them where it is None.
    """
    trained = parameters if trained is None else trained
    needed, free = TRAINED * trained + HELD * (parameters - trained), available()
    if free is not None and needed > free:
        raise LimitError(
            f"{parameters:,} parameters take {needed / 1e9:,.1f} GB to train, activations left "
            f"out; {free / 1e9:,.1f} GB of memory are free here",
            where=where, hint=hint,
        )  # fmt: skip


def refuse_plan(plan: Mapping[str, Any], hint: str = "") -> None:
    """As `refuse_too_large` for a model that is there, of what its `training.plan` says: gradients,
    moments and activations are still to come."""
    needed, free = plan["memory_bytes"] - HELD * plan["parameters"], available()
    if free is not None and needed > free:
        raise LimitError(
            f"{plan['micro_batch_rows']:,} rows of {plan['row_tokens']:,} tokens at a time take "
            f"{needed / 1e9:,.1f} GB beside the model's {HELD * plan['parameters'] / 1e9:,.1f}; "
            f"{free / 1e9:,.1f} GB of memory are free here",
            hint=hint,
        )  # fmt: skip


def parameters_in(folder: str | Path) -> int:
    """Numbers in the weight files of a model folder, from their headers alone.

    Raises DataError where there are none, DamagedError where a header does not agree.
    """
    from tilth.models.safetensors_header import check_header
    from tilth.models.weight_files import weight_files

    if not (Path(folder) / "config.json").is_file():
        raise DataError("holds no model: there is no config.json", where=str(folder))
    headers: list[dict[str, Any]] = [check_header(path) for path in weight_files(Path(folder))]
    return sum(math.prod(entry["shape"]) for header in headers for entry in header.values())


def parameters_by_dial(size: str, encoder: str, vocabulary: int, context: int) -> int:
    """How many a new model of this size will have: a decoder, or an `encoder` of that kind.

    Raises UsageError where no shape comes near the size.
    """
    from tilth.models import decoder, encoders

    if not encoder:
        return decoder.parameters_of(*decoder.shape_of(size, vocabulary), vocabulary)
    width, layers = encoders.shape_of(size, encoder, vocabulary, context)
    return encoders.parameters_of(encoder, width, layers, vocabulary, context)
