"""A tuned model from a base folder and labelled data: the whole model, or a LoRA beside it.

The head is that of `transformers` for the kind of task (`evaluation.tasks`); chat messages are
learned by `objectives` for instructions, prompts masked. Where the data have no split a share of
their groups is held out before anything is fitted; the metric is measured there, beside that of
always giving the most frequent label. Killed at any time, the same call goes on.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output
from tilth.build.train_settings import digest_of
from tilth.errors import DataError, UsageError, nearest
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    "held_out": 0.1,
    "rank": 8,
    "alpha": 16.0,
    "lora_dropout": 0.0,
    "precision": "auto",
    "threads": 0,
    "checkpoint_every": 200,
}
LORA_ONLY = ("rank", "alpha", "lora_dropout")
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
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
LENGTH = 128
# Few data need more epochs: too few steps make fine-tuning unstable (Mosbach et al., 2021).
EPOCHS, MOST_EPOCHS, LEAST_STEPS = 3.0, 20.0, 200
MICRO_BATCH_TOKENS = 2048


def rate_for(width: int, lora: bool) -> float:
    """The highest learning rate where none is given: 5e-5 at a width of 768, more for narrower
    models, at most 1e-3; five times that for a LoRA, at most 2e-3."""
    return min(2e-3 if lora else 1e-3, 5e-5 * 768 / width * (5 if lora else 1))


def tune_model(
    base: str | Path,
    data: str,
    out: str | Path,
    *,
    kind: str = "",
    lora: bool = False,
    seed: int = 0,
    settings: Sequence[str] = (),
    plan_only: bool = False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Tune and save; returns the record that `training.json` holds.

    `data`: a path or a named set; `kind` of the task, by its columns where "". `settings` hold
    `data.COLUMN=NAME` too. Raises TilthErrors, before anything is written where what is given is
    wrong.
    """
    from tilth.evaluation.given import parse_settings
    from tilth.training.plan import sentence

    plain = [pair for pair in settings if not pair.startswith("data.")]
    _, columns = parse_settings([pair for pair in settings if pair.startswith("data.")])
    made = output.checked(SETTINGS, plain)
    _check(made, {pair.partition("=")[0] for pair in plain}, lora)
    task = open_task(data, kind, columns)
    if lora and task.kind == "bag":
        raise UsageError("a bag's network does not go into an adapter", hint="without --lora")
    train, test = sides(task, made["held_out"], seed)
    request = {
        "command": "tune", "data": task.digest, "kind": task.kind, "base": digest_of(base),
        "lora": lora, "seed": seed, "settings": made,
    }  # fmt: skip
    start = _start(base, train, made, lora, seed)
    if not plan_only and Path(out).is_dir() and any(Path(out).iterdir()):
        output.claim(out, request)
    plan = _estimate(start, made)
    say(f"{task.kind}, {train.table.num_rows:,} examples, {_rows(test)} held out")
    say(sentence(plan))
    if plan_only:
        return {"request": request, "plan": plan}
    with output.work(out, request) as (folder, done):
        if done is not None:
            say(f"{out} is tuned already, with the same settings and data")
            return done
        plan = output.remember(folder, plan=plan)["plan"]
        return _run(folder, start, plan, test, made, seed, progress, say)


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


def sides(task: Task, held_out: float, seed: int) -> tuple[Task, Task | None]:
    """(train, held-out): the data's own splits where there are some, else by group."""
    named = set(task.splits()) - {""}
    if "train" in named:
        rest = next((name for name in ("test", "dev", "validation") if name in named), None)
        return task.split("train"), task.split(rest) if rest else None
    if held_out == 0:
        return task, None
    parted = task.with_splits({"train": 1 - held_out, "test": held_out}, seed)
    return parted.split("train"), parted.split("test")


@dataclass
class _Started:
    """All that a tuning starts from; `adapter` where it is a LoRA."""

    kind: str
    base: Path
    model: PreTrainedModel
    tokenizer: Any
    objective: Any
    data: Any
    adapter: Any
    budget: dict[str, int]


