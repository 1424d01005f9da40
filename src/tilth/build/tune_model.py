"""A tuned model from a base folder and labelled data: the whole model, or a LoRA beside it.

The head is that of `transformers` for the kind of task (`evaluation.tasks`); chat messages are
learned by `objectives` for instructions, prompts masked. Where the data have no split a share of
their groups, equal texts together, is held out before anything is fitted; the metric is measured
there, beside that of always giving the most frequent label. Killed at any time, the same call goes
on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output
from tilth.build.memory import parameters_in, refuse_too_large
from tilth.build.train_settings import digest_of
from tilth.build.tune_parts import TuneParts, tune_parts
from tilth.build.tune_settings import SETTINGS, check, open_task, sides
from tilth.errors import DataError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
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
    parts = tune_parts(base, train, made, lora, seed, given)
    if not plan_only and Path(out).is_dir() and any(Path(out).iterdir()):
        output.claim(out, request)
    plan = parts.estimate(made["precision"])
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
        return _run(folder, parts, plan, test, made, seed, progress, say)


def _refuse_one_label(train: Task) -> None:
    """Raise DataError where there is nothing to tell apart: any model is right then."""
    if "label" in train.table.column_names:
        labels = set(train.table["label"].to_pylist())
        if len(labels) == 1:
            raise DataError(
                f"all {train.table.num_rows:,} examples to learn from have the label "
                f"{labels.pop()!r}: there is nothing to tell apart", where=train.name,
            )  # fmt: skip


def _run(
    folder: Path, parts: TuneParts, plan: dict[str, Any], test: Task | None, made: dict[str, Any],
    seed: int, progress: Progress, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from tilth.evaluation.tasks import TASK_FILE, TaskModel
    from tilth.models.folder import copy_tokenizer, save_model
    from tilth.models.lora import save_lora
    from tilth.store.write import write_json
    from tilth.training import curve
    from tilth.training.loop import fit

    before: dict[str, float] = {}
    if parts.kind == "generate":
        before = output.remember(folder, before=measured(parts, test))["before"]
    history = fit(
        parts.model, parts.objective, parts.data, **parts.budget, schedule=made["schedule"],
        learning_rate=made["learning_rate"], warmup=made["warmup"], clip=made["clip"],
        weight_decay=made["weight_decay"], seed=seed, threads=made["threads"] or None,
        precision=plan["precision"], checkpoint=folder / output.CHECKPOINT,
        checkpoint_every=made["checkpoint_every"], progress=progress, policy=parts.policy,
        on_step=curve.live(folder, every=1, seconds=curve.SECONDS),
    )  # fmt: skip
    progress("evaluate", 0, 0)
    metrics = measured(parts, test)
    if parts.adapter is not None:
        save_lora(parts.model, parts.adapter, folder, base=str(parts.base))
        copy_tokenizer(parts.base, folder)
        if parts.kind != "generate":
            made_for = {"kind": parts.kind, "objective": parts.objective.parameters()}
            write_json(folder / TASK_FILE, made_for)
    elif parts.kind == "generate":
        save_model(parts.model, folder, parts.base)
    else:
        tuned = TaskModel(parts.kind, parts.model, parts.objective, parts.tokenizer, history)
        tuned.save(folder, parts.base)
    curve.write_curve(folder, history)
    record = {
        **output.remember(folder), "metrics": metrics, "loss": history.loss,
        "held_out": _rows(test), "dropped_tokens": history.dropped_tokens,
        "labels": list(getattr(parts.objective, "labels", ())),
    }  # fmt: skip
    output.finish(folder, record)
    for name, value in metrics.items():
        was = f"{before[name]:.4g} -> " if name in before else ""
        say(f"{name} on held-out examples: {was}{value:.4g}")
    return record


def measured(parts: TuneParts, test: Task | None) -> dict[str, float]:
    """Metrics on held-out examples; of labels also what the most frequent one alone reaches."""
    from tilth.evaluation.tasks import TaskModel, evaluate

    if test is None or not test.table.num_rows:
        return {}
    if parts.kind == "generate":
        from tilth.build import instructions

        return instructions.measured(parts.base, parts.model, parts.objective, test)
    tuned = TaskModel(parts.kind, parts.model, parts.objective, parts.tokenizer)
    found = dict(evaluate(tuned, test).metrics)
    if "label" in test.table.column_names:
        labels = Counter(test.table["label"].to_pylist())
        found["share of the most frequent label"] = max(labels.values()) / sum(labels.values())
    return {name: float(value) for name, value in found.items()}


def _rows(task: Task | None) -> int:
    return task.table.num_rows if task is not None else 0
