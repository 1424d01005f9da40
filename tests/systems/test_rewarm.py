"""The system rewarm on a user's own model and documents; its parts by themselves."""

import json

import pytest

from tilth.data.sets import open_data
from tilth.errors import DataError
from tilth.evaluation.runner import run_system
from tilth.models.folder import save_model
from tilth.systems import rewarm
from tilth.systems._continued_texts import side, smoke
from tilth.systems._rewarm_arms import follows
from tilth.tokens import bpe
from tilth.training.history import History, Point
from tilth.training.schedules import constant
from tilth.zoo import tiny
from tilth.zoo.micro import docstrings


def test_no_document_lies_on_both_sides():
    _, tokenizer, _ = tiny("causal")
    texts = [f"text {n} " + "word " * n for n in range(20)]
    found = side(texts, tokenizer, "new")
    test = {bytes(row) for row in found.test.tokens}
    assert len(found.train) == 18 and not test & {bytes(row) for row in found.train.tokens}
    with pytest.raises(DataError, match="at least 4"):
        side(texts[:3], tokenizer, "new")


def test_smoke_sides_share_no_document():
    _, old, new = smoke()
    ids = [set(part.ids) for one in (old, new) for part in (one.train, one.test)]
    assert sum(map(len, ids)) == len(set.union(*ids))


def test_rates_that_do_not_follow_are_seen():
    points = [Point(1, 10, 1.0, 0.5, 1.0), Point(2, 20, 1.0, 0.5, 1.0)]
    history = History({"tokens": 20}, points, 0)
    assert follows(history, constant, 0.5, 0.0) and not follows(history, constant, 0.4, 0.0)


def test_with_a_model_and_documents_of_your_own(tmp_path):
    model, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, tmp_path / "tokenizer")
    save_model(model, tmp_path / "model", tmp_path / "tokenizer")
    texts = [text for _, text in docstrings()]
    for name, part in (("old", texts[::2]), ("new", texts[1::2])):
        rows = [json.dumps({"text": text[:400]}) for text in part[:30]]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    result = run_system(
        rewarm, scale="own", data=open_data(str(tmp_path / "new.jsonl"), "corpus", {}),
        model=str(tmp_path / "model"),
        settings={
            "old": str(tmp_path / "old.jsonl"), "tokens": 10 * 128, "batch_tokens": 128,
            "length": 32, "seeds": 1, "replay": 0.02,
        },
    )  # fmt: skip
    assert [one["name"] for one in result["invariants"] if not one["holds"]] == []
    assert result["models"][0]["name"] == "model" and result["verdict"] == "undecided"
    assert {one["name"] for one in result["data"]} == {"old.jsonl", "new.jsonl"}
