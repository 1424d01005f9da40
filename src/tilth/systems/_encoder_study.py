"""What systems that compare ways to pre-train a small encoder share: train it, fine-tune, score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.tasks import evaluate, fine_tune
from tilth.objectives.batch import Objective
from tilth.store.digest import digest
from tilth.training.loop import History, fit


@dataclass(frozen=True)
class TaskPair:
    """A labelled task, drawn and split: `train` and `test` share no row and no group."""

    name: str
    train: Task
    test: Task


@dataclass(frozen=True)
class Tuning:
    """How every arm is fine-tuned, the same for all."""

    epochs: float = 6.0
    batch: int = 16
    rate: float = 3e-3
    length: int = 64


def pretrain(
    model: Any, objective: Objective, data: Any, *, tokens: int, batch_tokens: int, rate: float,
    seed: int,
) -> History:  # fmt: skip
    """Train in place: cosine, the learning rate of the arm, order and dropout by the seed."""
    return fit(
        model, objective, data, tokens=tokens, batch_tokens=batch_tokens, learning_rate=rate,
        micro_batch_tokens=2048, seed=seed,
    )  # fmt: skip


def tuned_value(
    model: Any, tokenizer: Any, pair: TaskPair, tuning: Tuning, seed: int
) -> tuple[float, int]:
    """(the task's own metric on the test rows after fine-tuning a copy, tokens it took)."""
    made = fine_tune(
        model, pair.train, tokenizer=tokenizer, epochs=tuning.epochs, batch=tuning.batch,
        learning_rate=tuning.rate, length=tuning.length, seed=seed,
    )  # fmt: skip
    return evaluate(made, pair.test).value, made.history.plan["tokens"]


def drawn(task: Task, name: str, train: int, test: int, seed: int) -> TaskPair:
    """Rows by a digest of (seed, group), test rows first; no group is in both.

    At most so many of each, and at least a third of the groups for tests where there are few.
    Raises DataError for too few.
    """
    rows = task.table.num_rows
    if rows < 8:
        raise DataError(f"{rows} rows are too few to learn from and to test on", where=task.name)
    groups = task.table["group"].to_pylist()
    order = sorted(range(rows), key=lambda n: (digest("drawn", seed, groups[n]), n))
    edge = min(test, rows // 3)
    while 0 < edge < rows and groups[order[edge - 1]] == groups[order[edge]]:
        edge += 1
    kept = np.random.default_rng([seed, 3]).permutation(order[edge:])[:train].tolist()
    return TaskPair(name, part(task, kept), part(task, order[:edge]))


def short(task: Task, most: int) -> Task:
    """The sentences of a tag task that have at most so many characters: longer ones would be cut
    to fit a row, and entities behind the cut could not be found by any arm."""
    tokens = task.table["tokens"].to_pylist()
    return part(task, [n for n, some in enumerate(tokens) if len(" ".join(some)) <= most])


def part(task: Task, numbers: Sequence[int]) -> Task:
    """Some rows of a task, in the order of the task."""
    return task.take(sorted(numbers))


def made_tasks(seed: int, words: Sequence[str], rows: int = 48) -> tuple[Task, Task]:
    """A tag and a classify task with known answers, for runs at scale smoke."""
    import pyarrow as pa

    from tilth.data.task import schema

    chance = np.random.default_rng(seed)
    tagged, classified = [], []
    for number in range(rows):
        tokens = list(map(str, chance.choice(words, 6)))
        own = {"id": str(number), "group": str(number), "split": ""}
        tags = ["B-X" if word == words[0] else "O" for word in tokens]
        tagged.append({**own, "tokens": tokens, "tags": tags})
        label = "yes" if words[1] in tokens else "no"
        classified.append({**own, "text": " ".join(tokens), "label": label})
    return (
        Task("tag", "made tags", pa.Table.from_pylist(tagged, schema("tag"))),
        Task("classify", "made labels", pa.Table.from_pylist(classified, schema("classify"))),
    )
