"""Texts, bases and untaught bodies of the system `well-read-students`."""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilth.data.sets import open_data, open_set
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.layers import truncate
from tilth.objectives.masked import Masked
from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.special import special_ids
from tilth.training.loop import fit


@dataclass(frozen=True)
class Setting:
    """The same for all arms. `steps` of `batch` examples, two tokens for each parameter of the
    student; `pretrain` tokens of the student."""

    steps: int = 340
    batch: int = 16
    length: int = 64
    rate: float = 1e-3  # of the teacher; those of the students are tuned, see `rates`
    dropout: float = 0.1
    pretrain: int = 700_000
    pretrain_batch: int = 1024
    pretrain_rate: float = 5e-3  # as the teacher's base

    @property
    def tokens(self) -> int:
        return self.steps * self.batch * self.length


@dataclass(frozen=True)
class Base:
    """The teacher's base (a masked model) and general text, some of it held out. `read`: tokens
    that the base was trained on, 0 where nobody knows."""

    model: Any
    tokenizer: Any
    general: TokenDocuments
    held_out: TokenDocuments | None = None
    sources: tuple[Any, ...] = ()
    source: ModelSource | None = None
    read: int = 0
    folder: str | None = None


@functools.lru_cache(maxsize=1)
def base_of(folder: str | None, texts: str) -> Base:
    """The zoo's encoder and its text, or a user's model with texts of their own or English novels;
    of those every tenth document is held out. Once a process: nobody changes it."""
    from tilth import zoo
    from tilth.models.folder import load_model, load_tokenizer

    if folder is None:
        built = zoo.model("encoder-general")
        source, read = ModelSource(built.name, built.digest, built.gate), built.record["tokens"]
        place: Any = built.folder
    else:
        place, read = folder, 0
        source = ModelSource("--model", Checkpoint.load(folder).digest)
    model, tokenizer = load_model(place, "masked", dtype="float32"), load_tokenizer(place)
    if folder is None and not texts:
        train, test = (zoo.tokens("encoder-general", split) for split in ("train", "test"))
        return Base(model, tokenizer, train, test, built.sources, source, read)
    corpus: Any = open_data(texts, "corpus") if texts else open_set("books_en")
    found = [(document.id, document.text) for document in corpus.documents()]
    data = TokenDocuments.of([i for i, _ in found], [text for _, text in found], tokenizer)
    train, test = (
        data.select([n for n in range(len(data)) if (n % 10 == 0) == held])
        for held in (False, True)
    )
    return Base(model, tokenizer, train, test, corpus.sources, source, read, folder)


def student_bodies(base: Base, layers: int, setting: Setting, seed: int) -> dict[str, Any]:
    """What students begin from, by name: `layers` of the base's layers, the same width."""
    import torch

    cut = truncate(Checkpoint.of(base.model), layers=layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(base.model)(cut.config).eval()
    read = copy.deepcopy(fresh)
    special = special_ids(base.tokenizer, base.folder)
    if special.mask is None:
        raise DataError("the model's tokenizer has no mask token", where="--model")
    ids = sorted({special.begin, special.separator, special.pad})
    objective = Masked(length=setting.length, rate=0.3, mask=special.mask, special=ids)
    fit(
        read, objective, base.general, tokens=setting.pretrain,
        batch_tokens=setting.pretrain_batch, learning_rate=setting.pretrain_rate, seed=seed,
    )  # fmt: skip
    return {"fresh": fresh, "pre-trained": read, "truncated": cut.model()}


def sides(task: Task, labelled: int, test: int, seed: int) -> tuple[Task, Task, Task]:
    """(labelled, transfer without labels, test)."""
    few, rest, tested = divided(task, labelled, test, seed)
    return few, without_labels(rest), tested


def divided(task: Task, labelled: int, test: int, seed: int) -> tuple[Task, Task, Task]:
    """The test rows are those of every seed; a group stays together."""
    groups = task.table["group"].to_pylist()
    order = sorted(set(groups), key=lambda g: (digest("test", g), g))
    numbers: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        numbers.setdefault(group, []).append(row)
    tested: list[int] = []
    while order and len(tested) < min(test, len(groups) // 3):
        tested += numbers[order.pop(0)]
    order.sort(key=lambda g: (digest("labelled", seed, g), g))
    rest = [row for group in order for row in numbers[group]]
    if len(rest) < 2 * labelled:
        raise DataError(
            f"{len(groups):,} rows give {labelled:,} with labels and no larger rest without",
            where=task.name, hint="more rows, or --set labelled=100",
        )  # fmt: skip
    cut = labelled
    while groups[rest[cut]] == groups[rest[cut - 1]]:
        cut += 1
        if cut == len(rest):
            raise DataError("one group holds all that is left", where=task.name)
    parts = rest[:cut], rest[cut:], tested
    few, many, test = (task.take(sorted(numbers)) for numbers in parts)
    return few, many, test


def without_labels(task: Task) -> Task:
    """The same texts, every label empty: what a transfer set is."""
    import pyarrow as pa

    place = task.table.column_names.index("label")
    empty = pa.array([""] * task.table.num_rows, pa.large_string())
    return replace(task, table=task.table.set_column(place, "label", empty))


def made_task(rows: int = 90) -> Task:
    """Texts of two kinds of weather, for runs at scale smoke."""
    import pyarrow as pa

    words = {"wet": "rain storm sea cloud".split(), "dry": "sun sand wind heat".split()}
    rng = np.random.default_rng(0)
    labels = [("wet", "dry")[n % 2] for n in range(rows)]
    texts = [" ".join(rng.choice(words[label], 6)) for label in labels]
    ids = [str(n) for n in range(rows)]
    table = {"id": ids, "text": texts, "label": labels, "group": ids, "split": [""] * rows}
    return Task("classify", "made", pa.table(table), licence="none: made here")
