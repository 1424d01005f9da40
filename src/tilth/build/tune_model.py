"""A tuned model from a base folder and labelled data: the whole model, or a LoRA beside it.

The head is that of `transformers` for the kind of task (`evaluation.tasks`); chat messages are
learned by `objectives` for instructions, prompts masked. Where the data have no split a share of
their groups, equal texts together, is held out before anything is fitted; the metric is measured
there, beside that of always giving the most frequent label. Killed at any time, the same call goes
on.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output
from tilth.build.memory import parameters_in, refuse_plan, refuse_too_large
from tilth.build.train_settings import digest_of
from tilth.build.tune_settings import (
    EPOCHS,
    LEAST_STEPS,
    LENGTH,
    MICRO_BATCH_TOKENS,
    MOST_EPOCHS,
    SETTINGS,
    check,
    open_task,
    rate_for,
    sides,
)
from tilth.errors import DataError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.data.task import Task


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
    given = {pair.partition("=")[0] for pair in plain}
    check(made, given, lora)
    task = open_task(data, kind, columns)
    if "held_out" in given and "train" in task.splits():
        raise UsageError("held_out has no effect where the data have splits", where="--set")
    if lora and task.kind == "bag":
        raise UsageError("a bag's network does not go into an adapter", hint="without --lora")
    if task.kind == "generate":
        from tilth.build.instructions import usable

        task = usable(base, task)
    train, test, split = sides(task, made["held_out"], seed)
    _refuse_one_label(train)
    request = {
        "command": "tune", "data": task.digest, "kind": task.kind, "base": digest_of(base),
        "lora": lora, "seed": seed, "settings": made,
    }  # fmt: skip
    size = parameters_in(base)
    refuse_too_large(size, trained=0 if lora else size, where=str(base))
    start = _start(base, train, made, lora, seed, given)
    if not plan_only and Path(out).is_dir() and any(Path(out).iterdir()):
        output.claim(out, request)
    plan = _estimate(start, made)
    say(f"{task.kind}, {train.table.num_rows:,} examples, {_rows(test)} held out{split}")
    if task.problems:
        first = task.problems[0]
        say(f"{len(task.problems):,} rows cannot be used, such as {first.source}: "
            f"{first.detail or first.reason}")  # fmt: skip
    say(sentence(plan))
    if plan_only:
        return {"request": request, "plan": plan}
    with output.work(out, request) as (folder, done):
        if done is not None:
            say(f"{out} is tuned already, with the same settings and data")
            return done
        unread = [vars(problem) for problem in task.problems]
        plan = output.remember(folder, plan=plan, unread=unread)["plan"]
        return _run(folder, start, plan, test, made, seed, progress, say)


def _refuse_one_label(train: Task) -> None:
    """Raise DataError where there is nothing to tell apart: any model is right then."""
    if "label" in train.table.column_names:
        labels = set(train.table["label"].to_pylist())
        if len(labels) == 1:
            raise DataError(
                f"all {train.table.num_rows:,} examples to learn from have the label "
                f"{labels.pop()!r}: there is nothing to tell apart", where=train.name,
            )  # fmt: skip


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
    policy: Any = None


def _start(
    base: str | Path, train: Task, made: dict[str, Any], lora: bool, seed: int, given: set[str]
) -> _Started:  # fmt: skip
    from tilth.models.folder import load_tokenizer
    from tilth.training.epochs import tokens_for_epochs

    tokenizer = load_tokenizer(base)
    model, objective, data = _task_parts(base, tokenizer, train, made, seed, given)
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
    return _Started(train.kind, Path(base), model, tokenizer, objective, data, adapter, budget,
                    _policy(model, made))  # fmt: skip


def _policy(model: PreTrainedModel, made: dict[str, Any]) -> Any:
    """What trains and how fast, where not all of it does at one rate."""
    from tilth.training.fine_tuning import freeze_lower
    from tilth.training.policy import Policy, layerwise

    rules = list(layerwise(model, made["decay"]).rules) if made["decay"] < 1 else []
    # The last rule that matches counts: what is frozen has no rate.
    rules += freeze_lower(model, made["freeze"]).rules if made["freeze"] else []
    return Policy(rules) if rules else None


def _task_parts(
    base: str | Path, tokenizer: Any, train: Task, made: dict[str, Any], seed: int, given: set[str]
) -> tuple[Any, Any, Any]:
    """(model, objective, data) for the kind of task."""
    from tilth.evaluation.tasks import HEADS, objective_for
    from tilth.lookup import load
    from tilth.models.folder import load_model
    from tilth.models.heads import dropout_settings, with_head
    from tilth.objectives import TASK_OBJECTIVES
    from tilth.objectives.tasks_rows import task_documents
    from tilth.training.plan import context_of

    if train.kind == "generate":
        from tilth.build.instructions import parts

        if "dropout" in given:
            raise UsageError("dropout has no effect on conversations", where="--set")
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
    dropout = dropout_settings(body.config, made["dropout"])
    if "dropout" in given and not dropout:
        raise UsageError(f"a {body.config.model_type} has none: dropout has no effect",
                         where="--set")  # fmt: skip
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
    from tilth.training.plan import estimate, plan

    if start.policy is None:  # with one, fewer moments are kept than this would count
        made_of = plan(start.model, start.objective, start.data, **start.budget)
        refuse_plan(made_of, "a smaller --set batch or length")
    return estimate(
        start.model, start.objective, start.data, precision=made["precision"],
        policy=start.policy, **start.budget,
    )  # fmt: skip


def _run(
    folder: Path, start: _Started, plan: dict[str, Any], test: Task | None, made: dict[str, Any],
    seed: int, progress: Progress, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from tilth.evaluation.tasks import TASK_FILE, TaskModel
    from tilth.models.folder import copy_tokenizer, save_model
    from tilth.models.lora import save_lora
    from tilth.store.write import write_json
    from tilth.training import curve
    from tilth.training.loop import fit

    before: dict[str, float] = {}
    if start.kind == "generate":
        before = output.remember(folder, before=measured(start, test))["before"]
    history = fit(
        start.model, start.objective, start.data, **start.budget, schedule=made["schedule"],
        learning_rate=made["learning_rate"], warmup=made["warmup"], clip=made["clip"],
        weight_decay=made["weight_decay"], seed=seed, threads=made["threads"] or None,
        precision=plan["precision"], checkpoint=folder / output.CHECKPOINT,
        checkpoint_every=made["checkpoint_every"], progress=progress, policy=start.policy,
        on_step=curve.live(folder, every=1, seconds=curve.SECONDS),
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
    curve.write_curve(folder, history)
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
