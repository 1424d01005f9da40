"""`tilth tune` on every kind with a head, its ways of training less, and what is wrong with bases
and data: each as a user types it, tiny."""

import json
import shutil

import pytest
import torch

from tilth import zoo
from tilth.cli.main import run
from tilth.models.folder import load_model, save_model
from tilth.store.manifest import verify
from tilth.tokens import bpe

SMALL = ["--set", "threads=1", "--set", "precision=float32", "--set", "length=24", "-q"]
SHORT = ["--set", "epochs=4", "--set", "batch=8", "--set", "learning_rate=0.01", *SMALL]
TEXTS = ("rain and storm over the sea", "sun and sand and a hot wind")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base, data of four kinds, and bases and data that are wrong."""
    folder = tmp_path_factory.mktemp("kinds")
    model, tokenizer, _ = zoo.tiny("masked")
    bpe.save(tokenizer, folder / "tokenizer")
    save_model(model, folder / "base", folder / "tokenizer")
    texts = [f"{n}: {TEXTS[n % 2]}" for n in range(80)]
    wet = [n % 2 == 0 for n in range(80)]
    columns = {
        "pair": [{"other": TEXTS[0], "label": "same" if w else "other"} for w in wet],
        "choose": [{"choices": ["wet", "dry"], "answer": "wet" if w else "dry"} for w in wet],
        "multilabel": [{"labels": ["water"] if w else ["heat", "wind"]} for w in wet],
        "regress": [{"target": float(w)} for w in wet],
        "rows": [{"label": "wet" if w else "dry"} for w in wet],
        "one": [{"label": "wet"}] * 20,
        "two": [{"label": "wet"}, {"label": "dry"}],
    }
    for name, rows in columns.items():
        lines(folder / f"{name}.jsonl", [{"text": t, **row} for t, row in zip(texts, rows)])
    for name in ("lying", "strange", "wrong"):
        shutil.copytree(folder / "base", folder / name)
        (folder / name / "manifest.json").unlink()
    weights = (folder / "base" / "model.safetensors").read_bytes()
    lie = (10**12).to_bytes(8, "little") + weights[8:]
    (folder / "lying" / "model.safetensors").write_bytes(lie)
    config = json.loads((folder / "base" / "config.json").read_text())
    (folder / "strange" / "config.json").write_text(json.dumps({**config, "model_type": "odd"}))
    made = json.loads((folder / "wrong" / "tokenizer.json").read_text())
    added = dict(made["added_tokens"][0], id=len(made["model"]["vocab"]), content="<|more|>")
    made["added_tokens"].append(added)
    (folder / "wrong" / "tokenizer.json").write_text(json.dumps(made))
    return folder


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def tuned(capsys, *words):
    capsys.readouterr()
    assert run(["tune", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("kind", "metric", "least"),
    [
        ("pair", "accuracy", 0.9),
        ("choose", "accuracy", 0.0),
        ("multilabel", "micro F1", 0.9),
        ("regress", "Pearson", 0.5),
    ],
)
def test_a_kind_is_told_by_its_columns_learned_and_measured(
    folder, tmp_path, capsys, kind, metric, least
):
    out = tmp_path / "out"
    made = tuned(capsys, folder / "base", folder / f"{kind}.jsonl", "-o", out, *SHORT)
    assert made["request"]["kind"] == kind and made["held_out"] == 8
    found = next(value for name, value in made["metrics"].items() if metric in name)
    assert found >= least, made["metrics"]
    verify(out)
    assert (out / "curve.svg").is_file()
    assert run(["evaluate", "task", str(out), str(folder / f"{kind}.jsonl")]) == 0


def test_frozen_layers_keep_their_bits_and_rates_fall(folder, tmp_path, capsys):
    """Frozen: the embeddings and layer 0. With a decay alone everything moves, the lower the
    less."""
    before = dict(load_model(folder / "base", "encoder").named_parameters())
    data = [folder / "base", folder / "rows.jsonl"]
    made = tuned(capsys, *data, "-o", tmp_path / "f", "--set", "freeze=1", *SHORT)
    assert made["plan"]["trainable_parameters"] < made["plan"]["parameters"]
    decayed = ["--set", "decay=0.1", *SHORT]
    tuned(capsys, *data, "-o", tmp_path / "d", *decayed)
    for name, low in (("f", torch.equal), ("d", lambda a, b: not torch.equal(a, b))):
        after = dict(load_model(tmp_path / name, "encoder").named_parameters())
        for part in ("embeddings.tok_embeddings.weight", "layers.0.mlp.Wi.weight"):
            assert low(before[part], after[part]), (name, part)
        matrices = [f"layers.{n}.mlp.Wi.weight" for n in (0, 1)]
        moved = [float((before[m] - after[m]).detach().norm()) for m in matrices]
        assert moved[0] < moved[1] / 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("base rows --set learning_rate=nan", 2, "learning_rate is a finite number, not 'nan'"),
        ("base rows --set learning_rate=1e30 --set clip=1e30 --set warmup=0", 1, "no number"),
        ("base two", 1, "2 examples in 2 groups are too few to hold 10% of them out"),
        ("base one", 1, "have the label 'wet': there is nothing to tell apart"),
        ("lying rows", 1, "the header claims"),
        ("strange rows", 1, "no architecture 'odd' is known"),
        ("wrong rows", 1, "this is not the tokenizer of this model"),
        ("base rows --set freeze=9", 2, "9 of 2 layers cannot be frozen"),
        ("base rows --set decay=1.5", 2, "decay lies above 0, at most at 1"),
        ("base rows --lora --set decay=0.9", 2, "decay has no effect with --lora"),
        ("base rows --lora --set freeze=1", 2, "freeze has no effect with --lora"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_left(folder, tmp_path, capsys, words, code, says):
    base, data, *more = words.split()
    given = [str(folder / base), str(folder / f"{data}.jsonl"), *more]
    assert run(["tune", *given, "-o", str(tmp_path / "never"), *SMALL]) == code
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "never").exists()


def test_two_rows_are_learned_where_nothing_is_measured(folder, tmp_path, capsys):
    more = ["--set", "held_out=0", "--set", "epochs=20", "--set", "batch=1", *SMALL]
    made = tuned(capsys, folder / "base", folder / "two.jsonl", "-o", tmp_path / "out", *more)
    assert made["held_out"] == 0 and made["metrics"] == {}


def test_generate_says_that_an_adapter_is_merged_first(folder, tmp_path, capsys):
    model, _, _ = zoo.tiny("causal")
    save_model(model, tmp_path / "base", folder / "tokenizer")
    lines(tmp_path / "chats.jsonl", [{"prompt": f"{n}?", "answer": "wet"} for n in range(30)])
    out = tmp_path / "assistant"
    short = [*SHORT, "--set", "length=48"]
    tuned(capsys, tmp_path / "base", tmp_path / "chats.jsonl", "-o", out, "--lora", *short)
    for more in ([], ["--chat"]):
        assert run(["generate", str(out), "Wet?", *more]) == 1
        error = capsys.readouterr().err
        assert f"tilth merge {out} --base {tmp_path / 'base'} -o WHOLE" in error
