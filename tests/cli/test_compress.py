"""`tilth compress`: fewer layers, zero weights; what stays is bit-equal."""

import json

import pytest
import torch
import transformers

from tilth import zoo
from tilth.cli.main import run
from tilth.models import decoder
from tilth.models.folder import load_model, save_model
from tilth.tokens import bpe
from tilth.zoo.micro import docstrings

SMALL = ["--set", "batch_tokens=256", "--set", "threads=1", "--set", "context=32", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compress")
    model, tokenizer, _ = zoo.tiny("masked")
    bpe.save(tokenizer, folder / "tokenizer")
    save_model(model, folder / "model", folder / "tokenizer")
    save_model(zoo.tiny("causal")[0], folder / "gpt", folder / "tokenizer")
    other = bpe.train(["others"], 260)
    bpe.save(other, folder / "others")
    save_model(
        decoder.build("26k", vocabulary=400, context=64), folder / "other", folder / "others"
    )
    texts = [{"text": text} for _, text in docstrings()[:80]]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    words = {"wet": "rain and storm", "dry": "sun and sand"}
    rows = [
        {"text": f"{n}: {words[label]}", "label": label}
        for n, label in enumerate(["wet", "dry"] * 40)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = ["--set", "epochs=3", "--set", "learning_rate=0.01", "--set", "length=24"]
    assert run(["tune", str(folder / "model"), str(folder / "rows.jsonl"), "-o",
                str(folder / "tuned"), *more, "--set", "threads=1", "-q"]) == 0  # fmt: skip
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
    for ours, theirs in zip(small.model.layers[0].parameters(),
                            whole.model.layers[0].parameters()):  # fmt: skip
        assert torch.equal(ours, theirs)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_weights_become_zero(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = [str(folder / "model"), "-o", out, "--level", "0.75"]
    assert run(["compress", "sparse", *words]) == 0
    assert "not zero" in capsys.readouterr().out
    matrix = load_model(out, "masked").model.layers[0].mlp.Wi.weight
    assert (matrix == 0).float().mean() == 0.75


def test_a_causal_student_learns_from_its_teacher(folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    words = [str(folder / "gpt"), str(folder / "texts.jsonl"), "-o", out, "--size", "26k"]
    assert run(["compress", "distil", *words, "--tokens", "3k", *SMALL, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["after"]["held out"] < made["before"]["held out"]
    student = transformers.AutoModelForCausalLM.from_pretrained(out)
    teacher = load_model(folder / "gpt")
    assert sum(p.numel() for p in student.parameters()) < sum(
        p.numel() for p in teacher.parameters()
    )
    tokenizer = (folder / "gpt" / "tokenizer.json").read_bytes()
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == tokenizer


def test_a_tuned_classifier_is_distilled_into_a_pretrained_student(folder, tmp_path, capsys):
    out, small = str(tmp_path / "out"), str(tmp_path / "small")
    assert run(["compress", "truncate", str(folder / "model"), "-o", small, "--layers", "1"]) == 0
    rows = [{"text": f"{n}: {w}"} for n, w in enumerate(["rain and storm", "sun and sand"] * 60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [str(folder / "tuned"), str(tmp_path / "rows.jsonl"), "-o", out, "--student", small]
    capsys.readouterr()
    more = ["--set", "epochs=3", "--set", "learning_rate=0.01", "--set", "threads=1"]
    assert run(["compress", "distil", *words, *more, "-q", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["metrics"]["agreement with the teacher"] > 0.8
    student = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    assert student.config.num_hidden_layers == 1 and student.config.id2label[1] == "wet"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["distil", "{f}/tuned", "{f}/texts.jsonl"], 2, "--student FOLDER"),
        (["distil", "{f}/tuned", "{f}/texts.jsonl", "--student", "{f}/other"], 1, "in the token"),
        (["distil", "{f}/model", "{f}/texts.jsonl"], 2, "masked teacher"),
        (["distil", "{f}/gpt", "{f}/texts.jsonl", "--student", "{f}/other"], 1, "in the token"),
        (["distil", "{f}/gpt", "{f}/texts.jsonl", "--set", "vocabulary=9"], 2, "no effect"),
        (["truncate", "{f}/model", "--layers", "9"], 2, "layers"),
        (["truncate", "{f}/model", "--layers", "1", "--keep", "middle"], 2, "middle"),
        (["truncate", "{f}/nowhere", "--layers", "1"], 1, "no config.json"),
        (["sparse", "{f}/model", "--level", "1"], 2, "level"),
        (["sparse", "{f}/model", "--seed", "1"], 2, "--seed has no effect by magnitude"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(
    folder, tmp_path, capsys, words, code, says
):
    out = tmp_path / "never"
    assert run(["compress", *(word.format(f=folder) for word in words), "-o", str(out)]) == code
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tilth: ")]
    assert len(error) == 1 and says in error[0] and not out.exists()
