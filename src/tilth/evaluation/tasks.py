"""Fine-tuning on a labelled task, and how well it went.

    tuned = fine_tune(base, task.split("train"), epochs=3, learning_rate=5e-5, seed=0)
    result = evaluate(tuned, task.split("test"))      # result.metrics["accuracy"]
    tuned.save(folder)                                # loads in transformers

`base` is a folder that `transformers` wrote, or a model in memory with its tokenizer. The head is
that of `transformers` for the kind (`objectives.tasks`); for a `bag` an encoder and a network of
its own. Labels are those of the training task: what else occurs in the test counts as wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.data.task import Task
from tilth.errors import DataError, UsageError
from tilth.evaluation import task_metrics as metrics
from tilth.evaluation.entities import entity_f1
from tilth.lookup import construct, load
from tilth.models.heads import with_head
from tilth.models.safetensors_header import check_header
from tilth.objectives import TASK_OBJECTIVES
from tilth.objectives.batch import Draws
from tilth.objectives.tasks_rows import task_documents
from tilth.signals.calibration import area_under_curve
from tilth.store.manifest import NAME, read_manifest, write_manifest
from tilth.store.write import read_json, write_bytes, write_json
from tilth.tokens.special import special_ids
from tilth.training.epochs import tokens_for_epochs
from tilth.training.loop import fit
from tilth.training.policy import Policy
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

# Which head of `models.heads` a kind of task gets.
HEADS = {
    "classify": "classify", "multilabel": "classify", "pair": "classify", "regress": "classify",
    "tag": "tag", "choose": "choose", "bag": "encoder",
}  # fmt: skip
TASK_FILE, HEAD_FILE = "task.json", "set_head.safetensors"
OUTSIDE = "O"
ROWS = 32  # in one batch of an evaluation


@dataclass
class TaskModel:
    """A model with the head of a task: what it takes to predict. `history` of its training."""

    kind: str
    model: PreTrainedModel
    objective: Any
    tokenizer: Tokenizer
    history: Any = field(default=None, repr=False)

    def logits(self, task: Task) -> list[np.ndarray]:
        """One array an example, float32: (labels,), of a `tag` task (positions, tags)."""
        import torch

        batch = self.objective.prepare(task_documents(task, self.tokenizer), Draws())
        own = list(getattr(self.objective, "modules", {}).values())
        found: list[np.ndarray] = []
        modes = [(module, module.training) for module in (self.model, *own)]
        for module, _ in modes:
            module.eval()
        try:
            with torch.inference_mode():
                for start in range(0, len(batch), ROWS):
                    part = batch.take(slice(start, start + ROWS))
                    found += list(self.objective.logits(self.model, part).cpu().numpy())
        finally:
            for module, mode in modes:
                module.train(mode)
        return found

    def predict(self, task: Task, logits: list[np.ndarray] | None = None) -> list[Any]:
        """For each example a label, labels, tags, the number of a choice, or a number.

        `logits`: of the task, where they are known already.
        """
        logits = self.logits(task) if logits is None else logits
        labels = self.objective.labels
        if self.kind == "regress":
            return [float(x[0]) * self.objective.scale + self.objective.centre for x in logits]
        if self.kind == "choose":
            return [int(x.argmax()) for x in logits]
        if self.kind == "multilabel":
            return [[labels[n] for n in np.flatnonzero(x > 0)] for x in logits]
        if self.kind == "tag":
            firsts = task_documents(task, self.tokenizer).extra["firsts"]
            return [self._tags(x, some) for x, some in zip(logits, firsts)]
        return [labels[int(x.argmax())] for x in logits]

    def _tags(self, logits: np.ndarray, firsts: np.ndarray) -> list[str]:
        """A word that did not fit in the row is outside."""
        places = self.objective.places(firsts)
        best = logits.argmax(-1)
        return [self.objective.labels[best[n]] if n >= 0 else OUTSIDE for n in places.tolist()]

    def save(self, folder: str | Path, tokenizer_folder: str | Path | None = None) -> None:
        """A Hugging Face folder, with `task.json` beside it; of a bag its network too."""
        from safetensors.torch import save as to_bytes

        from tilth.models.folder import save_model

        save_model(self.model, folder, tokenizer_folder)
        folder, listed = Path(folder), read_manifest(folder) or {}
        # The manifest comes last: until then the folder is visibly unfinished.
        (folder / NAME).unlink()
        files = [*listed.pop("files"), TASK_FILE]
        if own := getattr(self.objective, "modules", {}):
            write_bytes(folder / HEAD_FILE, to_bytes(own["head"].state_dict()))
            files.append(HEAD_FILE)
        made = {"kind": self.kind, "objective": self.objective.parameters()}
        write_json(folder / TASK_FILE, made)
        write_manifest(folder, files, **listed)

    @classmethod
    def load(cls, folder: str | Path, tokenizer: Tokenizer | None = None) -> TaskModel:
        """What `save` wrote. Raises DataError where it is no such folder."""
        from tilth.models.folder import load_model, load_tokenizer

        folder = Path(folder)
        if not (folder / TASK_FILE).is_file():
            raise DataError(f"holds no {TASK_FILE}", where=str(folder))
        made = read_json(folder / TASK_FILE)
        kind = made["kind"]
        objective = construct("task", TASK_OBJECTIVES, kind, made["objective"])
        if kind == "bag":
            from safetensors.torch import load_file

            if not (folder / HEAD_FILE).is_file():
                raise DataError(f"holds no {HEAD_FILE}", where=str(folder))
            check_header(folder / HEAD_FILE)
            objective.modules["head"].load_state_dict(load_file(str(folder / HEAD_FILE)))
        model = load_model(folder, HEADS[kind])
        return cls(kind, model, objective, tokenizer or load_tokenizer(folder))


def objective_for(
    task: Task, tokenizer: Tokenizer, *, folder: str | Path | None = None, pad: int | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """The objective of a task, its labels and ids filled in; `options` as the objective has them.

    `regress` is centred and scaled by the task, `choose` holds as many choices as the task has.
    """
    special = special_ids(tokenizer, folder)
    made: dict[str, Any] = {
        "begin": special.begin, "separator": special.separator,
        "pad": special.pad if pad is None else pad,
    }  # fmt: skip
    if task.labels:
        made["labels"] = task.labels
    if task.kind == "choose":
        made["choices"] = max(map(len, task.table["choices"].to_pylist()))
    if task.kind == "regress":
        targets = task.table["target"].to_numpy()
        made |= {"centre": float(targets.mean()), "scale": float(targets.std()) or 1.0}
    return construct("task", TASK_OBJECTIVES, task.kind, {**made, **options})


def fine_tune(
    base: str | Path | PreTrainedModel,
    task: Task,
    *,
    tokenizer: Tokenizer | None = None,
    epochs: float = 3,
    batch: int = 16,
    learning_rate: float = 5e-5,
    schedule: str = "linear",
    warmup: float = 0.1,
    weight_decay: float = 0.01,
    seed: int = 0,
    policy: Policy | Callable[[Any], Policy] | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    training: Mapping[str, Any] | None = None,
    **options: Any,
) -> TaskModel:
    """A copy of `base` with the head of the task, trained on all rows of `task`.

    `batch` is examples a step, `epochs` how often each is seen. `options` are those of the
    objective (`length=128`; `segment`, `pieces` of a bag), `settings` of the model's configuration
    (`models.heads.dropout_settings` names those of dropout), `training` more arguments of `fit`; a
    `policy` may be made from the model with its head, as `functools.partial(freeze_lower,
    layers=2)`. The head, the order and the dropout follow `seed`. Raises UsageError for a kind
    without a head and for too few steps.
    """
    if task.kind not in HEADS:
        raise UsageError(f"a {task.kind} task has no head to fine-tune", where=task.name)
    folder = None
    if isinstance(base, (str, Path)):
        from tilth.models.folder import load_model, load_tokenizer

        folder = base
        tokenizer = tokenizer or load_tokenizer(base)
        base = load_model(base, "encoder", seed=seed, dtype="float32")
    if tokenizer is None:
        raise UsageError("a model in memory needs its tokenizer")
    pad = base.config.pad_token_id
    if task.kind == "bag":
        options = {"width": base.config.hidden_size, "seed": seed, **options}
    known = inspect.signature(load("task", TASK_OBJECTIVES, task.kind)).parameters
    if "length" not in known and "length" in options:
        options["segment"] = options.pop("length")
    objective = objective_for(task, tokenizer, folder=folder, pad=pad, **options)
    model = with_head(
        base, HEADS[task.kind], objective.labels, pad=objective.parameters()["pad"], seed=seed,
        **(settings or {}),
    )  # fmt: skip
    data = task_documents(task, tokenizer)
    batch_tokens = batch * objective.length
    history = fit(
        model, objective, data,
        tokens=tokens_for_epochs(objective, data, epochs, batch_tokens, seed),
        batch_tokens=batch_tokens, micro_batch_tokens=min(batch_tokens, 8192), schedule=schedule,
        learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay, seed=seed,
        policy=policy(model) if callable(policy) else policy, progress=progress, **(training or {}),
    )  # fmt: skip
    return TaskModel(task.kind, model, objective, tokenizer, history)


@dataclass(frozen=True)
class Evaluation:
    """`metrics`: name -> value, the task's own first. `per_example`: 1 or 0 for right or wrong, of
    a `tag` task the share of words, of `regress` minus the squared error. `predictions` as made."""

    metrics: dict[str, float]
    per_example: list[float]
    predictions: list[Any]

    @property
    def value(self) -> float:
        return next(iter(self.metrics.values()))


def evaluate(tuned: TaskModel, task: Task) -> Evaluation:
    """Metrics of a task on its rows. AUC is of the second label, where there are two."""
    if task.kind != tuned.kind:
        raise UsageError(f"the model is for {tuned.kind}, not {task.kind}", where=task.name)
    logits = tuned.logits(task)
    predicted, gold = tuned.predict(task, logits), gold_of(task)
    if task.kind == "regress":
        errors = [-((one - other) ** 2) for one, other in zip(gold, predicted)]
        found = {"Pearson": metrics.pearson(gold, predicted),
                 "Spearman": metrics.spearman(gold, predicted),
                 "mean squared error": -float(np.mean(errors))}  # fmt: skip
        return Evaluation(_ordered(found, task), errors, predicted)
    if task.kind == "tag":
        right = [metrics.accuracy(one, other) for one, other in zip(gold, predicted)]
        words = [len(one) for one in gold]
        found = {"entity F1": entity_f1(gold, predicted),
                 "macro entity F1": metrics.macro_entity_f1(gold, predicted),
                 "accuracy": float(np.average(right, weights=words))}  # fmt: skip
        return Evaluation(_ordered(found, task), right, predicted)
    found = {"accuracy": metrics.accuracy(gold, predicted)}
    if task.kind == "multilabel":
        gold, predicted = [sorted(one) for one in gold], [sorted(one) for one in predicted]
        found = {"accuracy": metrics.accuracy(gold, predicted),
                 "micro F1": metrics.micro_f1(gold, predicted),
                 "macro F1": metrics.macro_f1(gold, predicted)}  # fmt: skip
    elif task.kind != "choose":
        found["macro F1"] = metrics.macro_f1([[one] for one in gold], [[one] for one in predicted])
        labels = tuned.objective.labels
        if len(labels) == 2 and len(set(gold)) == 2 and set(gold) == set(labels):
            scores = [float(x[1] - x[0]) for x in logits]
            found["AUC"] = area_under_curve(scores, [one == labels[1] for one in gold])
    right = [float(one == other) for one, other in zip(gold, predicted)]
    return Evaluation(_ordered(found, task), right, predicted)


def gold_of(task: Task) -> list[Any]:
    """What is right, in the form of `TaskModel.predict`."""
    from tilth.objectives.tasks_rows import TARGETS

    return task.table[TARGETS[task.kind]].to_pylist()


def _ordered(found: dict[str, float], task: Task) -> dict[str, float]:
    """The task's own metric first, where it is one of them."""
    return dict(sorted(found.items(), key=lambda entry: entry[0] != task.metric))
