"""Samples, rates and repeats of the system `biomed-finetuning`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilth.data.sets import Source, digest_path, open_set
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune
from tilth.models.checkpoint import Checkpoint
from tilth.models.heads import dropout_settings
from tilth.models.surgery.reinitialise import reinitialise
from tilth.store.digest import digest
from tilth.training.fine_tuning import freeze_lower
from tilth.training.policy import layerwise

ARM_NAMES = ("plain", "freeze", "decay", "re-initialise")
TUNING_SEED = 999


@dataclass(frozen=True)
class Setting:
    """One fine-tuning: how the arms differ lies in `layers`, `factor`, `top`."""

    epochs: float = 8
    batch: int = 8
    length: int = 64
    layers: int = 1
    factor: float = 0.8
    top: int = 1
    dropout: float = 0.1


@dataclass(frozen=True)
class Inputs:
    """`train`: the few labelled sentences of this seed; `rates`: arm -> its tuned rate."""

    base: Any
    tokenizer: Any
    train: Task
    test: Task
    rates: dict[str, float]
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
    """`count` rows by a digest of (seed, id); at least a share of them has an entity."""
    order = sorted(range(task.table.num_rows), key=lambda n: digest("sample", seed, n))
    tags = task.table["tags"].to_pylist()
    marked = [n for n in order if set(tags[n]) != {"O"}]
    if len(order) < count or not marked:
        raise DataError(f"{task.name} has {len(order)} rows, {count} are asked for")
    chosen = marked[: int(least * count)]
    chosen += [n for n in order if n not in set(chosen)][: count - len(chosen)]
    return task.take(sorted(chosen))


def rates_of(
    base: Any, tokenizer: Any, pool: Task, count: int, test: int, setting: Setting,
    candidates: Sequence[float], repeats: int = 1,
) -> dict[str, float]:  # fmt: skip
    """Arm -> the candidate with the best mean entity F1 on sentences that no seed uses."""
    few, held = sample(pool, count, TUNING_SEED), sample(pool, test, TUNING_SEED + 1)
    held = _without(held, few)
    chosen = {}
    for arm in ARM_NAMES:
        scores = [
            np.mean([
                evaluate(tuned(arm, base, tokenizer, few, setting, rate, seed), held).value
                for seed in range(TUNING_SEED, TUNING_SEED + repeats)
            ])
            for rate in candidates
        ]  # fmt: skip
        chosen[arm] = candidates[int(np.argmax(scores))]
    return chosen


def _without(task: Task, other: Task) -> Task:
    taken = set(other.table["id"].to_pylist())
    ids = task.table["id"].to_pylist()
    return task.take([n for n, id in enumerate(ids) if id not in taken])


@functools.lru_cache(maxsize=1)
def medical(sentences: int, test: int, setting: Setting, candidates: tuple) -> tuple:
    """(base, tokenizer, train pool, test, rates, sources, model): once a process."""
    from tilth import zoo
    from tilth.models.folder import load_model, load_tokenizer

    built = zoo.model("encoder-bio")
    task = open_set("bio_ner_ncbi")
    assert isinstance(task, Task)
    base, tokenizer = (
        load_model(built.folder, "masked", dtype="float32"),
        load_tokenizer(built.folder),
    )
    pool, held = task.split("train"), sample(task.split("devel"), test, 0)
    rates = rates_of(base, tokenizer, pool, sentences, 2 * test, setting, candidates)
    sources = {*task.sources, *built.sources}
    source = ModelSource(built.name, built.digest, built.gate)
    return base, tokenizer, pool, held, rates, tuple(sorted(sources)), source


_own: dict[tuple, tuple] = {}


def own(
    folder: str | None, data: Task | None, sentences: int, test: int, setting: Setting,
    candidates: tuple,
) -> tuple:  # fmt: skip
    """As `medical`, of a user's model, data or both; once a process."""
    digests = digest_path(folder) if folder else "", data.digest if data else ""
    key = (*digests, sentences, test, setting, candidates)
    if key not in _own:
        _own.clear()
        _own[key] = _of_ones_own(folder, data, sentences, test, setting, candidates)
    return _own[key]


def _of_ones_own(
    folder: str | None, data: Task | None, sentences: int, test: int, setting: Setting,
    candidates: tuple,
) -> tuple:  # fmt: skip
    from tilth.models.folder import load_model, load_tokenizer

    if folder is None:
        base, tokenizer, _, _, _, _, source = medical(sentences, test, setting, candidates)
        sources: tuple[Source, ...] = ()
    else:
        base, tokenizer = load_model(folder, "encoder", dtype="float32"), load_tokenizer(folder)
        source, sources = ModelSource(Path(folder).name, digest_path(folder)), ()
    task = open_set("bio_ner_ncbi") if data is None else data
    assert isinstance(task, Task)
    names = [name for name in task.splits() if name]
    if "train" in names and len(names) > 1:
        pool = task.split("train")
        held = task.split(next(name for name in ("test", "dev", "devel", *names) if name in names
                               and name != "train"))  # fmt: skip
    else:
        both = task.with_splits({"train": 0.7, "test": 0.3})
        pool, held = both.split("train"), both.split("test")
    held = sample(held, min(test, held.table.num_rows), 0)
    sentences = min(sentences, pool.table.num_rows // 2)
    rates = rates_of(base, tokenizer, pool, sentences, min(2 * test, pool.table.num_rows), setting,
                     candidates)  # fmt: skip
    return base, tokenizer, pool, held, rates, (*task.sources, *sources), source
