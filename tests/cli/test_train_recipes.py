"""What a recipe can ask of `tilth train` beside size and rate: a curve to look at, a guard, replay
of old text, whole words masked; and what the plan says of a model that runs padded."""

import json
import shutil

import pytest
import torch
import transformers

from tilth import zoo
from tilth.cli.main import run
from tilth.models.folder import save_model
from tilth.tokens import bpe
from tilth.training import checkpoint, curve
from tilth.zoo.micro import docstrings

SMALL = ["--set", "batch_tokens=256", "--set", "threads=1", "--set", "precision=float32"]
BASE = ["--base", "{f}/base", "--tokens", "3k", *SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """New and old texts; a causal and a masked base, and a Longformer of the same tokenizer."""
    folder = tmp_path_factory.mktemp("recipes")
    rows = docstrings()
    for name, part in (("new", rows[:100]), ("old", rows[100:200]), ("few", rows[100:101])):
        lines = [json.dumps({"text": text}) + "\n" for _, text in part]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    for name, kind in (("base", "causal"), ("masked", "masked")):
        model, tokenizer, _ = zoo.tiny(kind)
        bpe.save(tokenizer, folder / "tokenizer")
        save_model(model, folder / name, folder / "tokenizer")
    torch.manual_seed(0)
    config = transformers.LongformerConfig(
        vocab_size=400, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, attention_window=8, max_position_embeddings=66, pad_token_id=1,
        bos_token_id=0, eos_token_id=0, sep_token_id=0,
    )  # fmt: skip
    transformers.LongformerForMaskedLM(config).save_pretrained(folder / "longformer")
    for name in bpe.FILES:
        shutil.copy(folder / "tokenizer" / name, folder / "longformer" / name)
    return folder


def train(folder, out, *words, code=0):
    words = ["train", "{f}/new.jsonl", *map(str, words), "-o", str(out)]
    assert run([word.format(f=folder) for word in words]) == code


def record(out):
    return json.loads((out / "training.json").read_text())


def test_the_curve_is_there_while_it_trains(folder, tmp_path, monkeypatch):
    save = checkpoint.save

    def killed(*args, **options):
        save(*args, **options)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(curve, "SECONDS", 0.0)
        patch.setattr(checkpoint, "save", killed)
        train(folder, out, *BASE, "--set", "checkpoint_every=4", code=130)
    # The point of the fourth step is drawn before its checkpoint is written.
    points = json.loads((out / "curve.json").read_text())["points"]
    assert [point["step"] for point in points] == [1, 2, 3, 4]
    assert b"<svg" in (out / "curve.svg").read_bytes()
    train(folder, out, *BASE, "--set", "checkpoint_every=4")
    points = json.loads((out / "curve.json").read_text())["points"]
    assert [point["step"] for point in points] == list(range(1, record(out)["plan"]["steps"] + 1))


def test_drawing_waits_for_its_time(tmp_path, monkeypatch):
    now = [0.0]
    drawn = []
    monkeypatch.setattr(curve.time, "monotonic", lambda: now[0])

    def draw(folder, history, **fields):
        drawn.append(history.points[-1].step)
        now[0] += 1.0  # it takes one second

    monkeypatch.setattr(curve, "write_curve", draw)
    on_step = curve.live(tmp_path, every=1, seconds=5.0)
    for step in range(1, 81):
        now[0] += 1.0
        on_step(curve.Point(step, step, 1.0, 0.1, 1.0))
    assert drawn == [5, 35, 65]  # after 5 seconds, then after 30 times what a drawing takes


def test_old_text_is_learned_again_and_what_is_held_out_of_it_is_scored(folder, tmp_path, capsys):
    out, replay = tmp_path / "out", ["--set", "replay=0.2", "--set", "old={f}/old.jsonl"]
    train(folder, out, *BASE, *replay)
    said = capsys.readouterr().out
    assert "documents of old text, 20% of the tokens" in said
    assert "text of the old domain" in said
    made = record(out)
    assert set(made["after"]) == {"held out", "old"} and made["request"]["replayed"]
    assert made["request"]["settings"]["replay"] == 0.2
    train(folder, out, *BASE, *replay)
    assert "trained already" in capsys.readouterr().out
    train(folder, out, *BASE, code=2)
    assert "holds a training with" in capsys.readouterr().err


def test_a_guarded_training_lists_what_it_left_out(folder, tmp_path, capsys):
    train(folder, tmp_path / "out", *BASE, "--set", "guard=6")
    assert record(tmp_path / "out")["skipped"] == []
    wild = ["--set", "learning_rate=1e30", "--set", "clip=1e30", "--set", "warmup=0"]
    capsys.readouterr()
    train(folder, tmp_path / "wild", *BASE[:2], "--tokens", "6k", *SMALL, *wild, "--set",
          "guard=6", code=1)  # fmt: skip
    assert "no number" in capsys.readouterr().err and not (tmp_path / "wild").exists()


def test_whole_words_are_masked(folder, tmp_path):
    for unit in ("word", "tfidf"):
        out = tmp_path / unit
        train(
            folder, out, "--base", "{f}/masked", "--tokens", "3k", *SMALL, "--set", f"unit={unit}"
        )
        assert record(out)["request"]["settings"]["unit"] == unit


def test_the_plan_says_that_a_longformer_runs_padded(folder, tmp_path, capsys):
    for base, padded in (("longformer", True), ("masked", False)):
        train(folder, tmp_path / "never", "--base", f"{{f}}/{base}", "--tokens", "3k", *SMALL,
              "--plan")  # fmt: skip
        assert ("a longformer is not packed" in capsys.readouterr().out) == padded


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "replay=0.1", "--set", "old={f}/old.jsonl"], "no effect without --base"),
        ([*BASE, "--set", "replay=0.1"], "replay and old go together"),
        ([*BASE, "--set", "old={f}/old.jsonl"], "replay and old go together"),
        ([*BASE, "--set", "replay=1.5", "--set", "old={f}/old.jsonl"], "replay lies from 0 to 1"),
        ([*BASE, "--set", "replay=0.5", "--set", "old={f}/few.jsonl"], "are to be old text"),
        ([*BASE, "--set", "replay=0.1", "--set", "old={f}/nowhere"], "nowhere"),
        ([*BASE, "--old", "{f}/old.jsonl", "--set", "replay=0.1", "--set", "old={f}/few.jsonl"],
         "is to be scored"),
        ([*BASE, "--set", "unit=word"], "unit has no effect with objective causal"),
        (["--objective", "masked", "--set", "unit=wrod"], "did you mean 'word'"),
        ([*BASE, "--set", "guard=-1"], "guard is not below 0"),
        ([*BASE, "--set", "learning_rate=nan"], "learning_rate is a finite number"),
        ([*BASE, "--set", "clip=inf"], "clip is a finite number"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line(folder, tmp_path, capsys, words, says):
    train(folder, tmp_path / "never", *words, "-q", code=exit_code(says))
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "never").exists()


def exit_code(says):
    """1 where the data are wrong, 2 where the words are."""
    return 1 if says in ("are to be old text", "is to be scored") else 2
