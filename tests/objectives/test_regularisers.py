"""z-loss and KL: their formulas, their sum with any objective, their place in float32."""

import copy
import math

import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.causal import Causal
from tilth.objectives.regularisers import Regularised, kl_mean, z_mean
from tilth.testing.objectives import documents, tiny_model
from tilth.testing.resume import check_resume


def test_the_means_are_those_of_the_formulas():
    chance = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(2, 3, 5, generator=chance).double() for _ in range(2))
    z, kl = 0.0, 0.0
    for row in range(2):
        for place in range(3):
            z += math.log(sum(math.exp(v) for v in ours[row, place])) ** 2 / 6
            p, q = theirs[row, place].softmax(0), ours[row, place].softmax(0)
            kl += sum((a * (a.log() - b.log())).item() for a, b in zip(p, q)) / 6
    assert math.isclose(z_mean(ours).item(), z, rel_tol=1e-5)
    assert math.isclose(kl_mean(ours, theirs).item(), kl, rel_tol=1e-4)
    assert abs(kl_mean(ours, ours).item()) < 1e-6
    assert z_mean(ours.bfloat16()).dtype == torch.float32


def test_terms_are_added_to_the_loss():
    model, objective = tiny_model(), Causal(length=16)
    batch = objective.prepare(documents(), Draws()).take(slice(0, 4))
    plain = objective.loss(model, batch)
    made = Regularised(objective, z=0.5).loss(model, batch)
    rows = torch.from_numpy(batch["tokens"].astype("int64"))[:, :-1]
    expected = 0.5 * z_mean(model(input_ids=rows).logits).item() * plain.n_targets
    assert math.isclose(made.total.item() - plain.total.item(), expected, rel_tol=1e-4)
    assert math.isclose(made.parts["z"], expected, rel_tol=1e-4)
    assert made.n_targets == plain.n_targets
    assert Regularised(objective, z=0.0).loss(model, batch).total.item() == plain.total.item()


def test_kl_is_zero_at_the_reference_and_pulls_back_to_it():
    model, objective = tiny_model(), Causal(length=16)
    batch = objective.prepare(documents(), Draws()).take(slice(0, 4))
    bound = Regularised(objective, z=0.0, kl=1.0, reference=copy.deepcopy(model))
    plain = objective.loss(model, batch)
    assert math.isclose(bound.loss(model, batch).total.item(), plain.total.item(), rel_tol=1e-6)
    other = tiny_model(seed=1)
    made = bound.loss(other, batch)
    assert made.parts["kl"] > 0
    made.total.backward()
    assert all(p.grad is None for p in bound.reference.parameters())


def test_a_regularised_training_goes_on_after_an_interruption():
    check_resume(Regularised(Causal(length=16), z=1e-3))


def test_it_says_what_the_objective_says_and_the_reference_has_no_dropout():
    from tilth.objectives.contrastive import Contrastive

    around = Regularised(Contrastive(length=16))
    assert around.segment == 16 and around.model_kind == "bert"
    assert not hasattr(Regularised(Causal(length=16)), "segment")
    model, objective = tiny_model(), Causal(length=16)
    batch = objective.prepare(documents(), Draws()).take([0])
    bound = Regularised(objective, kl=1.0, reference=copy.deepcopy(model).train())
    bound.loss(model, batch)
    assert not bound.reference.training


def test_what_cannot_be_is_refused():
    for options in ({"z": -1.0}, {"kl": 0.5}, {"reference": tiny_model()}):
        with pytest.raises(UsageError):
            Regularised(Causal(length=16), **options)
    with pytest.raises(UsageError, match="no head"):
        objective = Causal(length=16)
        batch = objective.prepare(documents(), Draws()).take([0])
        Regularised(objective).loss(tiny_model().model, batch)
