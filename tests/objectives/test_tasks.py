"""Objectives of tasks: the contract, rows, what is cut, choices, sets."""

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch

from tilth.data.task import FIELDS, Task, schema
from tilth.errors import DataError, UsageError
from tilth.lookup import construct, load
from tilth.models.heads import pool, with_head
from tilth.objectives import TASK_OBJECTIVES
from tilth.objectives.bag import Bag
from tilth.objectives.batch import Draws
from tilth.objectives.tasks import Choose, Classify, Pair, Tag
from tilth.objectives.tasks_rows import NOT_ONE, one, task_documents, two
from tilth.testing.objectives import check_objective
from tilth.testing.resume import check_resume
from tilth.tokens.special import special_ids
from tilth.zoo import tiny

ROWS = {
    "classify": {"label": ("no", "yes")},
    "multilabel": {"labels": ([], ["a"], ["a", "b"])},
    "tag": {},
    "choose": {"choices": (["one", "two"], ["the third", "a fourth", "another"]),
               "answer": (0, 1)},
    "pair": {"other": ("a second text", "", "and more of it"), "label": ("no", "yes")},
    "bag": {"texts": (["one text", "two texts, of some length"], ["one"], ["a", "b", "c d e"]),
            "label": ("no", "yes")},
    "regress": {"other": ("", "a second text"), "target": (0.5, 2.0, -1.0)},
}  # fmt: skip
TEXTS = ("the file is read", "", "a name of a function that raises an error " * 3, "class")


def made(kind, count=6):
    """A task of a kind, of `count` rows."""
    rows = []
    for number in range(count):
        row = {"id": str(number), "group": str(number), "split": ""}
        if kind == "tag":
            words = TEXTS[number % 4].split() or ["x"]
            row |= {"tokens": words, "tags": [("O", "B-X")[len(w) % 2] for w in words]}
        elif kind != "bag":
            row["text"] = TEXTS[number % 4]
        row |= {name: values[number % len(values)] for name, values in ROWS[kind].items()}
        rows.append(row)
    return Task(kind, kind, pa.Table.from_pylist(rows, schema(kind)))


def objective_of(kind, task):
    special = special_ids(tiny("masked")[1])
    layout = {"begin": special.begin, "separator": special.separator, "pad": special.pad}
    maker = load("objective", TASK_OBJECTIVES, kind)
    if kind == "choose":
        return maker(choices=3, segment=24, **layout)
    if kind == "bag":
        return maker(task.labels, width=32, segment=16, pieces=4, **layout)
    return maker(**({} if kind == "regress" else {"labels": task.labels}), length=24, **layout)


def model_of(kind, task, base="masked"):
    body, tokenizer, _ = tiny(base)
    head = {"tag": "tag", "choose": "choose", "bag": "encoder"}.get(kind, "classify")
    labels = () if kind in ("regress", "choose") else task.labels
    return with_head(body, head, labels, pad=special_ids(tokenizer).pad)


@pytest.mark.parametrize("kind", TASK_OBJECTIVES)
def test_every_task_objective_keeps_the_contract(kind):
    task = made(kind)
    data = task_documents(task, tiny("masked")[1])
    check_objective(objective_of(kind, task), model=model_of(kind, task), data=data)
    assert set(TASK_OBJECTIVES) == set(FIELDS) - {"generate"}


@pytest.mark.parametrize("base", ["masked", "electra", "causal"])
@pytest.mark.parametrize("kind", ["classify", "choose", "bag"])
def test_padding_changes_nothing(kind, base):
    task = made(kind)
    data, objective = task_documents(task, tiny(base)[1]), objective_of(kind, task)
    model = model_of(kind, task, base)
    batch = objective.prepare(data, Draws())
    with torch.no_grad():
        together = objective.logits(model, batch)
        alone = [objective.logits(model, batch.take([row])) for row in range(len(batch))]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_head_is_new_and_the_body_is_the_same():
    body = tiny("masked")[0]
    before = copy.deepcopy(body.state_dict())
    model = with_head(body, "classify", ("no", "yes"), seed=3)
    for name, tensor in body.base_model.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name], tensor)
    assert model.config.num_labels == 2 and model.config.id2label == {0: "no", 1: "yes"}
    other = with_head(body, "classify", ("no", "yes"), seed=4)
    assert not torch.equal(model.classifier.weight, other.classifier.weight)
    assert all(torch.equal(before[name], t) for name, t in body.state_dict().items())
    with pytest.raises(UsageError, match="no setting 'droput'"):
        with_head(body, "tag", ("O",), droput=0.1)
    with pytest.raises(UsageError, match="there is no head 'tags'"):
        with_head(body, "tags")


def test_what_does_not_fit_is_cut_and_counted():
    long, short = np.arange(30), np.arange(100, 105)
    assert one(long, 4, "start").tolist() == [0, 1, 2, 3]
    assert one(long, 4, "end").tolist() == [26, 27, 28, 29]
    first, second = two(long, short, 15, "end")
    assert second.tolist() == short.tolist() and first.tolist() == long[-10:].tolist()
    first, second = two(long, long, 15, "start")
    assert (len(first), len(second)) == (8, 7)
    first, second = two(short, long, 15, "start")
    assert (len(first), len(second)) == (5, 10)
    task = made("pair")
    data = task_documents(task, tiny("masked")[1])
    batch = Pair(task.labels, length=16).prepare(data, Draws())
    assert (batch["sizes"] - 3).sum() + batch.dropped == data.total_tokens
    assert (batch["types"].sum(1) > 0).all()


