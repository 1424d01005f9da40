"""What `tilth tune` can be told, how its data are opened and split, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build.reading import together
from tilth.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from tilth.data.task import Task

# What `--set` knows beside data.COLUMN=NAME. 0 means: chosen as the comment says.
SETTINGS: dict[str, Any] = {
    "epochs": 0.0,  # 3, or for few data what makes `LEAST_STEPS`, at most `MOST_EPOCHS`
    "batch": 16,  # examples a step
    "learning_rate": 0.0,  # see `rate_for`
    "length": 0,  # tokens of a row: 128, or what the base takes
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "clip": 1.0,
    "dropout": 0.1,  # where the architecture has one
    "freeze": 0,  # the lowest layers, and the embeddings below them, stay as they are
    "decay": 1.0,  # rates fall by this factor a layer, from the head down
    "held_out": 0.1,
    "rank": 8,
    "alpha": 16.0,
    "lora_dropout": 0.0,
    "precision": "auto",
    "threads": 0,
    "checkpoint_every": 200,
}
LORA_ONLY = ("rank", "alpha", "lora_dropout")
WHOLE_ONLY = ("freeze", "decay")
# Columns that tell a kind; the first line whose columns are all there decides.
SIGNS = {
    "generate": (("messages",), ("prompt", "answer")),
    "tag": (("tokens", "tags"),),
    "choose": (("text", "choices", "answer"),),
    "bag": (("texts", "label"),),
    "multilabel": (("text", "labels"),),
    "pair": (("text", "other", "label"),),
    "regress": (("text", "target"),),
    "classify": (("text", "label"),),
}
# What a split to measure on is called; the first that is there, else any other beside `train`.
MEASURED_ON = ("test", "dev", "devel", "validation", "valid", "val")
LENGTH = 128
# Few data need more epochs: too few steps make fine-tuning unstable (Mosbach et al., 2021).
EPOCHS, MOST_EPOCHS, LEAST_STEPS = 3.0, 20.0, 200
MICRO_BATCH_TOKENS = 2048


def rate_for(width: int, lora: bool) -> float:
    """The highest learning rate where none is given: 5e-5 at a width of 768, more for narrower
    models, at most 1e-3; five times that for a LoRA, at most 2e-3."""
    return min(2e-3 if lora else 1e-3, 5e-5 * 768 / width * (5 if lora else 1))


def open_task(data: str, kind: str, columns: Mapping[str, str]) -> Task:
    """The labelled data, of `kind` or of the kind that their columns tell."""
    from tilth.data.labelled import columns_of
    from tilth.data.named import SETS
    from tilth.data.sets import open_data

    if kind and kind not in SIGNS:
        raise UsageError(f"there is no kind of task {kind!r}", hint=nearest(kind, SIGNS))
    if not kind and data in SETS and not Path(data).exists():
        kind = SETS[data].kind
    kind = kind or kind_by_columns(data, columns)
    for column in columns:
        if column not in (known := columns_of(kind)):
            raise UsageError(f"{kind} data has no column {column!r} to name",
                             where=f"--set data.{column}", hint=nearest(column, known))  # fmt: skip
    task: Any = open_data(data, kind, columns)
    if task.table.num_rows < 2:
        raise DataError("fewer than two rows can be used", where=data)
    return task


def kind_by_columns(data: str, columns: Mapping[str, str]) -> str:
    """The kind that the columns of a file tell. UsageError, with all of them, where none fits."""
    from tilth.data.conll import is_conll
    from tilth.data.rows import form_of, read_rows, table_files

    path = Path(data)
    if not path.exists():
        from tilth.data.named import SETS

        raise UsageError(f"{data!r} is neither a path nor a named set", hint=nearest(data, SETS))
    if path.is_file() and not form_of(path) and is_conll(path):
        return "tag"
    for _, row in read_rows(table_files(path)[0], {}, [], ()):
        names = {*row, *columns}
        for kind, signs in SIGNS.items():
            if any(names >= set(sign) for sign in signs):
                return kind
        known = "; ".join(f"{kind}: {', '.join(signs[0])}" for kind, signs in SIGNS.items())
        raise UsageError(
            f"its columns are {', '.join(map(str, row))}; known are {known}",
            where=data, hint="--set data.text=COLUMN names one",
        )  # fmt: skip
    raise DataError("holds no row", where=data)


def sides(task: Task, held_out: float, seed: int) -> tuple[Task, Task | None, str]:
    """(train, held-out, what is to be said of it): the data's own splits where there are some, else
    by group, where groups with a text in common, or nearly so, are one."""
    rows = task.splits()
    if "train" in rows:
        others = sorted(set(rows) - {"train", ""})
        rest = next((name for name in (*MEASURED_ON, *others) if name in others), None)
        unused = [f"{rows[name]:,} of {name or 'no split'}" for name in rows
                  if name not in ("train", rest)]  # fmt: skip
        said = f", the split {rest}" if rest else ""
        said += f"; not used: {', '.join(unused)}" if unused else ""
        return task.split("train"), task.split(rest) if rest else None, said
    if held_out == 0:
        return task, None, ""
    groups, repeated = together(task.table["group"].to_pylist(), task.texts())
    place = task.table.column_names.index("group")
    grouped = replace(task, table=task.table.set_column(place, "group", [groups]))
    count = len(set(groups))
    if not 0 < round(held_out * count) < count:
        raise DataError(
            f"{task.table.num_rows:,} examples in {count:,} groups are too few to hold "
            f"{held_out:.0%} of them out",
            where=task.name, hint="more examples, or --set held_out=0 to measure nothing",
        )  # fmt: skip
    parted = grouped.with_splits({"train": 1 - held_out, "test": held_out}, seed)
    said = f"; {repeated:,} repeat a text, or nearly so, and are on its side" if repeated else ""
    return parted.split("train"), parted.split("test"), said


def check(made: Mapping[str, Any], given: set[str], lora: bool) -> None:
    """Refuse values that cannot be, and settings without effect."""
    from tilth.lookup import load
    from tilth.training import SCHEDULES
    from tilth.training.precision import check as check_precision

    if not lora and (unused := sorted(given & set(LORA_ONLY))):
        raise UsageError(f"{unused[0]} has no effect without --lora", where="--set")
    if lora and (unused := sorted(given & set(WHOLE_ONLY))):
        raise UsageError(f"{unused[0]} has no effect with --lora: the base does not train",
                         where="--set")  # fmt: skip
    if not 0 < made["decay"] <= 1:
        raise UsageError(f"decay lies above 0, at most at 1, it is {made['decay']:g}",
                         where="--set")  # fmt: skip
    load("schedule", SCHEDULES, made["schedule"])
    check_precision(made["precision"])
    for name in ("warmup", "dropout", "lora_dropout", "held_out"):
        if not 0 <= made[name] < 1:
            raise UsageError(f"{name} lies from 0 to 1, it is {made[name]:g}", where="--set")
    for name in ("batch", "clip", "rank", "alpha", "checkpoint_every"):
        if not made[name] > 0:
            raise UsageError(f"{name} is above 0, not {made[name]:g}", where="--set")
    for name in ("epochs", "learning_rate", "length", "weight_decay", "threads", "freeze"):
        if made[name] < 0:
            raise UsageError(f"{name} is not below 0, it is {made[name]:g}", where="--set")
