"""How texts begin and end, as the folder of a model says."""

import json
import sys
from pathlib import Path

import pytest
import transformers

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from tokenizers import processors

from tilth.errors import TilthError
from tilth.models.folder import save_model
from tilth.serving.engine import Engine
from tilth.tokens import bpe

TURN, FIRST = "<|turn|>", "<|first|>"


@pytest.fixture
def folder(tmp_path):
    """A model whose tokenizer has a token that ends turns, and one that begins texts."""
    tokenizer = bpe.train(["one two three four"] * 3, 280, special=(TURN, FIRST))
    bpe.save(tokenizer, tmp_path / "tokens")
    save_model(tiny.model("llama"), tmp_path / "model", tmp_path / "tokens")
    (tmp_path / "model" / "manifest.json").unlink()
    return tmp_path / "model"


def say(folder, **settings):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings))


def id_of(folder, name):
    return bpe.load(folder).token_to_id(name)


def prepend(folder, name):
    """Let the tokenizer itself begin every text with a token."""
    tokenizer = bpe.load(folder)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{name} $A", special_tokens=[(name, tokenizer.token_to_id(name))]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("token", [TURN, {"content": TURN, "special": True}])
def test_an_answer_ends_with_the_end_of_its_turn(folder, token):
    # config.json and generation_config.json know the end of a document only.
    assert Engine(folder).ends == {0}
    say(folder, eos_token=token)
    assert Engine(folder).ends == {0, id_of(folder, TURN)}


def test_a_text_begins_as_its_tokenizer_begins_it(folder):
    assert Engine(folder).begin == 0
    prepend(folder, FIRST)
    engine = Engine(folder)
    assert engine.begin == id_of(folder, FIRST)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder))
    assert engine.encode("one two") == theirs("one two").input_ids


def test_a_token_that_begins_texts_by_a_setting(folder):
    say(folder, bos_token=FIRST)
    assert Engine(folder).begin == 0
    say(folder, add_bos_token=True)
    assert Engine(folder).begin == id_of(folder, FIRST)
    say(folder, bos_token=None)
    assert Engine(folder).begin == 0


def test_settings_that_are_none(folder):
    (folder / "tokenizer_config.json").write_text("[]")
    assert Engine(folder).begin == 0
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(TilthError, match="JSON"):
        Engine(folder)