def _start(base: str | Path, train: Task, made: dict[str, Any], lora: bool, seed: int) -> _Started:
    from tilth.models.folder import load_tokenizer
    from tilth.training.epochs import tokens_for_epochs

    tokenizer = load_tokenizer(base)
    model, objective, data = _task_parts(base, tokenizer, train, made, seed)
    if data.vocabulary > model.config.vocab_size:
        raise DataError(
            f"its tokenizer has {data.vocabulary:,} tokens, its model only "
            f"{model.config.vocab_size:,}",
            where=str(base), hint="this is not the tokenizer of this model",
        )  # fmt: skip
    adapter = None
    if lora:
        from tilth.models.lora import add_lora

        adapter = add_lora(
            model, rank=made["rank"], alpha=made["alpha"], dropout=made["lora_dropout"],
            whole=_heads(model, train.kind), seed=seed,
        )  # fmt: skip
    if made["learning_rate"] == 0:
        made["learning_rate"] = rate_for(getattr(model.config, "hidden_size", 768), lora)
    if made["epochs"] == 0:
        steps = max(1.0, train.table.num_rows / made["batch"])
        made["epochs"] = float(min(MOST_EPOCHS, max(EPOCHS, round(LEAST_STEPS / steps))))
    batch = made["batch"] * objective.length
    budget = {
        "tokens": tokens_for_epochs(objective, data, made["epochs"], batch, seed),
        "batch_tokens": batch, "micro_batch_tokens": min(batch, max(MICRO_BATCH_TOKENS,
                                                                    objective.length)),
    }  # fmt: skip
    return _Started(train.kind, Path(base), model, tokenizer, objective, data, adapter, budget)


def _task_parts(
    base: str | Path, tokenizer: Any, train: Task, made: dict[str, Any], seed: int
) -> tuple[Any, Any, Any]:
    """(model, objective, data) for the kind of task."""
    from tilth.evaluation.tasks import HEADS, objective_for
    from tilth.lookup import load
    from tilth.models.folder import load_model
    from tilth.models.heads import with_head
    from tilth.objectives import TASK_OBJECTIVES
    from tilth.objectives.tasks_rows import task_documents
    from tilth.training.plan import context_of

    if train.kind == "generate":
        from tilth.build.instructions import parts

        return parts(base, train, made)
    body = load_model(base, "encoder", dtype="float32", seed=seed)
    context = context_of(body) or LENGTH
    if made["length"] > context:
        raise UsageError(f"length {made['length']:,}, but the model's context is {context:,}")
    options: dict[str, Any] = {"length": made["length"] or min(LENGTH, context)}
    known = inspect.signature(load("task", TASK_OBJECTIVES, train.kind)).parameters
    if "length" not in known:
        options["segment"] = options.pop("length")
    if train.kind == "bag":
        options |= {"width": body.config.hidden_size, "seed": seed}
    pad = body.config.pad_token_id
    objective = objective_for(train, tokenizer, folder=base, pad=pad, **options)
    dropout = {name: made["dropout"] for name in DROPOUTS if hasattr(body.config, name)}
    model = with_head(
        body, HEADS[train.kind], objective.labels, pad=objective.parameters()["pad"], seed=seed,
        **dropout,
    )  # fmt: skip
    return model, objective, task_documents(train, tokenizer)


def _heads(model: PreTrainedModel, kind: str) -> list[str]:
    """Names of the modules that are new, and train whole beside a LoRA."""
    if kind == "generate":
        return []
    new = [name for name, part in model.named_children() if part is not model.base_model]
    poolers = [name for name, _ in model.named_modules() if name.endswith(".pooler")]
    parameters = dict(model.named_modules())
    return [name for name in [*new, *poolers] if list(parameters[name].parameters())]


def _estimate(start: _Started, made: dict[str, Any]) -> dict[str, Any]:
    from tilth.training.plan import estimate

    return estimate(
        start.model, start.objective, start.data, precision=made["precision"], **start.budget
    )


