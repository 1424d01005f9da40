"""Teachers, students and exact properties of the system `well-read-students`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tilth.data.task import Task
from tilth.evaluation.card import Invariant, Measured
from tilth.evaluation.tasks import HEADS, TaskModel, evaluate, objective_for
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import count_parameters
from tilth.models.heads import dropout_settings, with_head
from tilth.objectives.batch import Draws
from tilth.objectives.distil import SoftLabels, divergence_sum
from tilth.objectives.tasks_rows import task_documents
from tilth.store.digest import digest
from tilth.systems._students_texts import Base, Setting, divided
from tilth.tokens.special import special_ids
from tilth.training.loop import fit
from tilth.zoo.gate import above_the_most_frequent

ACCURACY = "accuracy"
RATES = (1e-3, 2e-3, 4e-3)
TUNING_SEED = 999
# What a student must name of the masked tokens, in shares of the most frequent one's: one that
# learned no context names as many as that.
FLOOR = 2.0
# Rates that were tuned in this process: the same for all seeds, on the bodies of the first.
_tuned: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Inputs:
    """`bodies`: what a student begins from: `fresh`, `pre-trained`, `truncated`. `labelled` is what
    the teacher learned; `transfer` holds texts, all labels of it empty; `test` no row of both.
    `made` keeps students by body and whether they were distilled."""

    teacher: TaskModel
    base: Base
    bodies: dict[str, Any]
    labelled: Task
    transfer: Task
    test: Task
    setting: Setting
    rates: dict[str, float]
    made: dict[tuple[str, bool], TaskModel] = field(default_factory=dict)


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
        read = {"pre-trained": setting.pretrain, "truncated": inputs.base.read}.get(body, 0)
        spent = setting.tokens
        task = inputs.transfer if distil else inputs.labelled
        # Two arms begin alike: the second takes what the first one made.
        if (body, distil) not in inputs.made:
            inputs.made[body, distil] = learned(
                inputs.bodies[body], task, inputs.base.tokenizer, setting, seed,
                teacher=inputs.teacher if distil else None,
            )  # fmt: skip
        made = inputs.made[body, distil]
        if then:
            made = learned(None, inputs.labelled, inputs.base.tokenizer, setting, seed, tuned=made)
            spent *= 2
        found = evaluate(made, inputs.test)
        known = body != "truncated" or inputs.base.read > 0
        return Measured(
            {ACCURACY: found.per_example}, tokens=read + spent, products={"student": made},
            parameters=count_parameters(made.model) if known else 0,
        )  # fmt: skip

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
    few, rest, _ = divided(task, labelled, test, TUNING_SEED)
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
    read = inputs.base.read
    return Measured(
        {ACCURACY: found.per_example}, tokens=read + inputs.setting.tokens,
        parameters=count_parameters(inputs.teacher.model) if read else 0,
    )  # fmt: skip


def checked(inputs: Inputs, student: TaskModel) -> Iterator[Invariant]:
    """Invariants: the loss of a teacher on itself, cached logits, what must stay unseen."""
    import torch

    teacher, objective = inputs.teacher, inputs.teacher.objective
    documents = task_documents(inputs.transfer, inputs.base.tokenizer).select(range(8))
    batch = objective.prepare(documents, Draws())
    model, soft = copy.deepcopy(teacher.model).eval(), SoftLabels(objective, teacher.model)

    own = soft.loss(model, batch).total
    own.backward()
    slopes = [float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None]
    yield Invariant("a teacher that learns from itself has no gradient", max(slopes) < 1e-6)
    yield Invariant("and no loss", abs(float(own.detach())) < 1e-6)
    with torch.no_grad():
        live = float(soft.loss(student.model.eval(), batch).total)
        kept = torch.from_numpy(np.stack(teacher.logits(inputs.transfer.take(range(8)))))
        cached = float(divergence_sum(objective.logits(student.model, batch).double(), kept))
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
    if inputs.base.held_out is not None:
        body, setting = inputs.bodies["pre-trained"], inputs.setting
        ratio = setting.pretrain / count_parameters(body)
        yield Invariant("2 tokens a parameter in pre-training", ratio >= 2.0)
        special = special_ids(inputs.base.tokenizer, inputs.base.folder)
        named = above_the_most_frequent(
            body, inputs.base.held_out, length=setting.length, mask=int(special.mask or 0),
            least_ratio=FLOOR, seed=0,
        )  # fmt: skip
        yield Invariant(f"the pre-trained student names {FLOOR:g} times as many masked tokens as "
                        "one who names the most frequent always", named["passed"])  # fmt: skip
