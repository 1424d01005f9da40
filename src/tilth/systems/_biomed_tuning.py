"""Samples, rates, repeats and exact properties of the system `biomed-finetuning`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tilth.data.sets import Source, digest_path, open_set
from tilth.data.task import Task, schema
from tilth.errors import DataError
from tilth.evaluation.card import Invariant, Measured, ModelSource
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune
from tilth.models.checkpoint import Checkpoint
from tilth.models.heads import dropout_settings
from tilth.models.surgery.reinitialise import reinitialise
from tilth.store.digest import digest
from tilth.training.fine_tuning import freeze_lower
from tilth.training.policy import applied, block_of, layerwise

ARM_NAMES = ("plain", "freeze", "decay", "re-initialise")
TUNING_SEED = 999


@dataclass(frozen=True)
class Setting:
    """One fine-tuning: how the arms differ lies in `layers`, `factor`, `top`."""

    epochs: float = 6
    batch: int = 8
    length: int = 64
    layers: int = 1
    factor: float = 0.8
    top: int = 1
    dropout: float = 0.1


@dataclass(frozen=True)
class Start:
    """What all seeds share. `pool`: sentences of which each seed draws; `test`: those all are
    tested on; `rates`: arm -> its rate, chosen on sentences that are in neither. `read`: tokens
    that the base was trained on, 0 where nobody knows."""

    base: Any
    tokenizer: Any
    pool: Task
    test: Task
    rates: Mapping[str, float]
    sources: tuple[Source, ...]
    model: ModelSource | None
    read: int = 0


@dataclass(frozen=True)
class Inputs:
    """`train`: the few labelled sentences of this seed."""

    start: Start
    train: Task
    repeats: int
    setting: Setting


def tuned(
    arm: str, base: Any, tokenizer: Any, task: Task, setting: Setting, rate: float, seed: int
) -> TaskModel:
    """One fine-tuning by an arm's policy."""
    policy = None
    if arm == "freeze":
        policy = functools.partial(freeze_lower, layers=setting.layers)
    elif arm == "decay":
        policy = functools.partial(layerwise, factor=setting.factor)
    elif arm == "re-initialise" and setting.top:
        base = reinitialise(Checkpoint.of(base), layers=setting.top, seed=seed).model()
    return fine_tune(
        base, task, tokenizer=tokenizer, epochs=setting.epochs, batch=setting.batch,
        learning_rate=rate, seed=seed, policy=policy, length=setting.length,
        settings=dropout_settings(base.config, setting.dropout),
    )  # fmt: skip


def sample(task: Task, count: int, seed: int, *, least: float = 0.3) -> Task:
    """`count` rows by a digest of (seed, row); at least a share of them has an entity."""
    order = sorted(range(task.table.num_rows), key=lambda n: digest("sample", seed, n))
    tags = task.table["tags"].to_pylist()
    marked = [n for n in order if set(tags[n]) != {"O"}]
    if len(order) < count or not marked:
        raise DataError(f"{task.name} has {len(order)} rows, {count} are asked for")
    chosen = marked[: int(least * count)]
    chosen += [n for n in order if n not in set(chosen)][: count - len(chosen)]
    return task.take(sorted(chosen))


def set_aside(pool: Task, rows: int) -> tuple[Task, Task]:
    """(about `rows` rows to choose rates with, the rest for the seeds); no group is in both."""
    groups = pool.table["group"].to_pylist()
    order = sorted(range(len(groups)), key=lambda n: (digest("aside", groups[n]), n))
    edge = rows
    while 0 < edge < len(order) and groups[order[edge - 1]] == groups[order[edge]]:
        edge += 1
    return pool.take(sorted(order[:edge])), pool.take(sorted(order[edge:]))


def rates_of(
    base: Any, tokenizer: Any, aside: Task, count: int, setting: Setting,
    candidates: Sequence[float],
) -> dict[str, float]:  # fmt: skip
    """Arm -> the candidate with the best entity F1, tuned on `count` of the rows set aside and
    tested on the others."""
    few = sample(aside, count, TUNING_SEED)
    taken = set(few.table["id"].to_pylist())
    ids = aside.table["id"].to_pylist()
    held = aside.take([n for n, id in enumerate(ids) if id not in taken])
    chosen = {}
    for arm in ARM_NAMES:
        scores = [
            evaluate(tuned(arm, base, tokenizer, few, setting, rate, TUNING_SEED), held).value
            for rate in candidates
        ]
        chosen[arm] = candidates[int(np.argmax(scores))]
    return chosen


_starts: dict[tuple, Start] = {}


