"""`tilth train` as a user types it: from scratch, continued, masked, killed, mistaken."""

import json
import shutil

import pytest
import torch
import transformers

from tilth.cli.main import run
from tilth.models.folder import load_model
from tilth.store.manifest import verify
from tilth.testing.faults import tree
from tilth.tokens import bpe
from tilth.zoo.micro import docstrings

SMALL = ["--set", "batch_tokens=256", "--set", "threads=1", "--set", "precision=float32", "-q"]
SCRATCH = ["--size", "45k", "--set", "vocabulary=400", "--set", "context=32", *SMALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Documents, a model from them, and one that transformers wrote, with the same tokenizer."""
    folder = tmp_path_factory.mktemp("train")
    rows = docstrings()
    for name, part in (("docs", rows[:150]), ("old", rows[150:170])):
        lines = [json.dumps({"text": text, "name": id}) + "\n" for id, text in part]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    assert run(["train", str(folder / "docs.jsonl"), "-o", str(folder / "scratch"),
                "--tokens", "5k", *SCRATCH]) == 0  # fmt: skip
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=400, n_positions=32, n_embd=32, n_layer=1, n_head=2, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "theirs")
    for name in bpe.FILES:
        shutil.copy(folder / "scratch" / name, folder / "theirs" / name)
    return folder


def of(capsys, *words):
    capsys.readouterr()
    assert run([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_a_model_from_scratch_loads_in_transformers_with_equal_logits(folder, capsys):
    verify(folder / "scratch")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "scratch")
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        ours = load_model(folder / "scratch")(input_ids=ids).logits
        assert torch.equal(theirs(input_ids=ids).logits, ours)
    record = json.loads((folder / "scratch" / "training.json").read_text())
    assert record["after"]["held out"] < record["before"]["held out"]
    assert not (folder / "scratch" / "checkpoint").exists()
    assert (folder / "scratch" / "curve.svg").is_file()
    ours = bpe.load(folder / "scratch")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "scratch")
    text = "Return the <|end|> value.\n"
    assert tokenizer.encode(text, add_special_tokens=False) == bpe.encode(ours, [text])[0]
    text = of(capsys, "generate", folder / "scratch", "Return", "--tokens", 4)
    assert text.startswith("Return")


def test_a_folder_of_transformers_is_continued_and_what_it_forgot_is_said(folder, capsys):
    words = ["--base", folder / "theirs", "--old", folder / "old.jsonl", "--tokens", "3k", *SMALL]
    said = of(capsys, "train", folder / "docs.jsonl", "-o", folder / "more", *words)
    assert "text of the old domain" in said and "bits per byte" in said
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "more")
    assert type(theirs).__name__ == "GPT2LMHeadModel"
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        ours = load_model(folder / "more")(input_ids=ids).logits
        assert torch.equal(theirs(input_ids=ids).logits, ours)
    for name in bpe.FILES:
        assert (folder / "more" / name).read_bytes() == (folder / "theirs" / name).read_bytes()


def test_the_same_command_again_does_nothing_and_another_is_refused(folder, capsys):
    words = ["train", folder / "docs.jsonl", "-o", folder / "scratch", "--tokens", "5k", *SCRATCH]
    before = tree(folder / "scratch")
    assert "trained already" in of(capsys, *words)
    assert tree(folder / "scratch") == before
    for more, says in (
        (["--seed", "1"], "seed 0, not 1"),
        (["--old", str(folder / "old.jsonl")], "old None, not"),
    ):
        assert run([*map(str, words), *more]) == 2
        assert f"holds a training with {says}" in capsys.readouterr().err
    assert tree(folder / "scratch") == before


def test_killed_and_called_again_it_gives_the_same_bytes(folder, capsys, monkeypatch):
    from tilth.build import held_out
    from tilth.training import checkpoint

    words = ["train", folder / "docs.jsonl", "-o", folder / "killed", "--tokens", "5k",
             "--set", "checkpoint_every=4", *SCRATCH]  # fmt: skip
    whole = [*words[:3], folder / "whole", *words[4:]]
    of(capsys, *whole)
    save, calls = checkpoint.save, []

    def killed(*args, **options):
        save(*args, **options)
        calls.append(options["state"].step)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", killed)
        assert run([str(word) for word in words]) == 130
    assert calls == [4, 8] and not (folder / "killed" / "manifest.json").exists()
    with monkeypatch.context() as patch:
        # Killed once more, after the training: the scores of the beginning are kept.
        patch.setattr(held_out.Scores, "lines", lambda *_: [])
        of(capsys, *words)
    ours, theirs = (tree(folder / name) for name in ("killed", "whole"))
    for files in (ours, theirs):
        # Speeds differ from run to run.
        files.pop("training.json"), files.pop("manifest.json")
    assert ours == theirs


def test_a_masked_model(folder, capsys):
    from tilth.objectives import OBJECTIVES

    if "masked" not in OBJECTIVES:
        pytest.skip("the masked objective is not there yet")
    of(capsys, "train", folder / "docs.jsonl", "-o", folder / "masked", "--objective", "masked",
       "--tokens", "5k", *SCRATCH)  # fmt: skip
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder / "masked")
    assert type(model).__name__ == "ModernBertForMaskedLM"
    of(capsys, "train", folder / "docs.jsonl", "-o", folder / "masked-more", "--base",
       folder / "masked", "--tokens", "3k", *SMALL)  # fmt: skip


def test_the_plan_is_printed_and_nothing_written(folder, capsys):
    said = of(capsys, "train", folder / "docs.jsonl", "-o", folder / "nothing", "--plan",
              "--tokens", "5k", *SCRATCH)  # fmt: skip
    assert "tokens a parameter" in said and "minutes here" in said and " MB" in said
    assert not (folder / "nothing").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["{folder}/nowhere.jsonl"], 2, "nowhere"),
        (["{folder}/docs.jsonl", "--set", "learning_rat=1"], 2, "did you mean 'learning_rate'"),
        (["{folder}/docs.jsonl", "--set", "epochs=many"], 2, "epochs is a number, not 'many'"),
        (["{folder}/docs.jsonl", "--set", "context=1.5"], 2, "context is a whole number"),
        (["{folder}/docs.jsonl", "--objective", "casual"], 2, "did you mean 'causal'"),
        (["{folder}/docs.jsonl", "--set", "rate=0.1"], 2, "rate has no effect"),
        (["{folder}/docs.jsonl", "--size", "5x"], 2, "not a size"),
        (["{folder}/docs.jsonl", "--size", "1k"], 2, "the nearest has"),
        (["{folder}/docs.jsonl", "--tokens", "1k", "--size", "1m"], 2, "teaches nothing"),
        (["{folder}/docs.jsonl", "--set", "schedule=cosin"], 2, "did you mean 'cosine'"),
        (["{folder}/docs.jsonl", "--base", "{folder}/docs.jsonl"], 1, "no config.json"),
        (["{folder}/docs.jsonl", "--base", "{folder}"], 1, "no config.json"),
        (["{folder}/docs.jsonl", "--base", "{folder}/theirs", "--set", "vocabulary=9"], 2,
         "no effect with --base"),
        (["{folder}/docs.jsonl", "--base", "{folder}/theirs", "--size", "45k"], 2,
         "--size has no effect with --base"),
        (["{folder}/docs.jsonl", "--base", "{folder}/theirs", "--set", "context=64"], 2,
         "the model's context is 32"),
        (["{folder}/docs.jsonl", "--base", "{folder}/wrong"], 1, "not the tokenizer of this model"),
        (["{folder}/docs.jsonl", "--base", "{folder}/untold"], 1, "holds no tokenizer.json"),
        (["{folder}/docs.jsonl", "--base", "{folder}/strange"], 1, "no architecture 'strange'"),
        (["{folder}/docs.jsonl", "--base", "{folder}/sizes"], 1, "in the file, and"),
        (["{folder}/docs.jsonl", "--base", "{folder}/lying"], 1, "the header claims"),
        (["{folder}/docs.jsonl", "--set", "learning_rate=1e30", "--set", "clip=1e30",
          "--set", "warmup=0", "--size", "45k", "--set", "vocabulary=400", "--tokens", "11k",
          "--set", "precision=float32"], 1, "no number"),
        (["{folder}/tiny.jsonl"], 1, "teaches nothing"),
        (["{folder}/empty.jsonl"], 1, "no text to train on"),
    ],
)  # fmt: skip
def test_mistakes_end_in_one_line_and_nothing_is_written(folder, capsys, words, code, says):
    (folder / "tiny.jsonl").write_text('{"text": "one line"}\n')
    (folder / "empty.jsonl").write_text("")
    for name in ("wrong", "untold", "strange", "sizes", "lying"):
        shutil.copytree(folder / "theirs", folder / name, dirs_exist_ok=True)
    config = json.loads((folder / "theirs" / "config.json").read_text())
    for name, change in (("strange", {"model_type": "strange"}), ("sizes", {"n_embd": 64})):
        (folder / name / "config.json").write_text(json.dumps({**config, **change}))
    weights = (folder / "theirs" / "model.safetensors").read_bytes()
    lie = (10**12).to_bytes(8, "little") + weights[8:]
    (folder / "lying" / "model.safetensors").write_bytes(lie)
    (folder / "untold" / "tokenizer.json").unlink(missing_ok=True)
    bpe.save(bpe.train([text for _, text in docstrings()], 500), folder / "larger")
    shutil.copy(folder / "larger" / "tokenizer.json", folder / "wrong" / "tokenizer.json")
    words = [word.format(folder=folder) for word in words]
    capsys.readouterr()
    assert run(["train", *words, "-o", str(folder / "never"), "-q"]) == code
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1
    assert not (folder / "never").exists()


def test_a_folder_of_something_else_is_left_alone(folder, capsys):
    (folder / "mine").mkdir()
    (folder / "mine" / "letter.txt").write_text("dear")
    code = run(["train", str(folder / "docs.jsonl"), "-o", str(folder / "mine"), *SCRATCH])
    assert code == 1 and "is not empty and holds no training" in capsys.readouterr().err
    assert [path.name for path in (folder / "mine").iterdir()] == ["letter.txt"]


def test_one_text_alone_is_cut_near_its_end(tmp_path):
    from tilth.build.reading import read

    (tmp_path / "one.txt").write_text("a line of text\n" * 100)
    found = read([tmp_path / "one.txt"], held_out=0.1)
    assert found.train[0][1] + found.test[0][1] == "a line of text\n" * 100
    assert 80 <= found.train[0][1].count("\n") <= 90


def test_texts_that_are_equal_are_on_one_side_of_the_split(tmp_path):
    from tilth.build.reading import read

    texts = [f"Letter {n // 3}" + (" ." if n % 3 else "  .") for n in range(60)]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    found = read([tmp_path / "texts.jsonl"], held_out=0.2)
    train, test = (
        {" ".join(text.split()) for _, text in side} for side in (found.train, found.test)
    )
    assert found.repeated == 40 and len(train) == 16 and len(test) == 4 and not train & test
