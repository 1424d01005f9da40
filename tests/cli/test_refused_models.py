"""Bases that no command can do anything with: one line by name, and nothing is left behind."""

import json
import shutil

import pytest
import torch
import transformers

from tilth import zoo
from tilth.build import memory
from tilth.cli.main import run
from tilth.models.encoders import build_shape
from tilth.models.folder import load_model, save_model
from tilth.models.lora import add_lora, save_lora
from tilth.tokens import bpe
from tilth.zoo.micro import docstrings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A good model; a Bert, a T5, one with NaN in a matrix and an adapter with one; texts, rows."""
    folder = tmp_path_factory.mktemp("refused")
    model, tokenizer, _ = zoo.tiny()
    bpe.save(tokenizer, folder / "tokenizer")
    save_model(model, folder / "good", folder / "tokenizer")
    bert = build_shape(32, 1, vocabulary=400, context=64, kind="bert", pad=1)
    save_model(bert, folder / "bert", folder / "tokenizer")
    config = transformers.T5Config(
        vocab_size=400, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder / "t5")
    shutil.copy(folder / "tokenizer" / "tokenizer.json", folder / "t5")
    lost = load_model(folder / "good")
    with torch.no_grad():
        lost.model.layers[1].mlp.up_proj.weight[3, 4] = float("nan")
    save_model(lost, folder / "lost", folder / "tokenizer")
    adapted = load_model(folder / "good")
    adapter = add_lora(adapted, rank=2)
    with torch.no_grad():
        adapted.get_submodule(adapter.modules[0]).up.fill_(float("inf"))
    save_lora(adapted, adapter, folder / "adapter", base="good")
    lines(folder / "docs.jsonl", [{"text": text} for _, text in docstrings()[:40]])
    lines(folder / "rows.jsonl", [{"text": f"row {n}", "label": "ab"[n % 2]} for n in range(40)])
    lines(folder / "chats.jsonl", [{"prompt": f"{n}?", "answer": "wet"} for n in range(40)])
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


LOST = "mlp.up_proj.weight holds numbers that are none"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train {f}/docs.jsonl --size 1000b --plan", "GB to train"),
        ("train {f}/docs.jsonl --size 1000b --objective masked", "GB of memory are free here"),
        ("train {f}/docs.jsonl --base {f}/bert --objective causal", "is a bert, whose attention"),
        ("compress distil {f}/bert {f}/docs.jsonl", "a masked teacher is not learned from"),
        ("tune {f}/bert {f}/chats.jsonl", "is a bert, whose attention sees both sides"),
        ("train {f}/docs.jsonl --base {f}/lost", LOST),
        ("tune {f}/lost {f}/rows.jsonl", LOST),
        ("merge {f}/good {f}/lost", LOST),
        ("merge {f}/good --base {f}/lost --weights 0.5", LOST),
        ("merge {f}/adapter --base {f}/good", ".up holds numbers that are none"),
        ("compress truncate {f}/lost --layers 1", LOST),
        ("compress sparse {f}/lost", LOST),
        ("compress distil {f}/lost {f}/docs.jsonl --size 45k", LOST),
        ("tune {f}/t5 {f}/rows.jsonl", "is an encoder-decoder (t5), which is not covered"),
        ("tune {f}/t5 {f}/chats.jsonl", "is a model of type t5"),
        ("train {f}/docs.jsonl --base {f}/t5", "is a model of type t5"),
        ("merge {f}/good", "one model alone gives itself"),
        ("merge {f}/good --base {f}/good", "--weights 0.5 for half way"),
    ],
)
def test_one_line_and_nothing_left(folder, tmp_path, capsys, words, says):
    out = tmp_path / "never"
    assert run([*words.format(f=folder).split(), "-o", str(out)]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error.strip().splitlines()[-1] and not out.exists()
    assert error.count("tilth: ") == 1 and "unexpected" not in error


def test_a_base_is_counted_by_its_headers_before_it_is_loaded(
    folder, tmp_path, capsys, monkeypatch
):
    count = sum(p.numel() for p in load_model(folder / "good").parameters())
    assert memory.parameters_in(folder / "good") == count
    monkeypatch.setattr(memory, "available", lambda: 5 * count)
    out = ["-o", str(tmp_path / "never"), "--plan"]
    for words in (
        ["train", str(folder / "docs.jsonl"), "--base", str(folder / "good")],
        ["tune", str(folder / "good"), str(folder / "rows.jsonl")],
    ):
        assert run([*words, *out]) == 1
        assert f"{count:,} parameters take" in capsys.readouterr().err
    memory.refuse_too_large(count, trained=0)  # a LoRA's base does not train
    # The weights alone would fit; a thousand tokens at a time do not.
    monkeypatch.setattr(memory, "available", lambda: 17 * count)
    for words in (
        ["train", str(folder / "docs.jsonl"), "--base", str(folder / "good"), "--tokens", "20k"],
        ["tune", str(folder / "good"), str(folder / "rows.jsonl"), "--set", "length=64"],
    ):
        assert run([*words, *out]) == 1
        assert "tokens at a time take" in capsys.readouterr().err


def test_what_is_free_is_known_here():
    free = memory.available()
    assert free is None or 0 < free < 1 << 50
