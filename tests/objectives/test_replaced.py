import math

import numpy as np
import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.masked import NO_TARGET
from tilth.objectives.replaced import Replaced, sample
from tilth.testing.objectives import VOCABULARY, documents, tiny_model

OPTIONS = {"length": 16, "vocabulary": VOCABULARY + 1}


def test_draws_follow_the_distribution_and_are_no_argmax():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]])).expand(20_000, 3)
    draws = torch.from_numpy(np.random.default_rng(0).random(20_000, dtype=np.float32))
    shares = torch.bincount(sample(logits, draws)) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.01, rtol=0)
    assert sample(torch.zeros(1, 4), torch.tensor([1.0])).tolist() == [3]


def test_the_generator_gets_no_gradient_from_the_detection_and_the_model_none_from_the_filling():
    objective, model = Replaced(**OPTIONS), tiny_model(kind="electra")
    batch = objective.prepare(documents(), Draws())
    scaled = Replaced(**OPTIONS, weight=1e6)
    gradients = []
    for one in (objective, scaled):
        model.zero_grad(set_to_none=True)
        one.loss(model, batch).total.backward()
        gradients.append({n: p.grad for n, p in one.generator.named_parameters()})
    assert any(grad.abs().max() > 0 for grad in gradients[0].values() if grad is not None)
    for name, grad in gradients[0].items():
        assert (grad is None) == (gradients[1][name] is None)
        assert grad is None or torch.equal(grad, gradients[1][name])


def test_the_parts_are_those_of_a_plain_computation():
    objective, model = Replaced(**OPTIONS, weight=3.0), tiny_model(kind="electra")
    batch = objective.prepare(documents(), Draws()).take([1])
    made = objective.loss(model, batch)
    original = np.where(batch["targets"] == NO_TARGET, batch["ids"], batch["targets"])
    assert made.n_targets == 16 and (batch["ids"] == VOCABULARY).any()
    assert made.total.item() == pytest.approx(
        made.parts["generator"] / 0.15 + 3 * made.parts["detection"], rel=1e-5
    )
    # Untrained, the loss of each token is near ln 2.
    assert abs(made.parts["detection"] / 16 - math.log(2)) < 0.3
    assert original.max() < VOCABULARY


def test_a_draw_that_is_the_original_counts_as_original(monkeypatch):
    objective, model = Replaced(**OPTIONS), tiny_model(kind="electra")
    batch = objective.prepare(documents(), Draws())
    targets = torch.from_numpy(batch["targets"].astype(np.int64))
    places = targets != NO_TARGET

    def drawn(logits, draws):
        """The original in every place but the first."""
        found = targets[places].clone()
        found[0] = (found[0] + 1) % VOCABULARY
        return found

    monkeypatch.setattr("tilth.objectives.replaced.sample", drawn)
    assert objective.loss(model, batch).parts["replaced"] == 1


def test_a_model_without_one_logit_a_token_is_refused():
    objective = Replaced(**OPTIONS)
    batch = objective.prepare(documents(), Draws())
    with pytest.raises(UsageError, match="one logit a token"):
        objective.loss(tiny_model(kind="bert"), batch)


def test_a_token_classifier_of_one_label_detects_and_the_generator_is_of_its_kind():
    from tilth.models.encoders import NEAR, build_shape
    from tilth.testing.objectives import check_objective

    objective = Replaced(**OPTIONS, kind="modernbert", settings=NEAR, layers=2, window=4)
    model = build_shape(
        32, 2, vocabulary=VOCABULARY + 1, context=64, kind="modernbert-detector", settings=NEAR
    )
    check_objective(objective, model=model)
    assert type(objective.generator).__name__ == "ModernBertForMaskedLM"
    made = objective.loss(model, objective.prepare(documents(), Draws()))
    assert abs(made.parts["detection"] / made.n_targets - math.log(2)) < 0.1
    logits, changed = objective.answers(model, objective.prepare(documents(), Draws()))
    assert logits.shape == changed.shape and changed.sum() == made.parts["replaced"]
    assert ((logits > 0) == changed).sum() == made.parts["right"]
