"""The zoo: one build a digest, a gate that can be missed, a build that goes on when killed."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from tilth import zoo
from tilth.data.sets import Source
from tilth.errors import UsageError
from tilth.store.manifest import verify
from tilth.zoo import build, gate, micro, text
from tilth.zoo.table import ZOO


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A zoo of two models of docstrings, a second or so each."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    documents = [(name, name.split(".")[0], body) for name, body in micro.docstrings()]
    monkeypatch.setattr(text, "_named", lambda name: (documents, Source(name, "d", "PSF")))
    monkeypatch.setattr(build, "THREADS", 1)
    monkeypatch.setattr(gate, "HELD_OUT_BYTES", 20_000)
    settings = {
        "sources": ("docs",), "tokenizer": ("docs",), "tokens": 8_000, "size": "40k",
        "vocabulary": 400, "context": 32, "batch_tokens": 512,
    }  # fmt: skip
    for name, kind in (("gpt-small", "gpt-books"), ("encoder-small", "encoder-general")):
        size = {"size": "45k"} if kind == "encoder-general" else {}
        monkeypatch.setitem(ZOO, name, replace(ZOO[kind], **{**settings, **size}))


def test_a_model_is_built_once_and_says_what_it_is(small, monkeypatch, caplog):
    assert zoo.find("gpt-small") is None
    made = zoo.model("gpt-small")
    (said,) = [one.getMessage() for one in caplog.records if one.name == "tilth.zoo"]
    assert "has no gpt-small" in said and "tilth zoo build gpt-small" in said
    verify(made.folder), verify(made.folder.parent)
    record = made.record
    assert record["gate"]["passed"] is made.gate and made.sources == (Source("docs", "d", "PSF"),)
    # So little training teaches less than counting, and the zoo says so.
    assert not made.gate and record["gate"]["model"] > record["gate"]["bound"] > 0
    assert not (made.folder.parent / "checkpoint").exists()
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built twice"))
    assert zoo.model("gpt-small") == made == zoo.find("gpt-small")
    model = transformers.AutoModelForCausalLM.from_pretrained(made.folder)
    tokens = zoo.tokens("gpt-small", "test")
    assert tokens.vocabulary == model.config.vocab_size == 400
    with pytest.raises(UsageError, match="no split"):
        zoo.tokens("gpt-small", "dev")
    monkeypatch.setitem(ZOO, "gpt-small", replace(ZOO["gpt-small"], tokens=30_000))
    monkeypatch.setattr(build, "_build", lambda folder, *_: pytest.fail("a recipe of its own"))
    with pytest.raises(pytest.fail.Exception, match="of its own"):
        zoo.model("gpt-small")


def test_a_draft_is_distilled_from_its_target_which_is_built_first(small, monkeypatch):
    taught = replace(ZOO["gpt-small"], teacher="gpt-small", learning_rate=1e-3)
    monkeypatch.setitem(ZOO, "gpt-taught", taught)
    made = zoo.model("gpt-taught")
    target = zoo.find("gpt-small")
    assert target is not None and target.digest != made.digest
    files = [(one.folder / "tokenizer.json").read_bytes() for one in (target, made)]
    assert files[0] == files[1]
    # Its loss is a distance to the target, which is far below what one token costs untaught.
    assert 0 < made.record["loss"] < 1.5 < target.record["loss"]
    # Another target, another draft.
    monkeypatch.setitem(ZOO, "gpt-small", replace(ZOO["gpt-small"], tokens=10_000))
    assert zoo.model("gpt-taught").digest != made.digest


def test_no_group_stands_on_both_sides(small):
    read = text.read(("docs",), 1000)
    groups = [
        {id.split(".")[0].split("-")[0] for id, _ in side} for side in (read.train, read.test)
    ]
    assert groups[0] and groups[1] and not groups[0] & groups[1]
    assert max(len(piece) for piece in read.texts()) <= 1000


def test_pieces_join_to_the_text():
    body = "".join(f"line {n}\n" for n in range(2000))
    for whole in (body, body.replace("\n", " "), "x" * 9001):
        pieces = list(text.cut(whole))
        assert "".join(pieces) == whole and max(map(len, pieces)) <= text.PIECE


def test_a_killed_build_goes_on_to_the_same_weights(small, monkeypatch):
    from tilth.models import folder

    whole = zoo.model("gpt-small").folder
    weights = (whole / folder.WEIGHTS).read_bytes()
    (whole.parent / "manifest.json").unlink()
    (whole / folder.WEIGHTS).write_bytes(b"torn")
    assert zoo.find("gpt-small") is None
    assert (zoo.model("gpt-small").folder / folder.WEIGHTS).read_bytes() == weights


def test_the_gate_of_a_masked_model_counts_what_it_names(monkeypatch):
    monkeypatch.setattr(gate, "HELD_OUT_BYTES", 40_000)
    model, _, documents = zoo.tiny("masked")
    said = gate.above_the_most_frequent(model, documents, length=32, mask=2, least_ratio=3, seed=0)
    assert not said["passed"] and 0 <= said["model"] < 0.1

    # One who names the most frequent token always.
    rows = gate.stream(documents.select(gate.sample(documents)), 32)
    frequent = int(np.bincount(rows[rows != 0]).argmax())
    biased = copy.deepcopy(model)
    with torch.no_grad():
        biased.decoder.bias[frequent] = 1e4
    found = gate.above_the_most_frequent(
        biased, documents, length=32, mask=2, least_ratio=1, seed=0
    )
    assert found["model"] == pytest.approx(found["bound"], rel=0.2)


def test_the_table_is_literal_and_its_two_zoos_do_not_mix():
    for recipe in ZOO.values():
        assert (recipe.zoo == "python") == (recipe.sources == ("installation",))
        assert json.dumps(recipe.to_value())
    with pytest.raises(UsageError, match="did you mean 'gpt-books'"):
        zoo.model("gpt-book")
