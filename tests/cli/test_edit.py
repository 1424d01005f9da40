"""`tilth edit`: each surgery on a folder, its promise checked and printed; nothing half-written."""

import json
import os
import re
import shlex
import shutil

import pytest
import torch
import transformers

from tilth import zoo
from tilth.build.edits import EDITS
from tilth.cli.main import run
from tilth.models import decoder
from tilth.models.folder import load_model, load_tokenizer, save_model
from tilth.models.surgery import SURGERIES
from tilth.store.manifest import verify
from tilth.tokens import bpe
from tilth.zoo.micro import docstrings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("edit")
    model, tokenizer, _ = zoo.tiny("causal")
    bpe.save(tokenizer, folder / "tokenizer")
    save_model(model, folder / "my-model", folder / "tokenizer")
    save_model(zoo.tiny("masked")[0], folder / "masked", folder / "tokenizer")
    texts = [text for _, text in docstrings()[:60]]
    bpe.save(bpe.train(texts, 450), folder / "other-tokenizer")
    save_model(
        decoder.build("26k", vocabulary=450, context=64), folder / "other-model",
        folder / "other-tokenizer",
    )  # fmt: skip
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    opt = transformers.OPTConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, ffn_dim=32,
        max_position_embeddings=64, word_embed_proj_dim=32,
    )  # fmt: skip
    save_model(transformers.OPTForCausalLM(opt), folder / "opt", folder / "tokenizer")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    return folder


