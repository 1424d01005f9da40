import numpy as np
import pytest
import torch

from tilth.errors import DataError
from tilth.objectives.batch import Draws
from tilth.objectives.causal import cross_entropy_sum
from tilth.objectives.instruct import NO_TARGET, Instruct
from tilth.objectives.retrieved import Retrieved
from tilth.testing.objectives import documents, tiny_model
from tilth.tokens.documents import TokenDocuments


def conversations() -> TokenDocuments:
    rows = [np.arange(1, 1 + size) for size in (6, 9, 3, 30)]
    learn = [np.arange(size) >= size // 2 for size in (6, 9, 3, 30)]
    return TokenDocuments(list("abcd"), rows, 300, extra={"learn": learn})


def test_only_answers_are_targets_and_conversations_stay_whole():
    data = conversations()
    batch = Instruct(length=16).prepare(data, Draws())
    assert batch.dropped == 30 - 17  # of the last, which is longer than a row
    targets = batch["targets"]
    assert sorted(targets[targets != NO_TARGET].tolist()) == sorted(
        [4, 5, 6, 5, 6, 7, 8, 9, 2, 3, 16, 17]
    )
    # The input of a target is the token before it.
    at = targets != NO_TARGET
    assert (batch["ids"][at] + 1 == targets[at]).all()


def test_the_loss_is_that_of_each_conversation_alone():
    data, model = conversations(), tiny_model()
    objective = Instruct(length=40)
    batch = objective.prepare(data, Draws())
    assert len(batch) == 2
    expected = 0.0
    for row, learn in zip(data.tokens, data.extra["learn"]):
        logits = model(input_ids=torch.from_numpy(row[None, :-1])).logits[0]
        keep = torch.from_numpy(learn[1:])
        expected += cross_entropy_sum(logits[keep], torch.from_numpy(row[1:])[keep]).item()
    assert objective.loss(model, batch).total.item() == pytest.approx(expected, rel=1e-5)


def test_a_mask_of_another_size_is_refused():
    data = conversations()
    data.extra["learn"][1] = np.ones(4, bool)
    with pytest.raises(DataError, match="each token"):
        Instruct(length=16).prepare(data, Draws())


def test_retrieved_rows_keep_the_neighbours_of_their_chunks():
    tokens = np.arange(1, 23)
    beside = np.arange(6 * 3 * 5).reshape(6, 3, 5)
    data = TokenDocuments(["a"], [tokens], 300, extra={"neighbours": [beside]})
    batch = Retrieved(length=8, chunk=4, most=2, tokens=5).prepare(data, Draws())
    assert batch["ids"].shape == (3, 8) and batch["neighbours"].shape == (3, 2, 2, 5)
    assert batch["neighbours"].reshape(6, 2, 5).tolist() == beside[:, :2].tolist()
    assert batch["ids"][1].tolist() == list(range(9, 17))
    assert batch["targets"][2].tolist() == [18, 19, 20, 21, 22, 0, -1, -1]
    assert batch.dropped == 1
    data.extra["neighbours"] = [beside[:2]]
    with pytest.raises(DataError, match="chunks"):
        Retrieved(length=8, chunk=4).prepare(data, Draws())


def test_all_targets_of_documents_are_there_with_and_without_neighbours():
    data = documents()
    batch = Retrieved(length=16).prepare(data, Draws())
    assert (batch["targets"] != -1).sum() + batch.dropped == data.total_tokens + sum(
        data.lengths > 0
    )
