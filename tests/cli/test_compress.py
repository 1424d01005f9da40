"""`tilth compress`: fewer layers, zero weights; what stays is bit-equal."""

import json

import pytest
import torch
import transformers

from tilth import zoo
from tilth.cli.main import run
from tilth.models.folder import load_model, save_model
from tilth.tokens import bpe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compress")
    model, tokenizer, _ = zoo.tiny("masked")
    bpe.save(tokenizer, folder / "tokenizer")
    save_model(model, folder / "model", folder / "tokenizer")
    return folder


def test_layers_are_left_out(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = [str(folder / "model"), "-o", out, "--layers", "1", "--json"]
    assert run(["compress", "truncate", *words]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["parameters"]["after"] < made["parameters"]["before"]
    small = transformers.AutoModelForMaskedLM.from_pretrained(out)
    whole = load_model(folder / "model", "masked")
    assert small.config.num_hidden_layers == 1
    for ours, theirs in zip(small.bert.encoder.layer[0].parameters(),
                            whole.bert.encoder.layer[0].parameters()):  # fmt: skip
        assert torch.equal(ours, theirs)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_weights_become_zero(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = [str(folder / "model"), "-o", out, "--level", "0.75"]
    assert run(["compress", "sparse", *words]) == 0
    assert "not zero" in capsys.readouterr().out
    matrix = load_model(out, "masked").bert.encoder.layer[0].intermediate.dense.weight
    assert (matrix == 0).float().mean() == 0.75


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["truncate", "{f}/model", "--layers", "9"], 2, "layers"),
        (["truncate", "{f}/model", "--layers", "1", "--keep", "middle"], 2, "middle"),
        (["truncate", "{f}/nowhere", "--layers", "1"], 1, "no config.json"),
        (["sparse", "{f}/model", "--level", "1"], 2, "level"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(
    folder, tmp_path, capsys, words, code, says
):
    out = tmp_path / "never"
    assert run(["compress", *(word.format(f=folder) for word in words), "-o", str(out)]) == code
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1 and not out.exists()
