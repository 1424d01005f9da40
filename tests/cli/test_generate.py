"""`tilth generate` over a small random model: texts, and options that would do nothing."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer

from tilth.cli.main import run
from tilth.errors import DataError
from tilth.models.folder import save_model
from tilth.serving.engine import Engine
from tilth.serving.strategies import advice
from tilth.serving.strategies.length import Forecast
from tilth.tokens import bpe


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("generate")
    tokenizer: Tokenizer = bpe.train(["one two three four"] * 3, 270)
    bpe.save(tokenizer, folder / "tokens")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = LlamaForCausalLM(LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=48,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=128,
            bos_token_id=0, eos_token_id=0,
        ))  # fmt: skip
    save_model(made, folder / "model", folder / "tokens")
    return folder / "model"


def text(capsys, *words):
    assert run(["generate", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["text"]


def test_texts_are_the_engines(folder, capsys):
    asked = [folder, "one two", "--tokens", 9]
    (plain,) = Engine(folder).generate(["one two"], 9, temperature=0.8, top_k=50)
    (greedy,) = Engine(folder).generate(["one two"], 9, temperature=0)
    (seeded,) = Engine(folder).generate(["one two"], 9, temperature=1.2, top_k=50, seed=4)
    assert text(capsys, *asked) == text(capsys, *asked, "--seed", 0) == plain
    assert text(capsys, *asked, "--temperature", 0) == greedy
    assert text(capsys, *asked, "--temperature", 1.2, "--seed", 4) == seeded
    assert len({plain, greedy, seeded}) == 3


def test_options_that_would_do_nothing_are_refused(folder, capsys):
    guesses = ["generate", str(folder), "one", "--tokens", "3", "--drafts", "2"]
    assert run([*guesses, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["texts"]) == 2
    for more in (["--temperature", "0"], ["--seed", "0"], ["--draft", str(folder)]):
        assert run([*guesses, *more]) == 2
        said = capsys.readouterr().err
        assert said.startswith("tilth: --") and "drafts" in said and said.count("\n") == 1


def test_settings_of_the_chat_template(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "thinks")
    (tmp_path / "thinks" / "chat_template.jinja").write_text(
        "{{ messages[0].content }}{% if thinks is true %} three{% endif %}"
        "{% if thinks == 2 %} four{% endif %}"
    )
    ask = ["--tokens", 3, "--temperature", 0]
    for said, more in (("", "thinks=false"), (" three", "thinks=true"), (" four", "thinks=2")):
        found = text(capsys, tmp_path / "thinks", "one", "--chat", "--set", more, *ask)
        alone = Engine(folder)
        ids = alone.tokenizer.encode(f"one{said}", add_special_tokens=False).ids
        assert found == alone.generate([ids], 3, temperature=0)[0]
    for words, says in (
        (["--set", "thinks=true"], "with --chat"),
        (["--chat", "--set", "thinks"], "no name=value"),
        (["--chat", "--set", "thoughts=1"], "reads no 'thoughts'"),
    ):
        assert run(["generate", str(tmp_path / "thinks"), "one", *words]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1


def test_a_draft_says_what_it_is_expected_to_save(folder, capsys):
    asked = ["generate", str(folder), "one", "--tokens", "3", "--temperature", "0"]
    assert run(asked) == 0
    plain = capsys.readouterr()
    assert run([*asked, "--draft", str(folder)]) == 0
    drafted = capsys.readouterr()
    assert drafted.out == plain.out and not plain.err
    assert drafted.err.startswith("the model and its draft are measured")
    assert re.search(r"at a time: \d+; where 75% of them .* [0-9.]+ times the tokens", drafted.err)
    assert advice(SimpleNamespace(forecast=Forecast(4, 0.9))).endswith("no time here")
    assert advice(SimpleNamespace(forecast=Forecast(4, 1.6))).endswith("the model alone")
    assert advice(Engine(folder)) == ""


def test_an_adapter_is_no_model(tmp_path, capsys):
    stated = {"base_model_name_or_path": "my-base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(stated))
    for command in (["generate", str(tmp_path), "one"], ["serve", str(tmp_path), "--port", "0"]):
        assert run(command) == 1
        assert f"tilth merge {tmp_path} --base my-base -o WHOLE" in capsys.readouterr().err
    with pytest.raises(DataError, match="put into its base first"):
        Engine(tmp_path)


def test_a_folder_that_is_none(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "missing"):
        assert run(["generate", str(folder), "one"]) == 1
        assert "is neither a run nor a model" in capsys.readouterr().err