def start(
    folder: str | None, data: Task | None, sentences: int, test: int, setting: Setting,
    candidates: tuple[float, ...],
) -> Start:  # fmt: skip
    """Base, data and rates: the zoo's and NCBI's, or a user's model, data or both. Once a process.

    `setting` with `layers` 0 freezes half of the base's layers.
    """
    digests = digest_path(folder) if folder else "", data.digest if data else ""
    key = (*digests, sentences, test, setting, candidates)
    if key not in _starts:
        base, tokenizer, read, model, sources = _opened(folder)
        task = open_set("bio_ner_ncbi") if data is None else data
        assert isinstance(task, Task)
        pool, held = _two(task)
        rates = dict.fromkeys(ARM_NAMES, candidates[0])
        if len(candidates) > 1:
            aside, pool = set_aside(pool, min(3 * sentences, pool.table.num_rows // 3))
            few = min(sentences, aside.table.num_rows // 2)
            rates = rates_of(base, tokenizer, aside, few, halved(setting, base), candidates)
        held = sample(held, min(test, held.table.num_rows), 0)
        found = tuple(sorted({*task.sources, *sources}))
        _starts.clear()
        _starts[key] = Start(base, tokenizer, pool, held, rates, found, model, read)
    return _starts[key]


def halved(setting: Setting, base: Any) -> Setting:
    """With half of the base's layers to freeze, where no number is given."""
    return replace(setting, layers=setting.layers or base.config.num_hidden_layers // 2)


def _opened(folder: str | None) -> tuple[Any, Any, int, ModelSource, tuple[Source, ...]]:
    """(base, tokenizer, tokens it has read, what it is, its data)."""
    from tilth import zoo
    from tilth.models.folder import load_model, load_tokenizer

    if folder is not None:
        model = ModelSource(Path(folder).name, digest_path(folder))
        base = load_model(folder, "encoder", dtype="float32")
        return base, load_tokenizer(folder), 0, model, ()
    built = zoo.model("encoder-bio")
    model = ModelSource(built.name, built.digest, built.gate)
    base = load_model(built.folder, "masked", dtype="float32")
    return base, load_tokenizer(built.folder), built.record["tokens"], model, built.sources


def _two(task: Task) -> tuple[Task, Task]:
    """(rows to learn from, rows to test on): by the task's splits, else a third of its groups."""
    names = [name for name in task.splits() if name]
    if "train" in names and len(names) > 1:
        other = next(name for name in ("devel", "dev", "test", *names)
                     if name in names and name != "train")  # fmt: skip
        return task.split("train"), task.split(other)
    both = task.with_splits({"train": 0.7, "test": 0.3})
    return both.split("train"), both.split("test")


def smoke(seed: int) -> Inputs:
    """Sentences in which one word is an entity, and a base with random weights."""
    import pyarrow as pa

    from tilth.zoo import tiny

    base, tokenizer, _ = tiny("masked")
    words = "file name list object string return value error path read".split()
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(60):
        tokens = list(map(str, chance.choice(words, 5)))
        tags = ["B-X" if word == "error" else "O" for word in tokens]
        own = str(number)
        rows.append({"id": own, "tokens": tokens, "tags": tags, "group": own, "split": ""})
    task = Task("tag", "made", pa.Table.from_pylist(rows, schema("tag")))
    train, test = (sample(task.take(range(n, n + 30)), 24, 0) for n in (0, 30))
    rates = dict.fromkeys(ARM_NAMES, 5e-3)
    start = Start(base, tokenizer, train, test, rates, (), None)
    return Inputs(start, train, 2, Setting(epochs=4, batch=8, length=16, layers=1))


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterator[Invariant]:
    """What is frozen is bit-equal, rates follow the formula, neutral settings change nothing."""
    import torch

    setting, start = inputs.setting, inputs.start
    before = start.base.base_model.state_dict()
    after = measured["freeze"].products["model"].model.base_model.state_dict()

    def lower(name: str) -> bool:
        block = block_of(name)
        return name.startswith("embed") or (block is not None and block < setting.layers)

    same = [torch.equal(before[name], after[name]) for name in after if lower(name)]
    moved = [not torch.equal(before[n], after[n]) for n in after if block_of(n) is not None
             and not lower(n) and n.endswith("weight")]  # fmt: skip
    yield Invariant(
        "frozen tensors are bit-equal, the others moved", all(same) and bool(moved) and all(moved)
    )
    model = measured["decay"].products["model"].model
    with applied(layerwise(model, setting.factor), model) as trained:
        top = 1 + max(n for one in trained if (n := block_of(one.name)) is not None)
        good = [abs(one.rate - setting.factor ** (top - n)) < 1e-12 for one in trained
                if (n := block_of(one.name)) is not None]  # fmt: skip
    yield Invariant("the rate of every layer is the factor to the power of its depth", all(good))
    yield Invariant("some layers are frozen, and not all", 0 < setting.layers < top)
    old = Checkpoint.of(start.base)
    new = reinitialise(old, layers=setting.top, seed=1)
    changed = {n for n in old.tensors if not torch.equal(old.tensors[n], new.tensors[n])}
    blocks = {block_of(name) for name in changed if "pooler" not in name}
    yield Invariant("only the top layers are drawn anew", blocks == set(range(top)[-setting.top :]))
    neutral = replace(setting, layers=0, factor=1.0, top=0, epochs=2 + 80 / len(inputs.train.table))
    few = [
        tuned(name, start.base, start.tokenizer, inputs.train, neutral, 1e-3, 5)
        for name in ARM_NAMES
    ]
    states = [one.model.state_dict() for one in few]
    equal = all(torch.equal(states[0][name], s[name]) for s in states[1:] for name in states[0])
    yield Invariant("no layer, a factor of 1 and no layer give plain fine-tuning, bit for bit",
                    equal)  # fmt: skip
    spent = {one.products["tuned"] for one in measured.values()}
    yield Invariant("every arm is tuned on as many tokens", len(spent) == 1)
    ids = [set(task.table["id"].to_pylist()) for task in (inputs.train, start.test)]
    yield Invariant("no sentence is learned and tested", not ids[0] & ids[1])