def _run(
    folder: Path, start: _Started, plan: dict[str, Any], test: Task | None, made: dict[str, Any],
    seed: int, progress: Progress, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from tilth.evaluation.tasks import TASK_FILE, TaskModel
    from tilth.models.folder import copy_tokenizer, save_model
    from tilth.models.lora import save_lora
    from tilth.store.write import write_json
    from tilth.training.curve import write_curve
    from tilth.training.loop import fit

    before: dict[str, float] = {}
    if start.kind == "generate":
        before = output.remember(folder, before=measured(start, test))["before"]
    history = fit(
        start.model, start.objective, start.data, **start.budget, schedule=made["schedule"],
        learning_rate=made["learning_rate"], warmup=made["warmup"], clip=made["clip"],
        weight_decay=made["weight_decay"], seed=seed, threads=made["threads"] or None,
        precision=plan["precision"], checkpoint=folder / output.CHECKPOINT,
        checkpoint_every=made["checkpoint_every"], progress=progress,
    )  # fmt: skip
    progress("evaluate", 0, 0)
    metrics = measured(start, test)
    if start.adapter is not None:
        save_lora(start.model, start.adapter, folder, base=str(start.base))
        copy_tokenizer(start.base, folder)
        if start.kind != "generate":
            made_for = {"kind": start.kind, "objective": start.objective.parameters()}
            write_json(folder / TASK_FILE, made_for)
    elif start.kind == "generate":
        save_model(start.model, folder, start.base)
    else:
        tuned = TaskModel(start.kind, start.model, start.objective, start.tokenizer, history)
        tuned.save(folder, start.base)
    write_curve(folder, history)
    record = {
        **output.remember(folder), "metrics": metrics, "loss": history.loss,
        "held_out": _rows(test), "dropped_tokens": history.dropped_tokens,
        "labels": list(getattr(start.objective, "labels", ())),
    }  # fmt: skip
    output.finish(folder, record)
    for name, value in metrics.items():
        was = f"{before[name]:.4g} -> " if name in before else ""
        say(f"{name} on held-out examples: {was}{value:.4g}")
    return record


def measured(start: _Started, test: Task | None) -> dict[str, float]:
    """Metrics on held-out examples; of labels also what the most frequent one alone reaches."""
    from tilth.evaluation.tasks import TaskModel, evaluate

    if test is None or not test.table.num_rows:
        return {}
    if start.kind == "generate":
        from tilth.build import instructions

        return instructions.measured(start.base, start.model, start.objective, test)
    tuned = TaskModel(start.kind, start.model, start.objective, start.tokenizer)
    found = dict(evaluate(tuned, test).metrics)
    if "label" in test.table.column_names:
        labels = Counter(test.table["label"].to_pylist())
        found["share of the most frequent label"] = max(labels.values()) / sum(labels.values())
    return {name: float(value) for name, value in found.items()}


def _rows(task: Task | None) -> int:
    return task.table.num_rows if task is not None else 0


def _check(made: Mapping[str, Any], given: set[str], lora: bool) -> None:
    """Refuse values that cannot be, and settings without effect."""
    from tilth.lookup import load
    from tilth.training import SCHEDULES
    from tilth.training.precision import check

    if not lora and (unused := sorted(given & set(LORA_ONLY))):
        raise UsageError(f"{unused[0]} has no effect without --lora", where="--set")
    load("schedule", SCHEDULES, made["schedule"])
    check(made["precision"])
    for name in ("warmup", "dropout", "lora_dropout", "held_out"):
        if not 0 <= made[name] < 1:
            raise UsageError(f"{name} lies from 0 to 1, it is {made[name]:g}", where="--set")
    for name in ("batch", "clip", "rank", "alpha", "checkpoint_every"):
        if not made[name] > 0:
            raise UsageError(f"{name} is above 0, not {made[name]:g}", where="--set")
    for name in ("epochs", "learning_rate", "length", "weight_decay", "threads"):
        if made[name] < 0:
            raise UsageError(f"{name} is not below 0, it is {made[name]:g}", where="--set")
