import numpy as np
import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.contrastive import Contrastive, text_vectors
from tilth.testing.objectives import documents, tiny_model
from tilth.tokens.documents import TokenDocuments

SIDES = ("first", "second")


def test_the_loss_is_that_of_a_loop():
    objective, model = Contrastive(length=16, group=3, temperature=0.5), tiny_model(kind="bert")
    batch = objective.prepare(documents(), Draws())
    expected = 0.0
    for row in range(len(batch)):
        a, b = (text_vectors(model, batch[side][row]).detach().double() for side in SIDES)
        scores = torch.exp(a @ b.T / 0.5)
        for n in range(3):
            expected -= 0.5 * float(torch.log(scores[n, n] / scores[n].sum()))
            expected -= 0.5 * float(torch.log(scores[n, n] / scores[:, n].sum()))
    made = objective.loss(model, batch)
    assert made.total.item() == pytest.approx(expected, rel=1e-4)
    assert made.n_targets == 3 * len(batch) and objective.length == 2 * 3 * 16


def test_vectors_do_not_depend_on_the_padding():
    model = tiny_model(kind="bert")
    text = np.array([[0, 5, 9, 4, -1, -1, -1, -1]])
    long, short = text_vectors(model, text), text_vectors(model, text[:, :4])
    torch.testing.assert_close(long, short, atol=1e-6, rtol=0)
    assert torch.linalg.norm(long).item() == pytest.approx(1, abs=1e-6)


def test_crops_come_from_the_document_and_partners_stay_together():
    data = documents()
    batch = Contrastive(length=16, group=2).prepare(data, Draws())
    for side in ("first", "second"):
        assert (batch[side][..., 0] == 0).all()
    partner = [np.array([n + 1, n + 1]) for n in range(10)]
    rows = [np.array([n + 1, n + 1, n + 1]) for n in range(10)]
    pairs = TokenDocuments([str(n) for n in range(10)], rows, 300, extra={"partner": partner})
    batch = Contrastive(length=8, group=5).prepare(pairs, Draws())
    assert (batch["first"][..., 1] == batch["second"][..., 1]).all()
    assert sorted(batch["first"][..., 1].ravel().tolist()) == list(range(1, 11))
    assert Contrastive(length=8, group=3).prepare(pairs, Draws()).dropped == 3


def test_a_group_of_one_has_nothing_to_compare():
    with pytest.raises(UsageError):
        Contrastive(group=1)