def edited(capsys, *words):
    capsys.readouterr()
    assert run(["edit", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def logits(folder, ids):
    with torch.inference_mode():
        return load_model(folder)(input_ids=ids).logits


def help_text(capsys):
    assert run(["edit", "--help"]) == 0
    return capsys.readouterr().out


def test_the_table_the_help_and_the_surgeries_agree(capsys):
    assert set(EDITS) == set(SURGERIES) - {"combine"}
    listed = help_text(capsys).partition("Each surgery promises")[0]
    listed = re.sub(r"\([^)]*\)", "", " ".join(listed.split()))
    for number, (name, edit) in enumerate(EDITS.items()):
        after = list(EDITS)[number + 1 :][:1]
        part = listed.partition(f" {name} ")[2]
        part = part.partition(f" {after[0]} ")[0] if after else part
        assert re.findall(r"[a-z_]+", part) == list(edit.settings), name


def test_the_examples_of_the_help_run(folder, tmp_path, capsys, monkeypatch):
    text = help_text(capsys)
    examples = re.findall(r"^ *(tilth .*)$", text[text.index("Examples:") :], re.MULTILINE)
    assert len(examples) == 6
    for name in ("my-model", "other-model"):
        shutil.copytree(folder / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for example in examples:
        words = shlex.split(example)
        assert run(words[1:]) == 0, (example, capsys.readouterr().err)
        said = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(said)["checked"]
        else:
            assert "promise: " in said and "checked: " in said
        verify(words[5])
        kept = json.loads((tmp_path / words[5] / "edit.json").read_text())
        assert kept["surgery"] == words[2] and kept["base"] and kept["checked"]
    assert not [name for name in os.listdir() if ".tmp-" in name]


def test_silent_layers_keep_the_function_and_other_layers_promise_none(folder, tmp_path, capsys):
    ids = torch.arange(5, 25)[None]
    deep = tmp_path / "deep"
    made = edited(capsys, "deepen", folder / "my-model", "-o", deep,
                  "--set", "layers=4", "--set", "method=identity")  # fmt: skip
    assert made["function_kept"] and made["parameters"]["after"] > made["parameters"]["before"]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(deep)
    assert theirs.config.num_hidden_layers == 4
    assert torch.allclose(logits(deep, ids), logits(folder / "my-model", ids), atol=1e-5)
    made = edited(capsys, "deepen", folder / "my-model", "-o", tmp_path / "stack",
                  "--set", "layers=4")  # fmt: skip
    assert not made["function_kept"] and "no promise of logits" in made["checked"][-1]


def test_a_list_of_layers_stays(folder, tmp_path, capsys):
    edited(capsys, "truncate", folder / "my-model", "-o", tmp_path / "o", "--set", "layers=[1]")
    ours, theirs = load_model(tmp_path / "o"), load_model(folder / "my-model")
    assert ours.config.num_hidden_layers == 1
    for one, other in zip(ours.model.layers[0].parameters(), theirs.model.layers[1].parameters()):
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["pieces", "contextual"])
def test_a_new_vocabulary_comes_with_its_tokenizer(folder, tmp_path, capsys, method):
    out = tmp_path / "out"
    more = ["--set", f"texts={folder / 'texts.jsonl'}"] if method == "contextual" else []
    given = ["--set", f"tokenizer={folder / 'other-model'}", "--set", f"method={method}"]
    made = edited(capsys, "vocabulary", folder / "my-model", "-o", out, *given, *more)
    verify(out)
    new = load_tokenizer(out)
    assert new.to_str() == load_tokenizer(folder / "other-model").to_str()
    assert made["shared_tokens"] + made["new_tokens"] == 450 and made["function_kept"]
    if more:
        assert 0 < made["new_tokens_in_texts"] <= made["new_tokens"]
    old, model = load_tokenizer(folder / "my-model"), load_model(out)
    assert model.config.vocab_size == 450
    rows = [m.get_input_embeddings().weight for m in (model, load_model(folder / "my-model"))]
    shared = [t for t in new.get_vocab() if old.token_to_id(t) is not None]
    for token in shared[:50]:
        assert torch.equal(rows[0][new.token_to_id(token)], rows[1][old.token_to_id(token)])
    # Where the files lay is not in the record: the folder is the same from anywhere.
    assert str(folder) not in (out / "edit.json").read_text()


def test_the_task_of_a_tuned_model_goes_along_where_it_can(folder, tmp_path, capsys):
    from tilth.data.labelled import read_task
    from tilth.evaluation.tasks import TaskModel, objective_for
    from tilth.models.heads import with_head

    rows = [{"text": f"{n} of the file", "label": "ab"[n % 2]} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = read_task(tmp_path / "rows.jsonl", "classify")
    body, tokenizer, _ = zoo.tiny("masked")
    objective = objective_for(task, tokenizer, length=16)
    head = with_head(body, "classify", objective.labels, pad=1, seed=0)
    TaskModel("classify", head, objective, tokenizer).save(tmp_path / "tuned", folder / "tokenizer")
    edited(capsys, "truncate", tmp_path / "tuned", "-o", tmp_path / "o", "--set", "layers=1")
    verify(tmp_path / "o")
    assert TaskModel.load(tmp_path / "o").objective.labels == ("a", "b")
    for words, says in [
        (["vocabulary", "--set", f"tokenizer={folder / 'other-tokenizer'}"], "old tokens"),
        (["positions", "--set", "length=8"], "rows of 16 tokens"),
    ]:
        out = tmp_path / "never"
        assert run(["edit", words[0], str(tmp_path / "tuned"), "-o", str(out), *words[1:]])
        assert says in capsys.readouterr().err and not out.exists()


def test_a_broken_promise_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    from tilth.models.surgery import run as surgery
    from tilth.models.surgery.promise import Kept

    monkeypatch.setattr(surgery, "check", lambda *given: Kept(1.0, ("logits are equal",)))
    words = ["widen", str(folder / "my-model"), "-o", str(tmp_path / "o"), "--set", "width=64"]
    assert run(["edit", *words]) == 1
    assert "it does not hold that logits are equal" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(folder, tmp_path, capsys, monkeypatch):
    from tilth.store import write

    def full(moment, path):
        if moment == "rename" and path.name == "model.safetensors":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "fault", full)
    words = ["sparsify", str(folder / "my-model"), "-o", str(tmp_path / "o"), "--set", "level=0.5"]
    assert run(["edit", *words]) == 1
    error = capsys.readouterr().err
    assert "No space left" in error and len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["widne", "my-model"], 2, "did you mean 'widen'"),
        (["combine", "my-model"], 2, "tilth merge"),
        (["sparse", "my-model"], 2, "tilth edit sparsify"),
        (["widen", "my-model"], 2, "widen needs width or heads"),
        (["widen", "my-model", "width=16"], 2, "are fewer than the 32"),
        (["widen", "masked", "width=48"], 2, "a width that is a multiple of 32"),
        (["widen", "my-model", "wdth=64"], 2, "did you mean 'width'"),
        (["widen", "my-model", "width=64", "width=96"], 2, "twice"),
        (["widen", "my-model", "width=48", "seed=-1"], 2, "not below 0"),
        (["widen", "opt", "width=64"], 1, "has no map of its axes"),
        (["widen", "adapter", "width=64"], 1, "tilth merge ADAPTER"),
        (["widen", "nowhere", "width=64"], 1, "no config.json"),
        (["deepen", "my-model", "layers=1"], 2, "truncate"),
        (["truncate", "my-model", "layers=0,7"], 2, "not among the 2"),
        (["truncate", "my-model", "layers=some"], 2, "layers are a number or numbers"),
        (["truncate", "my-model", "layers=0,1", "keep=top"], 2, "no effect"),
        (["truncate", "masked", "layers=1,0"], 2, "cannot be the first"),
        (["vocabulary", "my-model", "tokenizer={f}/nowhere"], 1, "no tokenizer.json"),
        (["vocabulary", "masked", "tokenizer={f}/other-tokenizer"], 1, "lacks the token"),
        (["vocabulary", "my-model", "tokenizer={f}/other-model", "method=best"], 2, "no way"),
        (["vocabulary", "my-model", "tokenizer={f}/other-model", "texts=x"], 2, "no effect"),
        (["vocabulary", "my-model", "tokenizer={f}/other-model", "method=contextual"], 2, "texts="),
        (["positions", "my-model", "length=99", "method=copy"], 2, "no effect"),
        (["positions", "my-model", "length=1"], 2, "no rows"),
        (["rope-base", "masked", "base=1000000"], 1, "no rotary positions of one base"),
        (["window", "my-model", "size=8"], 1, "has no windows"),
        (["window", "masked", "size=7"], 2, "even ones"),
        (["sparsify", "my-model", "level=1"], 2, "level"),
        (["sparsify", "my-model", "level=0.5", "seed=3"], 2, "by=random"),
        (["reinitialise", "my-model", "layers=9"], 2, "cannot be drawn anew"),
    ],
)
def test_mistakes_end_in_one_line_and_nothing_is_written(
    folder, tmp_path, capsys, words, code, says
):
    surgery, model, *settings = words
    out = tmp_path / "never"
    given = [part for one in settings for part in ("--set", one.format(f=folder))]
    capsys.readouterr()
    assert run(["edit", surgery, str(folder / model), "-o", str(out), *given]) == code
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and says in error[0]
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(folder, tmp_path, capsys):
    (tmp_path / "mine").write_text("x")
    words = ["sparsify", str(folder / "my-model"), "-o", str(tmp_path), "--set", "level=0.5"]
    assert run(["edit", *words]) == 1 and "is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
