"""Teachers, students and texts of the system `well-read-students`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilth.data.sets import open_data, open_set
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import Invariant, Measured, ModelSource
from tilth.evaluation.tasks import HEADS, TaskModel, evaluate, objective_for
from tilth.models.checkpoint import Checkpoint
from tilth.models.heads import dropout_settings, with_head
from tilth.models.surgery.layers import truncate
from tilth.objectives.batch import Draws
from tilth.objectives.distil import SoftLabels, divergence_sum
from tilth.objectives.masked import Masked
from tilth.objectives.tasks_rows import task_documents
from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.special import special_ids
from tilth.training.loop import fit

ACCURACY = "accuracy"
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
TUNING_SEED = 999
# Rates that were tuned in this process: the same for all seeds, on the bodies of the first.
_tuned: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Setting:
    """The same for all arms. `steps` of `batch` examples; `pretrain` tokens of the student."""

    steps: int = 300
    batch: int = 16
    length: int = 64
    rate: float = 1e-3  # of the teacher; those of the students are tuned, see `rates`
    dropout: float = 0.1
    pretrain: int = 700_000
    pretrain_batch: int = 2048
    pretrain_rate: float = 2e-3

    @property
    def tokens(self) -> int:
        return self.steps * self.batch * self.length


@dataclass(frozen=True)
class Inputs:
    """`bodies`: what a student begins from: `fresh`, `pre-trained`, `truncated`. `labelled` is what
    the teacher learned; `transfer` holds texts, all labels of it empty; `test` no row of both."""

    teacher: TaskModel
    teacher_tokens: int
    bodies: dict[str, Any]
    tokenizer: Any
    labelled: Task
    transfer: Task
    test: Task
    setting: Setting
    pretrain_ratio: float
    rates: dict[str, float]


def sides(task: Task, labelled: int, test: int, seed: int) -> tuple[Task, Task, Task]:
    """(labelled, transfer without labels, test)."""
    few, rest, tested = _sides(task, labelled, test, seed)
    return few, without_labels(rest), tested


def _sides(task: Task, labelled: int, test: int, seed: int) -> tuple[Task, Task, Task]:
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


def learned(
    body: Any, task: Task, tokenizer: Any, setting: Setting, seed: int, *,
    teacher: TaskModel | None = None, tuned: TaskModel | None = None,
) -> TaskModel:  # fmt: skip
    """A copy of `body` with a new head (or `tuned` itself, copied), on labels or on a teacher."""
    if tuned is None:
        pad = body.config.pad_token_id
        if teacher is None:
            objective = objective_for(task, tokenizer, pad=pad, length=setting.length)
        else:
            objective = teacher.objective
        # A student of a teacher sees each text about once: nothing to keep it from.
        dropout = {} if teacher is not None else dropout_settings(body.config, setting.dropout)
        padded = objective.parameters()["pad"]
        model = with_head(
            body, HEADS["classify"], objective.labels, pad=padded, seed=seed, **dropout
        )
    else:
        model, objective = copy.deepcopy(tuned.model), tuned.objective
    shown = objective if teacher is None else SoftLabels(objective, teacher.model)
    fit(
        model, shown, task_documents(task, tokenizer), tokens=setting.tokens,
        batch_tokens=setting.batch * setting.length, micro_batch_tokens=2048,
        schedule="linear", learning_rate=setting.rate, warmup=0.1, weight_decay=0.01, seed=seed,
    )  # fmt: skip
    return TaskModel("classify", model, objective, tokenizer)


def arm(body: str, *, distil: bool, then: bool = False) -> Callable[[Inputs, int], Measured]:
    """A student from `bodies[body]`, on labels or distilled; `then`: on labels afterwards."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        setting = replace(inputs.setting, rate=inputs.rates[body])
        spent = setting.tokens
        task = inputs.transfer if distil else inputs.labelled
        made = learned(
            inputs.bodies[body], task, inputs.tokenizer, setting, seed,
            teacher=inputs.teacher if distil else None,
        )  # fmt: skip
        if then:
            made = learned(None, inputs.labelled, inputs.tokenizer, setting, seed, tuned=made)
            spent *= 2
        found = evaluate(made, inputs.test)
        return Measured({ACCURACY: found.per_example}, tokens=spent, products={"student": made})

    return measure


