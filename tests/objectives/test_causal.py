import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.lookup import load
from tilth.models import decoder
from tilth.objectives import OBJECTIVES
from tilth.objectives.batch import Batch, Draws
from tilth.objectives.causal import Causal, cross_entropy_sum
from tilth.testing.objectives import VOCABULARY, check_objective, documents, tiny_model
from tilth.tokens.documents import TokenDocuments

# What some cannot be made without.
NEEDED = {
    "replaced": {"vocabulary": VOCABULARY + 1},
    "sentences": {"width": 32, "relation": "next"},
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_keeps_the_contract(name, tmp_path):
    needed = NEEDED.get(name, {})
    if name == "distil":
        decoder.save(tiny_model(seed=1), tmp_path / "teacher")
        needed = {"teacher": str(tmp_path / "teacher")}
    check_objective(load("objective", OBJECTIVES, name)(length=16, **needed))


class Broken(Causal):
    """Draws from nowhere (2020)."""

    def prepare(self, documents, rng):
        return Batch({"tokens": np.random.default_rng().integers(1, 9, (4, self.length + 1))})


class Mean(Causal):
    """Not a sum (2020)."""

    def loss(self, model, batch):
        made = super().loss(model, batch)
        return made._replace(total=made.total / made.n_targets)


@pytest.mark.parametrize(("maker", "fault"), [(Broken, "gave other rows"), (Mean, "not a sum")])
def test_the_contract_check_finds_faults(maker, fault):
    with pytest.raises(AssertionError, match=fault):
        check_objective(maker(length=16))


@given(st.lists(st.lists(st.integers(1, 9), max_size=12), max_size=8), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_every_token_is_a_target_once_or_is_counted_as_dropped(rows, length):
    tokens = [np.array(row, dtype=np.uint16) for row in rows]
    data = TokenDocuments([str(i) for i in range(len(rows))], tokens, vocabulary=10, end=0)
    batch = Causal(length=length).prepare(data, Draws())
    expected = [token for row in rows for token in [*row, 0]]
    made = batch["tokens"][:, 1:].ravel().tolist()
    assert made == expected[: len(made)]
    assert len(made) + batch.dropped == len(expected)
    assert batch.dropped < length
    # The input of a target is the token before it, the end token before the first.
    assert batch["tokens"][:, :-1].ravel().tolist() == [0, *expected][: len(made)]


def test_the_sum_equals_a_loop_over_targets():
    chance = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(2, 3, 5, generator=chance), torch.tensor([[0, 1, 2], [3, 4, 0]])
    expected = 0.0
    for row in range(2):
        for place in range(3):
            values = logits[row, place].double()
            chances = [math.exp(value) for value in values]
            expected -= math.log(chances[targets[row, place]] / sum(chances))
    assert math.isclose(cross_entropy_sum(logits, targets).item(), expected, rel_tol=1e-5)


def test_the_loss_is_that_of_the_model_class():
    """`transformers` shifts and averages by itself when it is given labels."""
    model, objective = tiny_model(), Causal(length=16, apart=False)
    batch = objective.prepare(documents(), Draws())
    made = objective.loss(model, batch)
    rows = torch.from_numpy(batch["tokens"].astype(np.int64))
    theirs = model(input_ids=rows, labels=rows).loss
    assert math.isclose(made.total.item() / made.n_targets, theirs.item(), rel_tol=1e-5)
    assert made.n_targets == len(batch) * 16


def test_a_document_is_read_in_a_row_as_it_is_alone():
    """The sum over rows equals the sum over documents (and pieces of them), each run alone."""
    model, objective, data = tiny_model(), Causal(length=40), documents()
    batch = objective.prepare(data, Draws())
    expected = 0.0
    for row in batch["tokens"].astype(np.int64):
        starts = [0, *(np.flatnonzero(row[1:-1] == data.end) + 1), 40]
        for start, stop in itertools.pairwise(starts):
            piece = torch.from_numpy(row[start : stop + 1])[None]
            expected += cross_entropy_sum(model(piece[:, :-1]).logits, piece[:, 1:]).item()
    assert math.isclose(objective.loss(model, batch).total.item(), expected, rel_tol=1e-5)


def test_draws_depend_on_the_document_alone():
    first = Draws(seed=3, epoch=1).at("a", 2).integers(0, 1 << 30, 4).tolist()
    assert first == Draws(3, 1).at("a", 2).integers(0, 1 << 30, 4).tolist()
    others = [Draws(3, 1).at("b", 2), Draws(3, 1).at("a", 3), Draws(3, 2).at("a", 2)]
    assert all(first != other.integers(0, 1 << 30, 4).tolist() for other in others)


def test_a_row_of_one_token_is_refused():
    with pytest.raises(UsageError):
        Causal(length=1)
