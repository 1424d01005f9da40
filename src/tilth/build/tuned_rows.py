"""Which rows of data a tuned assistant is measured on: those it did not learn from, where known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tilth.build.output import RECORD
from tilth.build.tune_settings import MEASURED_ON, sides
from tilth.store.write import read_json

if TYPE_CHECKING:
    from tilth.data.task import Task


def rows_to_measure(folder: str | Path, task: Task, split: str = "") -> tuple[Task, str]:
    """(rows, what is to be said of them): the split asked for, else the test split of the data.

    Data without splits that the folder was tuned on (`training.json` says so, by digest) are parted
    as the tuning parted them; of any other data all rows are taken.
    """
    if split:
        return task.split(split), f"the split {split}"
    if name := next((name for name in MEASURED_ON if name in task.splits()), ""):
        return task.split(name), f"the split {name}"
    request = _request(Path(folder))
    if request.get("kind") == "generate":
        from tilth.build.instructions import usable

        known = usable(folder, task)
        if request.get("data") == known.digest:
            held_out = float(request["settings"]["held_out"])
            _, test, _ = sides(known, held_out, int(request["seed"]))
            if test is not None:
                return test, "those that its tuning held out"
            return task, "all, and it was tuned on them"
    return task, "all"


def _request(folder: Path) -> dict:
    """What a folder of `tilth tune` was asked for; empty for any other folder."""
    path = folder / RECORD
    record = read_json(path) if path.is_file() else None
    request = record.get("request") if isinstance(record, dict) else None
    return request if isinstance(request, dict) else {}
