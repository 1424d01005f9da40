"""`tilth tune` as a user types it: whole models and adapters, which transformers and PEFT load."""

import json
import shutil

import pytest
import torch
import transformers

from tilth import zoo
from tilth.cli.main import run
from tilth.evaluation.tasks import TaskModel
from tilth.models.folder import load_model, save_model
from tilth.store.manifest import verify
from tilth.testing.faults import tree
from tilth.tokens import bpe

SMALL = ["--set", "threads=1", "--set", "precision=float32", "--set", "length=24", "-q"]
SHORT = ["--set", "epochs=2", "--set", "batch=8", "--set", "learning_rate=0.01", *SMALL]
WORDS = {"wet": "rain and storm over the sea", "dry": "sun and sand and a hot wind"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two bases, and data of several kinds."""
    folder = tmp_path_factory.mktemp("tune")
    for kind in ("masked", "causal"):
        model, tokenizer, _ = zoo.tiny(kind)
        bpe.save(tokenizer, folder / "tokenizer")
        save_model(model, folder / kind, folder / "tokenizer")
    rows = [
        {"text": f"{n}: {WORDS[label]}", "label": label}
        for n, label in enumerate(["wet", "dry"] * 50)
    ]
    lines(folder / "rows.jsonl", rows)
    lines(folder / "renamed.jsonl", [{"body": r["text"], "class": r["label"]} for r in rows])
    parts = ["train"] * 80 + ["devel"] * 15 + ["odd"] * 5
    lines(folder / "parted.jsonl", [{**row, "split": part} for row, part in zip(rows, parts)])
    tokens = [row["text"].split() for row in rows]
    tags = [{"tokens": t, "tags": ["O", "B-X", *["O"] * (len(t) - 2)]} for t in tokens]
    lines(folder / "tags.jsonl", tags)
    chats = [{"prompt": f"Weather {n}?", "answer": "wet"} for n in range(60)]
    lines(folder / "chats.jsonl", chats)
    lines(folder / "odd.jsonl", [{"a": 1, "b": 2}])
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def tuned(capsys, *words):
    capsys.readouterr()
    assert run(["tune", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("base", ["masked", "causal"])
def test_a_classifier_loads_in_transformers_and_tells_labels_apart(folder, tmp_path, capsys, base):
    out = tmp_path / "out"
    made = tuned(capsys, folder / base, folder / "rows.jsonl", "-o", out, *SHORT)
    assert made["request"]["kind"] == "classify" and made["labels"] == ["dry", "wet"]
    assert made["metrics"]["accuracy"] > 0.9 and made["held_out"] == 10
    verify(out)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    ids = torch.arange(3, 15)[None]
    with torch.inference_mode():
        ours = load_model(out, "classify")(input_ids=ids).logits
        assert torch.equal(theirs(input_ids=ids).logits, ours)
    assert TaskModel.load(out).objective.labels == ("dry", "wet")
    assert run(["evaluate", "task", str(out), str(folder / "rows.jsonl")]) == 0


def test_columns_of_other_names(folder, tmp_path, capsys):
    columns = ["--set", "data.text=body", "--set", "data.label=class"]
    made = tuned(capsys, folder / "masked", folder / "renamed.jsonl", "-o", tmp_path / "out",
                 *columns, *SHORT)  # fmt: skip
    assert made["metrics"]["accuracy"] > 0.9


def test_tags(folder, tmp_path, capsys):
    made = tuned(capsys, folder / "masked", folder / "tags.jsonl", "-o", tmp_path / "out", *SHORT)
    assert made["request"]["kind"] == "tag" and "entity F1" in made["metrics"]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_is_what_peft_loads_and_merges_to_the_same_logits(folder, tmp_path, capsys):
    peft = pytest.importorskip("peft")
    out, whole = tmp_path / "out", tmp_path / "whole"
    made = tuned(capsys, folder / "masked", folder / "rows.jsonl", "-o", out, "--lora", *SHORT)
    assert made["metrics"]["accuracy"] > 0.9
    assert made["plan"]["trainable_parameters"] < made["plan"]["parameters"] / 2
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder / "masked", num_labels=2
    )
    theirs = peft.PeftModel.from_pretrained(base, str(out)).eval()
    ids = torch.arange(3, 15)[None]
    with torch.inference_mode():
        expected = theirs(input_ids=ids).logits
    words = ["merge", str(out), "--base", str(folder / "masked"), "-o", str(whole)]
    assert run(words) == 0
    with torch.inference_mode():
        merged = transformers.AutoModelForSequenceClassification.from_pretrained(whole)
        assert torch.allclose(merged(input_ids=ids).logits, expected, atol=1e-4)
    assert merged.config.id2label == {0: "dry", 1: "wet"}
    capsys.readouterr()
    assert run(["evaluate", "task", str(whole), str(folder / "rows.jsonl"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] > 0.9


def test_conversations_are_learned_and_asked_in_the_same_ids(folder, tmp_path, capsys):
    from tilth.build.instructions import documents
    from tilth.build.tune_settings import open_task
    from tilth.tokens.chat import Chat

    out = tmp_path / "out"
    short = [*SHORT, "--set", "length=60", "--set", "epochs=12"]
    made = tuned(capsys, folder / "causal", folder / "chats.jsonl", "-o", out, *short)
    assert made["request"]["kind"] == "generate"
    name = "nats an answer token"
    assert made["metrics"][name] < 0.5 * made["before"][name]
    transformers.AutoModelForCausalLM.from_pretrained(out)
    asked = ["generate", str(out), "Weather 7?", "--chat", "--temperature", "0", "--tokens", "5"]
    assert run(asked) == 0
    assert capsys.readouterr().out.strip() == "wet"
    task = open_task(str(folder / "chats.jsonl"), "", {})
    learned = documents(out, task).tokens[7]
    question = [{"role": "user", "content": "Weather 7?"}]
    served = Chat.load(out).render(question, answer=True).ids
    assert learned[: len(served)].tolist() == served.tolist()


def test_a_conversation_that_cannot_be_rendered_is_left_out_and_said(folder, tmp_path, capsys):
    base = tmp_path / "base"
    shutil.copytree(folder / "causal", base)
    (base / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }}<|end|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant<|end|>{% endif %}"
    )
    chats = [{"prompt": f"Weather {n}?", "answer": "wet"} for n in range(40)]
    chats[7]["answer"] = "wet <|end|>"
    lines(tmp_path / "chats.jsonl", chats)
    words = ["tune", str(base), str(tmp_path / "chats.jsonl"), "-o", str(tmp_path / "o"), "--plan"]
    assert run([*words, "--set", "batch=4", *SMALL]) == 0
    said = capsys.readouterr().out
    assert "1 rows cannot be used, such as 7: message 2: a content may not hold" in said
    assert "35 examples, 4 held out" in said
    lines(tmp_path / "chats.jsonl", chats[7:8] * 2)
    assert run([*words, *SHORT]) == 1 and "special token" in capsys.readouterr().err


def test_what_is_measured_on(folder):
    from tilth.build.tune_settings import open_task, sides

    train, test, said = sides(open_task(str(folder / "parted.jsonl"), "", {}), 0.1, 0)
    assert (train.table.num_rows, test.table.num_rows) == (80, 15)
    assert said == ", the split devel; not used: 5 of odd"
    rows = [{"text": f"Rain  {n // 4}" + " " * (n % 2), "label": "ab"[n % 2]} for n in range(80)]
    lines(folder / "again.jsonl", rows)
    train, test, said = sides(open_task(str(folder / "again.jsonl"), "", {}), 0.1, 0)
    texts = [{" ".join(t.split()) for t in one.table["text"].to_pylist()} for one in (train, test)]
    assert test.table.num_rows == 8 and not texts[0] & texts[1]
    assert said == "; 60 repeat a text, or nearly so, and are on its side"


def test_killed_and_called_again_it_gives_the_same_bytes(folder, tmp_path, capsys, monkeypatch):
    from tilth.training import checkpoint

    words = ["tune", str(folder / "masked"), str(folder / "rows.jsonl"), "--lora",
             "--set", "checkpoint_every=3", *SHORT]  # fmt: skip
    assert run([*words, "-o", str(tmp_path / "whole")]) == 0
    save, calls = checkpoint.save, []

    def killed(*args, **options):
        save(*args, **options)
        calls.append(options["state"].step)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        assert run([*words, "-o", str(tmp_path / "killed")]) == 130
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert run([*words, "-o", str(tmp_path / "killed")]) == 0
    ours, theirs = (tree(tmp_path / name) for name in ("killed", "whole"))
    for files in (ours, theirs):
        files.pop("training.json"), files.pop("manifest.json")
    assert ours == theirs


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{f}/masked", "{f}/nowhere.csv"], 2, "neither a path nor a named set"),
        (["{f}/masked", "{f}/odd.jsonl"], 2, "its columns are a, b"),
        (["{f}/masked", "{f}/rows.jsonl", "--kind", "clasify"], 2, "did you mean 'classify'"),
        (["{f}/masked", "{f}/rows.jsonl", "--kind", "tag"], 2, "no column 'tokens'"),
        (["{f}/masked", "{f}/rows.jsonl", "--set", "epoch=1"], 2, "did you mean 'epochs'"),
        (["{f}/masked", "{f}/rows.jsonl", "--set", "rank=4"], 2, "no effect without --lora"),
        (["{f}/masked", "{f}/parted.jsonl", "--set", "held_out=0.2"], 2, "the data have splits"),
        (["{f}/causal", "{f}/rows.jsonl", "--set", "dropout=0.2"], 2, "dropout has no effect"),
        (["{f}/causal", "{f}/chats.jsonl", "--set", "dropout=0.2"], 2, "dropout has no effect"),
        (["{f}/masked", "{f}/rows.jsonl", "--set", "data.txt=body"], 2, "did you mean 'text'"),
        (["{f}/masked", "{f}/rows.jsonl", "--set", "length=999"], 2, "the model's context is 64"),
        (["{f}/nowhere", "{f}/rows.jsonl"], 1, "nowhere"),
        (["{f}/tokenizer", "{f}/rows.jsonl"], 1, "no config.json"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(
    folder, tmp_path, capsys, words, code, says
):
    out = tmp_path / "never"
    assert run(["tune", *(word.format(f=folder) for word in words), "-o", str(out), "-q"]) == code
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1 and not out.exists()
