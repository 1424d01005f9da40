"""The system retro: facts, sides of the split, scores, its run at scale smoke."""

import numpy as np
import pytest
import torch

from tilth.errors import DataError
from tilth.systems import _retro_arms, retro
from tilth.systems._retro_arms import BITS, FACTS, document_bits, objective, prompted
from tilth.systems._retro_sides import copied, divide
from tilth.systems._retro_texts import CODE


@pytest.fixture(scope="module")
def inputs():
    return retro.prepare("smoke", None, None, 0).inputs


def test_groups_are_on_one_side_whatever_their_order():
    texts = [f"{n} {'x' * 30}" for n in range(40)]
    groups = [f"group {n // 2}" for n in range(40)]
    sides = divide(texts, groups, 4000, 100)
    assert list(map(len, sides[:3])) == [28, 4, 8] and sides.near_copies == 0
    of = dict(zip(texts, groups))
    found = [{of[text] for text in side} for side in sides[:3]]
    assert sum(map(len, found)) == len(set.union(*found)) == 20
    assert divide(texts[::-1], groups[::-1], 4000, 100) == sides
    with pytest.raises(DataError, match="at least 10"):
        divide(texts[:18], groups[:18], 10, 10)


def test_near_copies_of_held_out_texts_are_left_out():
    texts = [" ".join(f"w{n}-{word}" for word in range(40)) for n in range(20)]
    first = divide(texts, texts, 20_000, 1000)
    renamed = [text.replace("-3 ", "-other ") for text in texts]
    again = divide([*texts, *renamed], [*texts, *renamed], 40_000, 1000)
    assert again.near_copies > 0
    assert not copied(again.test, again.train) and not copied(again.tuning, again.train)
    assert copied(renamed[:1], texts) and not copied(first.test, first.train)


def test_a_look_up_comes_before_the_answer_and_finds_the_sheet(inputs):
    database = inputs.database
    for row, answers, near in zip(inputs.facts.tokens, inputs.answers,
                                  inputs.facts.extra["neighbours"]):  # fmt: skip
        places = np.flatnonzero(answers)
        asking = places[0] // inputs.chunk - 1
        said = database.text(row[: (asking + 1) * inputs.chunk])
        assert said.endswith(".") and len(places) == CODE
        found = database.text(near[asking, 0])
        code = database.text(row[places])
        assert found.startswith(said[:-1] + ":") and code in found
    trained = [database.text(row) for row in inputs.train.tokens]
    asked = [database.text(row).split(".")[0] for row in inputs.facts.tokens]
    assert not [text for text in trained if any(f"{number}." in text for number in asked)]


def test_bits_are_those_of_the_whole_document(inputs):
    """Where a document fits in one window, the sum over windows is one pass of the model."""
    model = _retro_arms.build(inputs, "RETRO", 0)
    scored = objective(inputs)
    short = [n for n, row in enumerate(inputs.facts.tokens) if len(row) <= inputs.length][:3]
    data = inputs.facts.select(short)
    bits = document_bits(model, scored, data)
    for number, row in enumerate(data.tokens):
        ids = torch.from_numpy(row.astype(np.int64))[None]
        near = torch.from_numpy(data.extra["neighbours"][number]).long()[None]
        with torch.no_grad():
            logits = model(ids, near[:, : ids.shape[1] // inputs.chunk]).logits[0]
        targets = torch.cat([ids[0, 1:], torch.tensor([data.end])])
        nats = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        assert bits[number] == pytest.approx(nats.item() / np.log(2), rel=1e-4)


def test_every_token_of_a_long_document_is_scored_once(inputs):
    class Uniform:
        device = torch.device("cpu")
        config = type("config", (), {"model_type": "none"})

        def __call__(self, input_ids, use_cache):
            return type("answer", (), {"logits": torch.zeros(*input_ids.shape, 8)})

    data = inputs.real
    assert max(data.lengths) > inputs.length
    capped = data.tokens
    data.tokens = [row % 8 for row in capped]
    try:
        bits = document_bits(Uniform(), objective(inputs), data)
    finally:
        data.tokens = capped
    assert bits == pytest.approx(3.0 * data.lengths)


def test_the_prompt_holds_the_evidence(inputs):
    data, answers = prompted(inputs)
    for row, asked, old, was in zip(data.tokens, answers, inputs.facts.tokens, inputs.answers):
        assert row[np.flatnonzero(asked)].tolist() == old[np.flatnonzero(was)].tolist()
        assert inputs.database.text(row[asked]) in inputs.database.text(row[: np.argmax(asked)])


def test_smoke(smoke):
    result = smoke("retro")
    assert result["verdict"] == "not judged" and len(result["invariants"]) == 12
    assert all(entry["holds"] for entry in result["invariants"]), result["invariants"]
    values = {(run["arm"], run["metric"]): run["value"] for run in result["runs"]}
    assert values["GPT", BITS] > 0 and 0 <= values["RETRO", FACTS] <= 1
    assert values["RETRO", BITS] != values["retrieval off", BITS]
