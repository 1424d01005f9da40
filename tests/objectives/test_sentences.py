import numpy as np
import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.masked import NO_TARGET
from tilth.objectives.sentences import Sentences
from tilth.testing.objectives import check_objective, tiny_model
from tilth.tokens.documents import TokenDocuments

COUNT = 40


def counted(count: int = COUNT, size: int = 50) -> TokenDocuments:
    """Document n holds the tokens 1 + 7 n to 7 (n + 1) again and again, so that a piece says where
    it comes from and in which order it was."""
    rows = [(1 + 7 * n + np.arange(size) % 7).astype(np.uint16) for n in range(count)]
    return TokenDocuments([f"d{n}" for n in range(count)], rows, 7 * count + 1, end=0)


def pairs(batch):
    """(first, second, label) with the masks taken off, and what is hidden."""
    original = np.where(batch["targets"] == NO_TARGET, batch["ids"], batch["targets"])
    found = []
    for row in range(len(batch)):
        for number in range(batch["segments"][row].max() + 1):
            place = batch["segments"][row] == number
            ids, types = original[row, place], batch["types"][row, place]
            assert ids[0] == 0 and (np.diff(types) >= 0).all()
            second = int(np.argmax(types))
            assert ids[second] == 0
            label = batch["labels"][row, place]
            assert (label[1:] == -1).all()
            found.append((ids[1:second], ids[second + 1 :], int(label[0])))
    return found


@pytest.mark.parametrize("relation", ["order", "next"])
def test_pairs_are_what_their_labels_say(relation):
    data = counted()
    objective = Sentences(width=32, relation=relation, length=64, pair=20)
    batch = objective.prepare(data, Draws())
    found = pairs(batch)
    labels = np.array([label for _, _, label in found])
    assert len(found) == COUNT * 3 and batch.dropped == 0
    assert abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(found))
    for first, second, label in found:
        owners = {int((piece[0] - 1) // 7) for piece in (first, second)}
        follows = (first[-1] - 1) % 7 + 1 == (second[0] - 1) % 7 or (
            (first[-1] - 1) % 7 == 6 and (second[0] - 1) % 7 == 0
        )
        if relation == "next":
            assert len(owners) == (1 if label else 2)
        else:
            assert len(owners) == 1
        if label:
            assert follows
    tokens = sorted(token for first, second, _ in found for token in [*first, *second])
    if relation == "order":
        assert tokens == sorted(np.concatenate(data.tokens).tolist())


def test_order_is_pure_in_the_document():
    data = counted(6)
    objective = Sentences(width=32, length=20, pair=20)
    among = objective.prepare(data, Draws(4))
    alone = objective.prepare(data.select([3]), Draws(4))
    mine = [set(row.tolist()) for row in alone["ids"]]
    assert all(row in [set(other.tolist()) for other in among["ids"]] for row in mine)


def test_the_head_learns_and_is_not_the_models():
    objective, model = Sentences(width=32, relation="next", length=32), tiny_model(kind="bert")
    batch = objective.prepare(counted(), Draws())
    made = objective.loss(model, batch)
    made.total.backward()
    assert objective.head.weight.grad.abs().max() > 0
    assert made.parts["counted"] == len(pairs(batch))
    # Untrained pairs cost ln 2, weighted by 15 % of their tokens.
    tokens = int((batch["segments"] >= 0).sum()) - 2 * made.parts["counted"]
    assert made.parts["pairs"] / (0.15 * tokens) == pytest.approx(np.log(2), abs=0.4)
    assert made.total.item() == pytest.approx(made.parts["masked"] + made.parts["pairs"], rel=1e-5)


def test_the_same_head_each_time():
    heads = [Sentences(width=32).head.weight for _ in range(2)]
    assert torch.equal(*heads)


def test_the_contract_with_order():
    check_objective(Sentences(width=32, length=24, pair=16, relation="order"))


def test_one_document_has_no_other():
    with pytest.raises(UsageError, match="two documents"):
        Sentences(width=32, relation="next", length=16).prepare(counted(1), Draws(3))
