import math

import numpy as np
import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.models.decoder import build
from tilth.objectives.batch import Draws, Loss
from tilth.objectives.causal import Causal
from tilth.objectives.distil import Distil, SoftLabels, divergence_sum
from tilth.testing.objectives import documents, tiny_model


def test_the_divergence_is_that_of_a_loop():
    chance = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(3, 5, generator=chance) for _ in range(2))
    expected = 0.0
    for a, b in zip(ours.double() / 2, theirs.double() / 2):
        p, q = torch.softmax(b, 0), torch.softmax(a, 0)
        expected += 4 * float((p * (p / q).log()).sum())
    assert divergence_sum(ours, theirs, 2.0).item() == pytest.approx(expected, rel=1e-5)
    assert divergence_sum(ours, ours, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_a_student_equal_to_its_teacher_has_only_the_hard_loss_and_the_teacher_no_gradient():
    teacher, student = tiny_model(), tiny_model()
    objective = Distil(teacher=teacher, length=16, share=0.4)
    batch = objective.prepare(documents(), Draws())
    made = objective.loss(student, batch)
    hard = Causal(length=16).loss(student, batch).total.item()
    assert made.total.item() == pytest.approx(0.6 * hard, rel=1e-4)
    made.total.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_another_vocabulary_is_refused():
    objective = Distil(teacher=build("22k", vocabulary=320, context=64), length=16)
    batch = objective.prepare(documents(), Draws())
    with pytest.raises(DataError, match="320"):
        objective.loss(tiny_model(), batch)
    with pytest.raises(UsageError):
        Distil(teacher=tiny_model(), share=0)


class Inner(Causal):
    """Labels of a row: the logits of its last token (2020)."""

    def logits(self, model, batch):
        rows = torch.from_numpy(batch["tokens"].astype(np.int64))
        return model(input_ids=rows[:, :-1]).logits[:, -1]

    def loss(self, model, batch):
        raise AssertionError("labels are not looked at")


def test_soft_labels_pull_the_student_to_the_teacher():
    teacher, student = tiny_model(1), tiny_model(2)
    objective = SoftLabels(Inner(length=16), teacher)
    batch = objective.prepare(documents(), Draws())
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        made = objective.loss(student, batch)
        assert isinstance(made, Loss) and made.n_targets == len(batch)
        losses.append(made.total.item())
        made.total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0] and math.isfinite(losses[-1])


def test_a_network_that_teacher_and_student_would_share_is_refused():
    from tilth.objectives.bag import Bag
    from tilth.objectives.tasks import Choose

    with pytest.raises(UsageError, match="network of its own"):
        SoftLabels(Bag(), tiny_model())
    assert SoftLabels(Choose(segment=16), tiny_model()).segment == 16


def test_a_student_that_agrees_with_its_teacher_has_no_gradient():
    teacher, student = tiny_model(1), tiny_model(1)
    objective = SoftLabels(Inner(length=16), teacher)
    made = objective.loss(student, objective.prepare(documents(), Draws()))
    made.total.backward()
    slopes = [float(p.grad.abs().max()) for p in student.parameters() if p.grad is not None]
    assert slopes and max(slopes) < 1e-12
