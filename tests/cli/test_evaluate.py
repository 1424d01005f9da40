"""`tilth evaluate`: membership of one's own texts, a tuned model on one's own data."""

import json

import pytest

from tilth.cli.main import run
from tilth.zoo import tiny
from tilth.zoo.micro import docstrings


def written(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture
def model(tmp_path):
    from tilth.models.folder import save_model
    from tilth.tokens import bpe

    body, tokenizer, _ = tiny("causal")
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(body, tmp_path / "model", tmp_path / "tokens")
    return str(tmp_path / "model")


def test_membership_of_ones_own_texts(model, tmp_path, capsys):
    texts = [text for _, text in docstrings() if len(text) < 200 and len(text.split()) >= 6]
    texts = texts[:41]
    seen, unseen = written(tmp_path / "a.jsonl", [*texts[:20], "short"]), written(
        tmp_path / "b.jsonl", texts[20:]
    )  # fmt: skip
    words = ["evaluate", "membership", model, seen, "--others", unseen, "--words", "6"]
    assert run([*words, "--reference", model, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["texts"] == 20 and value["others"] == 21 and value["left_out"] == 1
    assert set(value["scores"]) == {"min-k", "min-k++", "loss", "zlib", "lowercase", "reference"}
    assert all(0 < row["p"] <= 1 and row["reference"] == 0 for row in value["judged"])
    assert value["begin"]
    assert run([*words, "--no-begin", "--json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert not without["begin"] and without["judged"] != value["judged"]
    assert run(words) == 0
    out = capsys.readouterr().out
    assert "never asks the model" in out and "Most likely" not in out.split("\n")[0]
    assert run([*words[:4], "--words", "5000"]) == 1
    assert "no text has 5000 words" in capsys.readouterr().err


def test_a_tuned_model_on_ones_own_data(tmp_path, capsys):
    from tilth.data.labelled import read_task
    from tilth.evaluation.tasks import evaluate, fine_tune
    from tilth.tokens import bpe

    rows = [{"body": f"a {word} of the file", "class": word} for word in ("name", "path") * 12]
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = read_task(path, "classify", {"text": "body", "label": "class"})
    body, tokenizer, _ = tiny("masked")
    tuned = fine_tune(body, task, tokenizer=tokenizer, length=16, batch=8, epochs=4,
                      learning_rate=5e-3)  # fmt: skip
    bpe.save(tokenizer, tmp_path / "tokens")
    tuned.save(tmp_path / "tuned", tmp_path / "tokens")
    words = ["evaluate", "task", str(tmp_path / "tuned"), str(path), "--json"]
    assert run([*words, "--set", "data.text=body", "--set", "data.label=class"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["rows"] == 24 and value["accuracy"] == evaluate(tuned, task).value
    assert run(words) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "has body, class" in error