def test_a_tag_is_learned_at_the_first_sub_token_of_a_word():
    tokenizer = tiny("masked")[1]
    words = ["Überraschung", "!", "of", "argparse.ArgumentParser"]
    row = {"id": "0", "tokens": words, "tags": ["B-X", "O", "O", "B-Y"], "group": "0", "split": ""}
    task = Task("tag", "x", pa.Table.from_pylist([row], schema("tag")))
    data = task_documents(task, tokenizer)
    firsts = data.extra["firsts"][0].tolist()
    ids = data.tokens[0]
    pieces = [tokenizer.decode(ids[a:b].tolist()).strip()
              for a, b in zip(firsts, [*firsts[1:], len(ids)])]  # fmt: skip
    assert pieces == words
    objective = Tag(task.labels, length=len(ids) + 1, begin=0, separator=0)
    batch = objective.prepare(data, Draws())
    assert batch.dropped == 1
    places = np.flatnonzero(batch["target"][0] != NOT_ONE)
    assert (places - 1).tolist() == firsts
    assert [objective.labels[t] for t in batch["target"][0][places]] == row["tags"]
    short = Tag(task.labels, length=8, begin=0, separator=0)
    kept = short.prepare(data, Draws())["target"] != NOT_ONE
    assert kept.sum() == sum(first < 6 for first in firsts) < 4


def test_a_label_that_is_not_learned_is_seen_but_has_no_loss():
    task = made("classify")
    data = task_documents(task, tiny("masked")[1])
    objective = Classify(("no",), length=16)
    batch = objective.prepare(data, Draws())
    assert batch["target"].tolist() == [0, -1] * 3
    with pytest.raises(DataError, match="none of those to learn"):
        objective.loss(model_of("classify", task), batch)
    with pytest.raises(DataError, match="3 choices, more than 2"):
        data = task_documents(made("choose"), tiny("masked")[1])
        Choose(choices=2, segment=16).prepare(data, Draws())
    with pytest.raises(UsageError, match="keep"):
        construct("task", TASK_OBJECTIVES, "tag", {"labels": ["O"], "keep": "end"})
    with pytest.raises(UsageError, match="no head to fine-tune"):
        task_documents(Task("generate", "x", pa.Table.from_pylist([], schema("generate"))),
                       tiny("masked")[1])  # fmt: skip


def test_the_order_of_choices_does_not_matter():
    task = made("choose")
    turned = task.table.to_pylist()
    for row in turned:
        row["choices"] = row["choices"][::-1]
    turned = Task("choose", "x", pa.Table.from_pylist(turned, schema("choose")))
    objective, model = objective_of("choose", task), model_of("choose", task)
    found = []
    for one_task in (task, turned):
        batch = objective.prepare(task_documents(one_task, tiny("masked")[1]), Draws())
        with torch.no_grad():
            found.append(objective.logits(model, batch))
    for row in range(len(found[0])):
        kept = found[0][row][found[0][row] > -torch.inf]
        assert torch.allclose(kept, found[1][row][: len(kept)].flip(0), atol=1e-6)


@pytest.mark.parametrize("vector", ["first", "mean"])
def test_a_bag_has_no_order_and_no_multiplicity(vector):
    def asked(texts):
        row = {"id": "0", "texts": texts, "label": "no", "group": "0", "split": ""}
        return Task("bag", "x", pa.Table.from_pylist([row], schema("bag")))

    texts = ["a file", "the name of it", "an error"]
    model = model_of("bag", asked(texts))
    found = {}
    for pooling in ("max", "mean"):
        objective = Bag(("no", "yes"), width=32, segment=16, pieces=8, pad=1, vector=vector,
                        pooling=pooling)  # fmt: skip
        for name, some in {"as is": texts, "turned": texts[::-1], "twice": texts + texts[:1],
                           "other": ["a file", "class"]}.items():  # fmt: skip
            data = task_documents(asked(some), tiny("masked")[1])
            with torch.no_grad():
                found[pooling, name] = objective.logits(model, objective.prepare(data, Draws()))
    for name in ("turned", "twice"):
        assert torch.allclose(found["max", "as is"], found["max", name], atol=1e-6)
    assert not torch.allclose(found["max", "as is"], found["max", "other"], atol=1e-4)
    assert not torch.allclose(found["mean", "as is"], found["mean", "twice"], atol=1e-6)


def test_a_piece_that_is_not_there_never_wins():
    vectors = torch.tensor([[-3.0, -1.0], [-2.0, -5.0], [-4.0, -4.0]])
    real = torch.tensor([[True, True], [True, False]])
    assert pool(vectors, real).tolist() == [[-2.0, -1.0], [-4.0, -4.0]]
    assert pool(vectors, real, "mean").tolist() == [[-2.5, -3.0], [-4.0, -4.0]]


def test_long_texts_of_a_bag_become_several_pieces():
    row = {"id": "0", "texts": ["name of a file " * 12], "label": "no", "group": "0", "split": ""}
    task = Task("bag", "x", pa.Table.from_pylist([row], schema("bag")))
    data = task_documents(task, tiny("masked")[1])
    batch = Bag(("no", "yes"), width=32, segment=16, pieces=2).prepare(data, Draws())
    kept = int((batch["sizes"] - 2 * (batch["sizes"] > 0)).sum())
    assert kept == 28 and kept + batch.dropped == data.total_tokens


@pytest.mark.parametrize("kind", TASK_OBJECTIVES)
def test_an_interrupted_tuning_ends_the_same(kind):
    task = made(kind, 12)
    data = task_documents(task, tiny("masked")[1])
    check_resume(objective_of(kind, task), model=model_of(kind, task), data=data)
