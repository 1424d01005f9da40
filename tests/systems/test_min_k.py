"""The system min-k: its texts, and one's own model and data."""

import json

import pytest

from tilth.data.labelled import read_task
from tilth.errors import DataError, UsageError
from tilth.evaluation.runner import run_system
from tilth.systems import _min_k_texts as texts_of
from tilth.systems import min_k
from tilth.zoo import tiny
from tilth.zoo.micro import docstrings


def test_pieces_are_different_runs_of_words():
    texts = ["a b c d e f g h i j " * 3, "k l m", "n o p q r s t u v w x y z " * 2]
    found = texts_of.pieces(texts, 5, 4, "x")
    assert len(set(found)) == 5 and {len(text.split()) for text in found} == {4}
    assert found == texts_of.pieces(texts, 5, 4, "x")
    with pytest.raises(DataError, match="no text has 90 words"):
        texts_of.pieces(texts, 5, 90, "x")
    with pytest.raises(DataError, match="different pieces"):
        texts_of.pieces(texts, 500, 4, "x")
    one, other = texts_of.halves(found, 3)
    assert sorted(one + other) == sorted(found) and len(one) == 2


def own(path, count=80, longest=90):
    texts = [t for _, t in docstrings() if len(t.split()) >= 8 and len(t) < longest][:count]
    rows = [{"text": text, "label": "seen" if n % 2 else "not"} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_task(path, "classify")


def test_ones_own_model_and_data(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    task = own(tmp_path / "mine.jsonl")
    settings = {"words": "8", "seeds": "2"}
    result = run_system(
        min_k, scale="own", data=task, model=str(tmp_path / "model"), settings=settings
    )
    assert result["models"][0]["gate"] and all(one["holds"] for one in result["invariants"])
    assert result["verdict"] == "undecided"
    with pytest.raises(UsageError, match="needs --data"):
        run_system(min_k, scale="own", model=str(tmp_path / "model"))
    with pytest.raises(UsageError, match="labels are not, seen"):
        run_system(min_k, scale="own", data=task, settings={"seen": "yes"})


def test_ones_own_data_alone(tmp_path):
    task = own(tmp_path / "mine.jsonl", 200, 900)
    settings = {"words": "8", "seeds": "1", "texts": "100", "epochs": "4", "size": "60k"}
    result = run_system(min_k, scale="own", data=task, settings=settings)
    assert result["data"][0]["name"] == "mine"
    assert all(one["holds"] for one in result["invariants"])
    stated = {run.get("parameters") for run in result["runs"] if run["arm"] in ("Min-K%", "loss")}
    assert len(stated) == 1 and stated.pop() > 10_000
