"""Answers as they come, from a server and from the engine; and which model a word stands for."""

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from server import Server

from tilth.errors import UsageError
from tilth.models.folder import save_model
from tilth.serving.endpoint import Endpoint
from tilth.serving.llm import open_llm
from tilth.serving.local import Local
from tilth.serving.replay import Record
from tilth.serving.rules import Rules
from tilth.tokens import bpe
from tilth.types import Answer


@pytest.fixture(scope="module")
def server():
    one = Server()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    bpe.save(tiny.tokenizer(), folder / "tokens")
    save_model(tiny.model("llama"), folder / "model", folder / "tokens")
    return folder / "model"


def asked(server, prompt, **options):
    made = Endpoint(server.url, "made", **{"retries": 2, "wait": 0.001, **options})
    *letters, answer = made.stream(prompt, {"temperature": 0})
    return letters, answer


def test_a_server_s_words_come_one_by_one(server):
    letters, answer = asked(server, "[say one two three]")
    assert letters == ["one", " two", " three"]
    assert answer == Answer("ok", "one two three")
    assert server.bodies[-1]["stream"] is True and server.bodies[-1]["temperature"] == 0


@pytest.mark.parametrize(
    ("prompt", "outcome", "reason", "count"),
    [
        ("[429][hang up][ok] a", "ok", "", 3),
        ("[length] a", "ok", "cut at max_tokens", 1),
        ("[content_filter] a", "refused", "content filter", 1),
        ("[refusal] a", "refused", "I will not", 1),
        ("[empty] a", "malformed", "empty", 1),
        ("[400] a", "failed", "deed 400", 1),
        ("[500] a", "failed", "3 attempts", 3),
        # What was begun is not begun again: its words are out.
        ("[break][ok] a", "failed", "in the middle", 1),
        ("[error][ok] a", "failed", "out of memory, in the middle", 1),
        ("[whole] a", "ok", "", 2),
    ],
)
def test_every_misdeed_has_its_outcome(server, prompt, outcome, reason, count):
    letters, answer = asked(server, prompt)
    assert answer.outcome == outcome and reason in answer.reason
    assert server.asked[prompt] == count
    if outcome == "ok":
        assert "".join(letters) == answer.text != ""


def test_a_slow_stream_is_timed_out(server):
    letters, answer = asked(server, "[wait] one", seconds=0.3)
    assert letters == ["you"] and answer.outcome == "timed out"


def test_who_closes_a_stream_leaves_nothing_behind(server, folder):
    before = threading.active_count()
    stream = Endpoint(server.url, "made").stream("[wait] two")
    assert next(stream) == "you"
    stream.close()
    assert threading.active_count() <= before + 1  # The server's own thread may linger.
    local = Local(folder)
    stream = local.stream("one two", {"max_tokens": 50})
    next(stream)
    assert local.engine.busy
    stream.close()
    assert not local.engine.busy


def test_the_engine_s_letters_are_the_answer(folder):
    local = Local(folder)
    sampling = {"temperature": 1.0, "seed": 3, "max_tokens": 12}
    (whole,) = local.generate(["one two"], sampling)
    *letters, answer = local.stream("one two", sampling)
    assert answer == whole and "".join(letters) == answer.text
    assert sum(map(bool, letters)) > 1
    *letters, answer = local.stream("four " * 200)
    assert letters == [] and answer.outcome == "failed" and "context is 128" in answer.reason
    assert local.context == 128 and local.count("one two") == len(local._ids("one two"))
    with pytest.raises(UsageError):
        next(local.stream("one", {"heat": 1}))


def test_two_threads_take_turns(folder):
    local = Local(folder)
    sampling = {"temperature": 0, "max_tokens": 8}
    whole = local.generate(["one two", "three"], sampling)
    found = {}

    def run(place, prompt):
        *_, found[place] = local.stream(prompt, sampling)

    threads = [
        threading.Thread(target=run, args=pair) for pair in enumerate(["one two", "three"] * 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(6)] == whole * 3


def test_a_word_stands_for_a_model(server, folder, tmp_path):
    found = open_llm(server.url, model="made")
    assert isinstance(found, Endpoint) and found.retries == 1
    assert open_llm(str(folder)).driver == "local"
    Record(Rules(lambda prompt: "yes"), tmp_path / "a.jsonl").generate(["q"])
    assert open_llm(str(tmp_path / "a.jsonl")).generate(["q"]) == [Answer("ok", "yes")]
    for given, named in [
        (server.url, {}),
        (str(folder), {"model": "x"}),
        (str(folder), {"key": "KEY"}),
        ("/nowhere", {}),
        (server.url, {"model": "made", "key": "TILTH_NO_SUCH_KEY"}),
    ]:
        with pytest.raises(UsageError):
            open_llm(given, **named)


def test_tilth_s_own_server_streams_the_same(folder):
    from http_server import served

    from tilth.serving.engine import Engine
    from tilth.serving.http import Service
    from tilth.serving.text_model import TextModel

    service = Service(text=TextModel("tiny", folder, Engine(folder)))
    try:
        with served(service) as (host, port):
            made = Endpoint(f"http://{host}:{port}/v1", "tiny", retries=0)
            sampling = {"temperature": 0, "max_tokens": 9}
            (whole,) = made.generate(["one two"], sampling)
            *letters, answer = made.stream("one two", sampling)
            assert whole.outcome == "ok" and answer == whole
            assert "".join(letters) == whole.text
    finally:
        service.stop()
