"""The driver `local` keeps the contract of generators."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny

from tilth.errors import UsageError
from tilth.models.folder import save_model
from tilth.serving import open_generator
from tilth.serving.replay import Record, Replay
from tilth.tokens import bpe
from tilth.types import Generator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    bpe.save(tiny.tokenizer(), folder / "tokens")
    save_model(tiny.model("llama"), folder / "model", folder / "tokens")
    return folder / "model"


def test_answers_one_by_one(folder, tmp_path):
    generator = open_generator("local", model=folder)
    assert isinstance(generator, Generator) and generator.driver == "local"
    prompts = ["one two", "one two", "\udcff", "four " * 200, "one"]
    sampling = {"temperature": 1.0, "seed": 3, "max_tokens": 6, "stop": ["qq"]}
    answers = generator.generate(prompts, sampling)
    assert [answer.outcome for answer in answers] == ["ok", "ok", "failed", "failed", "ok"]
    assert answers[0].text != answers[1].text and answers[0].reason == "cut at max_tokens"
    assert "context is 128" in answers[3].reason
    # Who else is asked changes nothing, and what was given can be recorded.
    record = Record(generator, tmp_path / "answers.jsonl")
    assert record.generate(["one two"], sampling) == answers[:1]
    assert Replay(tmp_path / "answers.jsonl").generate(["one two"], sampling) == answers[:1]
    first, *_ = generator.each(generator.requests(["one", "two"], {"max_tokens": 9}))
    assert first and not generator.engine.busy


def test_scores_and_settings(folder):
    generator = open_generator("local", model=folder.parent, tokens=4)
    (ids,) = bpe.encode(tiny.tokenizer(), ["one two three"])
    scores = generator.score(["one two three", ""])
    assert len(scores[0]) == len(ids) - 1 and scores[1] == []
    assert all(value < 0 for value in scores[0])
    for settings in ({"top_p": 0.0}, {"max_tokens": 0}, {"heat": 1}):
        with pytest.raises(UsageError):
            generator.generate(["one"], settings)
    assert not generator.engine.busy
    with pytest.raises(UsageError, match="system"):
        open_generator("local", model=folder, system="Be brief.")


def test_a_chat_is_asked_as_it_was_tuned(folder):
    generator = open_generator("local", model=folder, chat=True, system="Be brief.")
    (request,) = generator.requests(["one?"], {})
    assert '"system"' in request.rendered and '"one?"' in request.rendered
    ids = generator._ids("one?")
    text = tiny.tokenizer().decode(ids)
    assert text == "### system\nBe brief.\n### user\none?\n### assistant\n"
    assert generator.generate(["one?"], {"max_tokens": 3, "temperature": 0})[0].outcome == "ok"
