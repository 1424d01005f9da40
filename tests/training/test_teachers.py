"""Objectives with a teacher: interrupted equals uninterrupted, another teacher is refused."""

import copy
import functools

import pyarrow as pa
import pytest
import torch

from tilth.data.task import Task, schema
from tilth.errors import UsageError
from tilth.models.heads import with_head
from tilth.objectives.distil import Distil, SoftLabels
from tilth.objectives.kv_prediction import KVPrediction
from tilth.objectives.tasks import Classify
from tilth.objectives.tasks_rows import task_documents
from tilth.testing.objectives import documents, tiny_model
from tilth.testing.resume import check_resume
from tilth.tokens.special import special_ids
from tilth.training.loop import fit
from tilth.zoo import tiny


def labelled():
    """(a student, rows with labels, their objective, a teacher), all tiny."""
    body, tokenizer, _ = tiny("masked")
    rows = [
        {"id": str(n), "group": str(n), "split": "", "text": f"row {n}", "label": "ab"[n % 2]}
        for n in range(12)
    ]  # fmt: skip
    task = Task("classify", "rows", pa.Table.from_pylist(rows, schema("classify")))
    special = special_ids(tokenizer)
    layout = {"begin": special.begin, "separator": special.separator, "pad": special.pad}
    inner = Classify(labels=task.labels, length=16, **layout)
    student, teacher = (
        with_head(body, "classify", task.labels, pad=special.pad, seed=seed) for seed in (0, 1)
    )
    return student, task_documents(task, tokenizer), inner, teacher


def test_a_student_goes_on_with_its_teacher():
    student, data, inner, teacher = labelled()
    check_resume(SoftLabels(inner, teacher, temperature=2.0), model=student, data=data)


def test_maps_of_keys_and_values_go_on():
    """The objective's own modules learn; its base is in no checkpoint and stays as it is."""
    check_resume(
        KVPrediction(tiny_model(), tiny_model(seed=1), length=16), model=tiny_model(seed=1)
    )


@pytest.mark.parametrize("kind", ["distil", "soft labels", "kv prediction"])
def test_another_teacher_is_refused(kind, tmp_path):
    if kind == "soft labels":
        student, data, inner, teacher = labelled()
        make = functools.partial(SoftLabels, inner)
    else:
        student, data, teacher = tiny_model(seed=1), documents(), tiny_model()
        make = {
            "distil": lambda teacher: Distil(teacher=teacher, length=16),
            "kv prediction": lambda teacher: KVPrediction(teacher, student, length=16),
        }[kind]
    objective = make(teacher)
    options = {
        "tokens": 8 * objective.length, "batch_tokens": 2 * objective.length, "threads": 1,
        "minimum_steps": 1, "checkpoint": tmp_path,
    }  # fmt: skip
    fit(student, objective, data, **options)
    # The end is given again, by the same teacher, asked or not.
    fit(student, objective, data, **options)
    other = copy.deepcopy(teacher)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    with pytest.raises(UsageError, match="begun with teacher"):
        fit(student, make(other), data, **options)