def tuned_rates(
    task: Task, bodies: dict[str, Any], tokenizer: Any, setting: Setting, labelled: int, test: int
) -> dict[str, float]:
    """The best of `RATES` for each body when it is tuned on labels, which favours the baselines.

    Measured with labelled texts of a seed of its own, on texts that are neither tested nor these;
    where a body is distilled it keeps that rate. Truncated bodies take the pre-trained one's.
    """
    key = digest(
        task.digest, repr(setting), labelled, test, Checkpoint.of(bodies["truncated"]).digest
    )
    if key in _tuned:
        return _tuned[key]
    few, rest, _ = _sides(task, labelled, test, TUNING_SEED)
    held_out = rest.take(range(min(2 * labelled, rest.table.num_rows)))
    best = {}
    for name in ("fresh", "pre-trained"):
        found = []
        for rate in RATES:
            made = learned(bodies[name], few, tokenizer, replace(setting, rate=rate), TUNING_SEED)
            found.append((evaluate(made, held_out).metrics[ACCURACY], rate))
        best[name] = max(found)[1]
    _tuned[key] = {**best, "truncated": best["pre-trained"]}
    return _tuned[key]


def teacher_arm(inputs: Inputs, seed: int) -> Measured:
    found = evaluate(inputs.teacher, inputs.test)
    return Measured({ACCURACY: found.per_example}, tokens=inputs.teacher_tokens)


def base_and_text(
    model: str | None, texts: str
) -> tuple[Any, Any, TokenDocuments, tuple[Any, ...], tuple[ModelSource, ...]]:
    """(the teacher's base, tokenizer, general text, data sources, models), at small or own."""
    from tilth import zoo
    from tilth.models.folder import load_model, load_tokenizer

    if model is None:
        built = zoo.model("encoder-general")
        source = ModelSource(built.name, built.digest, built.gate)
        folder: Any = built.folder
    else:
        folder = model
        source = ModelSource("--model", Checkpoint.load(model).digest)
    base, tokenizer = load_model(folder, "masked", dtype="float32"), load_tokenizer(folder)
    if model is None and not texts:
        return base, tokenizer, zoo.tokens("encoder-general"), (), (source,)
    place: Any = open_data(texts, "corpus") if texts else open_set("books_en")
    found = [(document.id, document.text) for document in place.documents()]
    data = TokenDocuments.of([i for i, _ in found], [text for _, text in found], tokenizer)
    return base, tokenizer, data, place.sources, (source,)


def student_bodies(
    base: Any, tokenizer: Any, data: TokenDocuments, layers: int, setting: Setting, seed: int,
    folder: str | None = None,
) -> tuple[dict[str, Any], float]:  # fmt: skip
    """(bodies by name, pre-training tokens for each parameter): half the layers, the same width."""
    import torch

    from tilth.models.decoder import count_parameters

    cut = truncate(Checkpoint.of(base), layers=layers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = type(base)(cut.config).eval()
    read = copy.deepcopy(fresh)
    special = special_ids(tokenizer, folder)
    if special.mask is None:
        raise DataError("the model's tokenizer has no mask token", where="--model")
    ids = sorted({special.begin, special.separator, special.pad})
    objective = Masked(length=setting.length, rate=0.3, mask=special.mask, special=ids)
    fit(
        read, objective, data, tokens=setting.pretrain, batch_tokens=setting.pretrain_batch,
        learning_rate=setting.pretrain_rate, seed=seed,
    )  # fmt: skip
    ratio = setting.pretrain / count_parameters(read)
    return {"fresh": fresh, "pre-trained": read, "truncated": cut.model()}, ratio


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


def checked(inputs: Inputs, student: TaskModel) -> Iterator[Invariant]:
    """Invariants: the loss of a teacher on itself, cached logits, what must stay unseen."""
    import torch

    teacher, objective = inputs.teacher, inputs.teacher.objective
    documents = task_documents(inputs.transfer, inputs.tokenizer).select(range(8))
    batch = objective.prepare(documents, Draws())
    soft = SoftLabels(objective, teacher.model)
    model = copy.deepcopy(teacher.model).eval()
    itself = soft.loss(model, batch)
    itself.total.backward()
    steepest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    yield Invariant("a teacher that learns from itself has no gradient", steepest < 1e-6)
    yield Invariant("and no loss", abs(itself.total.item()) < 1e-6)
    with torch.no_grad():
        live = float(soft.loss(student.model.eval(), batch).total)
        kept = torch.from_numpy(np.stack(teacher.logits(inputs.transfer.take(range(8)))))
        cached = float(divergence_sum(objective.logits(student.model, batch), kept))
        again = objective.logits(soft._teacher.model(student.model), batch)
        once = objective.logits(soft._teacher.model(student.model), batch)
    yield Invariant("cached logits give the loss of a live teacher", abs(live - cached) < 1e-5)
    yield Invariant("the cross-entropy is not below the teacher's entropy", live > -1e-6)
    yield Invariant("a teacher draws nothing", bool(torch.equal(again, once)))
    groups = [set(t.table["group"].to_pylist())
              for t in (inputs.labelled, inputs.transfer, inputs.test)]  # fmt: skip
    apart = not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    yield Invariant("no group is on two sides", apart)
    yield Invariant("the transfer set has no labels", inputs.transfer.labels == [""])
    yield Invariant("2 tokens a parameter in pre-training", inputs.pretrain_ratio >= 2.0)
