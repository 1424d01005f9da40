"""Pre-trained distillation (Turc et al., 2019): a small student of a large tuned classifier.

The student is a small model that was pre-trained on text; it learns the teacher's probabilities on
texts without labels that are like those of the task. The result is a tuned model of the same labels
(`evaluation.tasks.TaskModel`), which `transformers` loads. How often the two say the same on
held-out texts is measured; how well the student does the task, `tilth evaluate task` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build import output, reading
from tilth.build.memory import parameters_in, refuse_too_large
from tilth.build.train_parts import same_tokenizer
from tilth.build.train_settings import digest_of
from tilth.build.tune_settings import EPOCHS, LEAST_STEPS, MICRO_BATCH_TOKENS, MOST_EPOCHS, rate_for
from tilth.errors import DataError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tilth.data.task import Task
    from tilth.evaluation.tasks import TaskModel

SETTINGS: dict[str, Any] = {
    "epochs": 0.0,  # 3, or for few texts more, see `tune_parts`
    "batch": 16,
    "learning_rate": 0.0,  # see `tune_settings.rate_for`
    "temperature": 1.0,
    "schedule": "linear",
    "warmup": 0.1,
    "weight_decay": 0.01,
    "held_out": 0.05,
    "text_column": "",
    "precision": "auto",
    "threads": 0,
    "checkpoint_every": 200,
}
KINDS = ("classify",)


def distil_task(
    teacher: str | Path,
    inputs: Sequence[str | Path],
    out: str | Path,
    student: str | Path,
    *,
    seed: int = 0,
    settings: Sequence[str] = (),
    progress: Progress = silent,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Distil and save; returns the record. `inputs`: texts; labels in them are not looked at.

    Raises DataError where the two models do not read the same tokens, UsageError for a teacher of
    another kind.
    """
    from tilth.evaluation.tasks import HEADS, TaskModel
    from tilth.models.folder import load_model, load_tokenizer
    from tilth.models.heads import with_head
    from tilth.training import curve
    from tilth.training.epochs import tokens_for_epochs
    from tilth.training.loop import fit
    from tilth.training.plan import context_of, estimate, sentence

    made = output.checked(SETTINGS, settings)
    size = parameters_in(student)
    refuse_too_large(size + parameters_in(teacher), trained=size, where=str(student))
    wise = TaskModel.load(teacher)
    if wise.kind not in KINDS:
        raise UsageError(f"a teacher of kind {wise.kind} cannot be distilled", where=str(teacher),
                         hint="kinds: " + ", ".join(KINDS))  # fmt: skip
    tokenizer = load_tokenizer(student)
    same_tokenizer(teacher, tokenizer, str(student))
    body = load_model(student, "encoder", dtype="float32", seed=seed)
    length, context = wise.objective.length, context_of(body)
    if context is not None and length > context:
        raise DataError(f"the teacher reads {length} tokens, this model {context}",
                        where=str(student))  # fmt: skip
    texts = reading.read(inputs, held_out=made["held_out"], text_column=made["text_column"])
    request = {
        "command": "distil", "data": texts.digest, "base": digest_of(student),
        "teacher": digest_of(teacher), "seed": seed, "settings": made,
    }  # fmt: skip
    pad = wise.objective.parameters()["pad"]
    model = with_head(body, HEADS[wise.kind], wise.objective.labels, pad=pad, seed=seed)
    tuned = TaskModel(wise.kind, model, wise.objective, tokenizer)
    data, objective = _parts(wise, texts.train, made["temperature"])
    steps = max(1.0, len(data) / made["batch"])
    epochs = made["epochs"] or min(MOST_EPOCHS, max(EPOCHS, round(LEAST_STEPS / steps)))
    batch = made["batch"] * length
    budget = {
        "tokens": tokens_for_epochs(objective, data, epochs, batch, seed), "batch_tokens": batch,
        "micro_batch_tokens": min(batch, max(MICRO_BATCH_TOKENS, length)),
    }  # fmt: skip
    if Path(out).is_dir() and any(Path(out).iterdir()):
        output.claim(out, request)
    plan = estimate(model, objective, data, precision=made["precision"], **budget)
    say(f"{len(data):,} texts, {len(texts.test):,} held out; {sentence(plan)}")
    with output.work(out, request) as (folder, done):
        if done is not None:
            say(f"{out} is distilled already, with the same settings and data")
            return done
        plan = output.remember(folder, plan=plan)["plan"]
        history = fit(
            model, objective, data, **budget, schedule=made["schedule"],
            learning_rate=made["learning_rate"] or rate_for(model.config.hidden_size, False),
            warmup=made["warmup"], weight_decay=made["weight_decay"], seed=seed,
            threads=made["threads"] or None, precision=plan["precision"],
            checkpoint=folder / output.CHECKPOINT, checkpoint_every=made["checkpoint_every"],
            progress=progress, on_step=curve.live(folder, every=1, seconds=curve.SECONDS),
        )  # fmt: skip
        metrics = {}
        if texts.test:
            rows = unlabelled(texts.test)
            pairs = list(zip(tuned.predict(rows), wise.predict(rows)))
            metrics["agreement with the teacher"] = sum(a == b for a, b in pairs) / len(pairs)
        tuned.save(folder, student)
        curve.write_curve(folder, history)
        record = {
            **output.remember(folder), "metrics": metrics, "loss": history.loss,
            "unread": texts.unread, "licences": texts.licences,
        }  # fmt: skip
        output.finish(folder, record)
        for name, value in metrics.items():
            say(f"{name} on held-out texts: {value:.3f}")
        return record


def _parts(wise: TaskModel, rows: list[tuple[str, str]], temperature: float) -> tuple[Any, Any]:
    from tilth.objectives.distil import SoftLabels
    from tilth.objectives.tasks_rows import task_documents

    data = task_documents(unlabelled(rows), wise.tokenizer)
    return data, SoftLabels(wise.objective, wise.model, temperature=temperature)


def unlabelled(rows: Sequence[tuple[str, str]]) -> Task:
    """Texts as a task whose labels are empty: what a teacher is asked about."""
    import pyarrow as pa

    from tilth.data.task import Task

    ids, texts = [id for id, _ in rows], [text for _, text in rows]
    empty = [""] * len(rows)
    columns = {"id": ids, "text": texts, "label": empty, "group": ids, "split": empty}
    return Task("classify", "texts", pa.table(columns))
