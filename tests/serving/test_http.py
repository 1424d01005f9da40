"""The server: OpenAI's client, the guard, and requests that mean harm; the next one is right."""

import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tiny
from http_server import ask, events, post, sent, served, until

from tilth.cli.main import run as command
from tilth.models.folder import save_model
from tilth.retrieval.encoders.hashed import Hashed
from tilth.serving import http
from tilth.serving.embedder import Embedder
from tilth.serving.engine import Engine
from tilth.serving.guard import OPEN
from tilth.serving.limits import Limits
from tilth.serving.sampler import Sampling
from tilth.serving.streaming import encoded, parts
from tilth.serving.text_model import TextModel
from tilth.tokens import bpe
from tilth.tokens.chat import Chat

DOCS = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
LIMITS = Limits(queue=32, choices=24, deadline=60.0, body=200_000)
TALK = [{"role": "system", "content": "one"}, {"role": "user", "content": "two \u20ac three?"}]
TALKED = {"messages": TALK}
PLAIN = {"prompt": "one two", "max_tokens": 8, "temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("http")
    bpe.save(tiny.tokenizer(), folder / "tokens")
    save_model(tiny.model("llama"), folder / "my-model", folder / "tokens")
    return folder / "my-model"


@pytest.fixture(scope="module")
def service(folder):
    text = TextModel("my-model", folder, Engine(folder), LIMITS)
    service = http.Service(text, Embedder("my-encoder", Hashed()), LIMITS)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def server(service):
    with served(service) as address:
        yield address


@pytest.fixture(scope="module")
def client(server):
    import openai

    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{server[1]}/v1", api_key="none", max_retries=0
    ) as client:
        yield client


@pytest.fixture(scope="module")
def right(server, folder):
    """Asserts that a plain request is answered as the engine alone answers it."""
    (text,) = Engine(folder).generate([PLAIN["prompt"]], tokens=8, temperature=0)

    def check():
        status, found, _ = ask(server, "/v1/completions", PLAIN)
        assert status == 200, found
        assert found["choices"][0]["text"] == text

    return check


@pytest.fixture
def gate(service, monkeypatch):
    """Lets the engine make as many steps as `release` says; all of them when it is over."""
    gate, engine = threading.Semaphore(0), service.text.thread.engine
    step = engine.step

    def gated():
        gate.acquire()
        return step()

    monkeypatch.setattr(engine, "step", gated)
    yield gate
    monkeypatch.undo()
    gate.release(10_000)


def test_completions_by_the_client_are_the_engines(client, folder):
    settings = {"seed": 5, "max_tokens": 9, "logprobs": 2, "n": 2, "stop": ["qq"]}
    given = {"model": "my-model", "prompt": ["one two", "three"], **settings}
    found = client.completions.create(**given)
    samplings = [Sampling(seed=5, sample=n, logprobs=2, stop=("qq",)) for n in (0, 1)] * 2
    alone = Engine(folder).complete(["one two"] * 2 + ["three"] * 2, 9, samplings)
    assert [one.text for one in found.choices] == [one.text for one in alone]
    assert [one.finish_reason for one in found.choices] == [one.reason for one in alone]
    for choice, one in zip(found.choices, alone):
        expected = [token.logprob for token in one.tokens]
        assert choice.logprobs.token_logprobs == pytest.approx(expected, abs=1e-4)
        assert all(len(top) in (2, 3) for top in choice.logprobs.top_logprobs)
    texts = [""] * 4
    options = {"include_usage": True}
    for chunk in client.completions.create(**given, stream=True, stream_options=options):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [one.text for one in alone]
    assert chunk.usage == found.usage
    assert found.usage.completion_tokens == sum(len(one.tokens) for one in alone)
    assert [one.id for one in client.models.list()] == ["my-model", "my-encoder"]
    assert client.models.retrieve("my-model").id == "my-model"


def test_prompts_are_scored_and_echoed(client, folder):
    text = "one two three \u20ac"
    (ids,) = bpe.encode(tiny.tokenizer(), [text])
    engine = Engine(folder)
    (scored,) = engine.complete([[engine.begin, *ids]], 0, scores=True)
    made = {"model": "", "max_tokens": 0, "echo": True, "logprobs": 1}
    (found,) = client.completions.create(prompt=text, **made).choices
    assert found.text == text
    values = [token.logprob for token in scored.prompt]
    assert found.logprobs.token_logprobs == pytest.approx(values, abs=1e-4)
    # Offsets are those of letters, though a letter may be of several tokens.
    offsets = [len(bpe.decode(tiny.tokenizer(), ids[:count])) for count in range(len(ids) - 2)]
    assert found.logprobs.text_offset[: len(offsets)] == offsets
    (found,) = client.completions.create(prompt=[engine.begin, *ids], **made).choices
    assert found.logprobs.token_logprobs[0] is None
    assert found.logprobs.token_logprobs[1:] == pytest.approx(values, abs=1e-4)


def test_offsets_count_broken_bytes_as_letters(client, folder):
    from tilth.serving.spelling import Offsets, Spelling

    tokenizer, spelling = tiny.tokenizer(), Spelling(tiny.tokenizer())
    (letters,) = bpe.encode(bpe.train(["x"], 257), ["\u20ac"])
    names = [bpe.train(["x"], 257).id_to_token(id) for id in letters]
    first, second, third = (tokenizer.token_to_id(name) for name in names)
    (one,) = bpe.encode(tokenizer, ["one"])[0][:1]
    draw = random.Random(3)
    for _ in range(50):
        ids = draw.choices([first, second, third, one], k=12)
        offsets = Offsets(spelling)
        for count, id in enumerate(ids):
            assert offsets.take(id) == len(bpe.decode(tokenizer, ids[:count])), ids[:count]
    given = {"model": "", "max_tokens": 0, "echo": True, "logprobs": 0}
    (found,) = client.completions.create(prompt=[one, second, one, first, one], **given).choices
    text = tokenizer.decode([one, second, one, first, one])
    size = len(tokenizer.decode([one]))
    assert found.text == text and found.logprobs.text_offset == [
        0, size, size + 1, 2 * size + 1, 2 * size + 2
    ]  # fmt: skip


def test_what_the_sampler_has_beyond_openai(server, folder):
    given = {"prompt": "one two", "max_tokens": 9, "seed": 2}
    more = {"top_k": 3, "min_p": 0.2, "repetition_penalty": 1.7}
    plain = Sampling(seed=2)
    for sampling, body in (
        (dataclasses.replace(plain, top_k=3), {"top_k": 3}),
        (dataclasses.replace(plain, min_p=0.2), {"min_p": 0.2}),
        (dataclasses.replace(plain, repetition=1.7), {"repetition_penalty": 1.7}),
        (dataclasses.replace(plain, top_k=3, min_p=0.2, repetition=1.7), more),
        (plain, {"top_k": -1, "min_p": 0, "repetition_penalty": 1}),
    ):
        (alone,) = Engine(folder).complete(["one two"], 9, sampling)
        status, found, _ = ask(server, "/v1/completions", {**given, **body})
        assert status == 200 and found["choices"][0]["text"] == alone.text, body
    for body in ({"top_k": -2}, {"min_p": 1.5}, {"repetition_penalty": 0}):
        status, found, _ = ask(server, "/v1/completions", {**given, **body})
        assert status == 400 and found["error"]["param"] == next(iter(body))


def test_tokens_that_end_an_answer(server, folder):
    body = {"prompt": "one two", "max_tokens": 9, "temperature": 0, "ignore_eos": True}
    (whole,) = Engine(folder).complete(
        ["one two"], 9, Sampling(temperature=0, ignore_end=True, logprobs=0)
    )
    end = whole.ids[4]
    _, found, _ = ask(server, "/v1/completions", {**body, "stop_token_ids": [end], "logprobs": 0})
    count = whole.ids.index(end)
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "stop" and found["usage"]["completion_tokens"] == count
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(
        [token.logprob for token in whole.tokens[:count]], abs=1e-4
    )
    for strange in (-1, 280):
        status, found, _ = ask(server, "/v1/completions", {**body, "stop_token_ids": [strange]})
        assert status == 400 and found["error"]["param"] == "stop_token_ids"


def test_a_text_may_begin_without_the_token_of_documents(server, folder):
    engine = Engine(folder)
    ids = engine.encode("one two")
    bare = {"prompt": "one two", "add_special_tokens": False}
    for body, tokens in (({"prompt": "one two"}, ids), (bare, ids[1:])):
        assert ask(server, "/tokenize", body)[1]["tokens"] == tokens
    asked = {"max_tokens": 4, "temperature": 0, "echo": True, "logprobs": 0}
    _, text, _ = ask(server, "/v1/completions", {**asked, **bare})
    _, same, _ = ask(server, "/v1/completions", {**asked, "prompt": ids[1:]})
    assert text["choices"] == same["choices"] and text["usage"] == same["usage"]
    # The first token has nothing before it, and is there.
    assert text["choices"][0]["logprobs"]["token_logprobs"][0] is None
    assert text["choices"][0]["text"].startswith("one two")
    nothing = {"prompt": "", "add_special_tokens": False}
    status, found, _ = ask(server, "/v1/completions", nothing)
    assert status == 400 and "at least one token" in found["error"]["message"]


def test_a_stream_begins_with_its_echo(server):
    body = {**PLAIN, "prompt": ["one two", "three"], "n": 2, "echo": True}
    _, whole, _ = ask(server, "/v1/completions", body)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    _, text, _ = ask(server, "/v1/completions", {**body, **options})
    chunks = events(text)
    texts = [""] * 4
    for chunk in chunks[:-1]:
        # What has the counts at the end has the field everywhere.
        assert chunk["usage"] is None
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["text"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert [chunk["choices"][0]["text"] for chunk in chunks[:4]] == ["one two"] * 2 + ["three"] * 2
    assert chunks[-1]["usage"] == whole["usage"] and chunks[-1]["choices"] == []
    status, found, _ = ask(server, "/v1/completions", {**body, "stream": True, "logprobs": 1})
    assert status == 400 and found["error"]["param"] == "echo"
    _, text, _ = ask(server, "/v1/completions", {**PLAIN, "stream": True})
    assert all("usage" not in chunk for chunk in events(text))


def test_an_answer_goes_on_in_the_next_request(client):
    messages = [{"role": "developer", "content": "one"}, {"role": "user", "content": "two"}]
    given = {"model": "my-model", "max_completion_tokens": 3, "seed": 1}
    first = client.chat.completions.create(messages=messages, **given, max_tokens=9)
    assert first.usage.completion_tokens == 3
    messages.append(first.choices[0].message.model_dump())
    messages.append({"role": "user", "content": "three", "name": "me"})
    assert client.chat.completions.create(messages=messages, **given).choices
    asked = [{**message, "role": "system"} for message in messages[:1]] + messages[1:2]
    again = client.chat.completions.create(messages=asked, **given)
    assert again.choices[0].message.content == first.choices[0].message.content


def test_chats_are_rendered_as_in_training(client, server, folder):
    chat = Chat.load(folder)
    ids = chat.render(TALK, answer=True).ids.tolist()
    learned = chat.render([*TALK, {"role": "assistant", "content": "four"}]).ids.tolist()
    assert learned[: len(ids)] == ids
    _, found, _ = ask(server, "/tokenize", {"messages": TALK})
    assert found == {"tokens": ids, "count": len(ids), "max_model_len": 128}
    given = {"model": "my-model", "messages": TALK, "seed": 3, "max_tokens": 12}
    whole = client.chat.completions.create(**given, logprobs=True, top_logprobs=2)
    (alone,) = Engine(folder).complete([ids], 12, Sampling(seed=3))
    assert whole.choices[0].message.content == alone.text
    assert whole.usage.prompt_tokens == len(ids)
    assert len(whole.choices[0].logprobs.content) == len(alone.tokens)
    parts = list(client.chat.completions.create(**given, stream=True))
    assert parts[0].choices[0].delta.role == "assistant"
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == alone.text and parts[-1].choices[0].finish_reason == alone.reason


def test_letters_are_sent_whole(server, service, monkeypatch):
    """A model that writes one euro sign after the other, byte by byte."""
    from tilth.serving import engine as module
    from tilth.serving.sampler import Drawn

    (euro,) = bpe.encode(bpe.train(["x"], 257), ["\u20ac"])
    names = bpe.train(["x"], 257)
    own = [service.text.thread.engine.tokenizer.token_to_id(names.id_to_token(id)) for id in euro]
    made = iter(own * 4)
    monkeypatch.setattr(module.sampler, "sample", lambda *given: Drawn(next(made)))
    body = {**PLAIN, "max_tokens": 12, "stream": True}
    _, text, _ = ask(server, "/v1/completions", body)
    parts = [chunk["choices"][0]["text"] for chunk in events(text)]
    assert [part for part in parts if part] == ["\u20ac"] * 4


def test_embeddings_are_equal_as_floats_and_in_base64(client, server):
    texts = ["open a file", "limit memory of a child process", "open a file"]
    given = {"model": "my-encoder", "input": texts}
    coded = client.embeddings.create(**given)  # base64: what the client asks for by itself
    floats = client.embeddings.create(**given, encoding_format="float")
    rows = [one.embedding for one in floats.data]
    assert [one.embedding for one in coded.data] == rows and rows[0] == rows[2]
    assert rows == Hashed().encode(texts).tolist()
    for body, param in (
        ({"input": "x", "dimensions": 3}, "dimensions"),
        ({"input": ["x", ""]}, "input"),
        ({"input": [[4, 5]]}, "input"),
    ):
        status, found, _ = ask(server, "/v1/embeddings", body)
        assert status == 400 and found["error"]["param"] == param


def test_the_docs_program_runs(server, folder, capsys):
    program = re.search(r"<!-- test: client -->\n```python\n(.*?)```", DOCS, re.S)[1]
    assert "http://127.0.0.1:8000" in program
    exec(program.replace("127.0.0.1:8000", f"127.0.0.1:{server[1]}"), {})
    assert capsys.readouterr().out


def test_settings_of_the_chat_template(folder, tmp_path):
    import openai

    shutil.copytree(folder, tmp_path / "thinks")
    (tmp_path / "thinks" / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if thinks %} hm{% endif %}"
    )
    service = http.Service(TextModel("thinks", tmp_path / "thinks", Engine(folder)))
    body = {"messages": TALK, "chat_template_kwargs": {"thinks": True}}
    with served(service) as address:
        counts = [ask(address, "/tokenize", given)[1]["count"] for given in (body, TALKED)]
        assert counts[0] > counts[1]
        _, found, _ = ask(address, "/v1/chat/completions", {**body, "max_tokens": 2})
        assert found["usage"]["prompt_tokens"] == counts[0]
        with openai.OpenAI(base_url=f"http://127.0.0.1:{address[1]}/v1", api_key="none") as own:
            answer = own.chat.completions.create(
                model="thinks", messages=TALK, max_tokens=2, extra_body={
                    "chat_template_kwargs": body["chat_template_kwargs"]})  # fmt: skip
        assert answer.usage.prompt_tokens == counts[0]
        for wrong in ({"think": True}, {"thinks": []}, {"thinks": None}, [], "x"):
            status, found, _ = ask(address, "/tokenize", {**body, "chat_template_kwargs": wrong})
            assert status == 400 and "chat" in found["error"]["message"], wrong
    service.stop()


def measured(address):
    status, text, headers = ask(address, "/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain")
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def ends(found):
    """How many answers ended how."""
    return {name.split('"')[1]: value for name, value in found.items()
            if name.startswith("tilth_answers_total")}  # fmt: skip


def test_what_the_server_did_is_measured(folder):
    service = http.Service(TextModel("my-model", folder, Engine(folder), LIMITS))
    with served(service) as address:
        for body in (PLAIN, {**PLAIN, "n": 2, "stream": True}, {**PLAIN, "max_tokens": 10_000}):
            ask(address, "/v1/completions", body)
        ask(address, "/v1/nowhere")
        scored = {**PLAIN, "max_tokens": 0, "echo": True, "logprobs": 0}
        ask(address, "/v1/completions", scored)
        found = measured(address)
        prompt = ask(address, "/tokenize", {"prompt": PLAIN["prompt"]})[1]["count"]
        # Who hangs up in mid-answer.
        plug = post(address, "/v1/completions", {**PLAIN, "max_tokens": 100, "stream": True})
        plug.recv(100)
        plug.close()
        while sum(ends(measured(address)).values()) < 5:
            pass
    service.stop()
    path = 'path="/v1/completions"'
    assert found[f'tilth_requests_total{{{path},status="200"}}'] == 3
    assert found[f'tilth_requests_total{{{path},status="400"}}'] == 1
    assert found[f"tilth_request_seconds_count{{{path}}}"] == 4
    assert not any("nowhere" in name for name in found)
    written = found["tilth_answer_tokens_total"]
    assert 3 <= written <= 24 and found["tilth_prompt_tokens_total"] == 4 * prompt
    assert sum(ends(found).values()) == 4 and set(ends(found)) <= {"stop", "length"}
    assert found["tilth_first_token_seconds_count"] == 3
    assert found["tilth_between_tokens_seconds_count"] == written - 3
    assert found["tilth_answers_running"] == found["tilth_answers_waiting"] == 0
    assert found["tilth_answers_most"] == LIMITS.queue
    assert found["tilth_cache_tokens"] >= found["tilth_cache_tokens_free"] > 0


def test_without_a_model_there_is_little_to_measure():
    with served(http.Service()) as address:
        ask(address, "/v1/models")
        found = measured(address)
    assert found['tilth_requests_total{path="/v1/models",status="200"}'] == 1
    assert found["tilth_answer_tokens_total"] == 0 and "tilth_answers_running" not in found


# The guard ---------------------------------------------------------------------------------------


def test_every_route_wants_the_key(service, server):
    with served(service, key="secret", names=["models.example"]) as address:
        paths = [(method, path.replace("{model:path}", "my-model"))
                 for method, path, _ in http.ROUTES]  # fmt: skip
        paths += [("GET", "/nowhere"), ("GET", "/"), ("GET", "//health"), ("GET", "/health/"),
                  ("GET", "/%68ealth/../v1/models"), ("OPTIONS", "/v1/models")]  # fmt: skip
        for method, path in paths:
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
                status, found, _ = ask(address, path, b"{}", method, **headers)
                assert status == (200 if path in OPEN else 401), path
                assert path in OPEN or found["error"]["code"] == "invalid_key"
            status, _, _ = ask(address, path, b"{}", method, authorization="Bearer secret")
            assert status in (200, 400, 404, 405)
        assert ask(address, "/health", host="models.example:1")[0] == 200
    for headers in ({"host": "evil.example"}, {"origin": "http://evil.example"},
                    {"origin": "null"}, {"host": ""}):  # fmt: skip
        status, found, _ = ask(server, "/health", **headers)
        assert status == 403 and found["error"]["type"] == "permission_error"
    own = f"127.0.0.1:{server[1]}"
    assert ask(server, "/health", origin=f"http://{own}", host=own)[0] == 200


def test_beyond_this_machine_a_key_is_wanted(folder, tmp_path, capsys, monkeypatch):
    assert command(["serve", str(folder), "--host", "0.0.0.0"]) == 2
    assert "--key-file" in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "uvicorn", None)
        assert command(["serve", str(folder)]) == 3
        assert "tilth[web]" in capsys.readouterr().err
    (tmp_path / "empty").write_text("\n")
    for words, code, says in (
        ([str(tmp_path)], 1, "neither a run nor a model"),
        ([str(folder), "--set", "rows=3"], 2, "did you mean 'row'"),
        ([str(folder), "--key-file", str(tmp_path / "empty")], 2, "no key"),
    ):
        assert command(["serve", *words, "--port", "0"]) == code
        assert says in capsys.readouterr().err


# Harm --------------------------------------------------------------------------------------------

WRONG = [
    ({"prompt": "four " * 300}, "the model's context is 128"),
    ({"prompt": "one", "max_tokens": 500}, "500 are asked for; the model's context is 128"),
    ({"prompt": "one", "n": 10**9}, "n is from 1 to 24"),
    ({"prompt": ["one"] * 20, "n": 20}, "24 answers over all prompts"),
    ({"prompt": "one", "stop": ["x"] * 10**4}, "at most 16"),
    ({"prompt": "one", "stop": ["x" * 10**4]}, "200 letters"),
    ({"prompt": "one", "logprobs": 10**6}, "from 0 to 20"),
    ({"prompt": "one", "temprature": 0}, "did you mean 'temperature'"),
    ({"prompt": "one", "logit_bias": {"x": 1}}, "logit_bias"),
    ({"prompt": "one", "logit_bias": {"7": 1, "280": 1}}, "logit_bias has a token 280: the voc"),
    ({"prompt": "one", "top_p": 0}, "top_p is above 0"),
    ({"prompt": "one", "seed": 10**400}, "seed"),
    ({"prompt": [10**30]}, "vocabulary has 280"),
    ({"prompt": []}, "prompt"),
    ({"prompt": "\ud800"}, "no valid text"),
    ({"prompt": "one", "messages": TALK}, "there is no field 'messages'"),
    (b"[" * 50_000, "not valid JSON"),
    (b'{"prompt": NaN}', "NaN is no number"),
    (b"\xff", "not valid JSON"),
    (b"[]", "not a JSON object"),
]


def test_what_asks_for_too_much_is_refused_with_the_numbers(server, right, service):
    for body, says in WRONG:
        status, found, _ = ask(server, "/v1/completions", body)
        assert status == 400 and found["error"]["type"] == "invalid_request_error", body
        assert says in found["error"]["message"]
        if isinstance(body, dict) and set(body) != {"prompt", "messages"}:
            assert found["error"]["param"] == list(body)[-1 if "max_tokens" not in body else 0]
    long = [{"role": "user", "content": "one two "} for _ in range(900)]
    status, found, _ = ask(server, "/v1/chat/completions", {"messages": long})
    assert status == 400 and found["error"]["code"] == "context_length_exceeded"
    assert found["error"]["param"] == "messages"
    assert "the messages take at least" in found["error"]["message"]
    assert "the model's context is 128" in found["error"]["message"]
    # What the bytes do not show, the tokens do.
    odd = [{"role": "user", "content": "q" * 100} for _ in range(2)]
    status, found, _ = ask(server, "/v1/chat/completions", {"messages": odd})
    assert status == 400 and found["error"]["code"] == "context_length_exceeded"
    assert re.search(r"take [\d,]+ tokens; the model's context is 128", found["error"]["message"])
    status, found, _ = ask(server, "/v1/completions", b" " * 300_000)
    assert status == 413 and "200,000" in found["error"]["message"]
    status, found, _ = ask(server, "/v1/completions", {**PLAIN, "model": "gpt"})
    assert status == 404 and found["error"]["code"] == "model_not_found"
    assert ask(server, "/v1/completions")[0] == 405
    right()
    assert service.text.thread.live == 0


def words(count, seed=0):
    """A text of letters that are hardly ever the same, so that cutting it takes time."""
    draw = random.Random(seed)
    return "".join(draw.choices("abcdefghijklmnop \n\u00e9", k=count))


@pytest.fixture
def wide(service):
    """A server that takes large bodies."""
    limits = dataclasses.replace(LIMITS, body=4 * 2**20)
    with served(http.Service(service.text, limits=limits)) as address:
        yield address


@contextlib.contextmanager
def asking(*given, **named):
    """A request in a thread of its own; `[0]` is its answer when it is over."""
    found = []
    thread = threading.Thread(target=lambda: found.append(ask(*given, **named)))
    thread.start()
    yield found
    thread.join(120)
    assert found


def test_a_large_prompt_is_cut_while_others_are_answered(wide, service, monkeypatch):
    cut, begun, told = service.text._tokenized, threading.Event(), []

    def watched(asked):
        begun.set()
        found = cut(asked)
        told.append("cut")
        return found

    monkeypatch.setattr(service.text, "_tokenized", watched)
    text = words(400_000)
    with asking(wide, "/tokenize", {"prompt": text}) as found:
        assert begun.wait(60)
        while "cut" not in told:
            assert ask(wide, "/health")[0] == 200
            told.append("health")
    # Some may slip in before the cutting begins, many only while it goes on.
    assert told.index("cut") > 10
    assert found[0][1]["tokens"][1:] == tiny.tokenizer().encode(text).ids


def test_large_prompts_wait_for_each_other_and_nobody_else(wide, service, monkeypatch):
    cut, gate, large = service.text._tokenized, threading.Event(), []

    def held(asked):
        if len(asked.prompts[0]) > 1000:
            large.append(asked)
            assert gate.wait(60)
        return cut(asked)

    monkeypatch.setattr(service.text, "_tokenized", held)
    body = {"prompt": words(100_000)}
    with asking(wide, "/tokenize", body) as one, asking(wide, "/tokenize", body) as other:
        wait(lambda: large)
        assert ask(wide, "/tokenize", {"prompt": "one"})[0] == 200
        assert len(large) == 1
        gate.set()
    assert one[0][1] == other[0][1]


def test_large_answers_are_written_while_others_are_answered(server, service, right, monkeypatch):
    spelling, begun, gate = service.text.spelling, threading.Event(), threading.Event()
    name = spelling.name

    def held(token):
        begun.set()
        assert gate.wait(60)
        return name(token)

    monkeypatch.setattr(spelling, "name", held)
    body = {"prompt": "one two", "echo": True, "logprobs": 20, "max_tokens": 3}
    with asking(server, "/v1/completions", body) as found:
        assert begun.wait(60)
        assert ask(server, "/health")[0] == 200
        gate.set()
    assert found[0][0] == 200


def test_json_in_parts_is_json():
    tops = [None, *({str(place): -0.5 for place in range(20)} for _ in range(1500))]
    choice = {"text": '\u20ac"\n', "logprobs": {"top_logprobs": tops, "tokens": ["x"] * 1500}}
    value = {"id": "1", "choices": [choice, {}], "usage": {}, "none": [], "deep": [[[[[[[1]]]]]]]}
    lazy = {**value, "choices": iter(value["choices"])}
    written = list(parts(lazy))
    assert "".join(written) == json.dumps(value, ensure_ascii=False)
    assert max(map(len, written)) < 10_000
    assert encoded([1.5] * 2000) == json.dumps([1.5] * 2000).encode()
    assert encoded(iter(())) == b"[]"


def test_log_probabilities_are_bounded_over_all_tokens(server, service, monkeypatch):
    monkeypatch.setattr(service.text, "_most_scored", 100)
    body = {"prompt": "one two", "max_tokens": 5, "n": 5, "logprobs": 3}
    assert ask(server, "/v1/completions", body)[0] == 200
    status, found, _ = ask(server, "/v1/completions", {**body, "n": 6})
    assert status == 400 and found["error"]["param"] == "logprobs"
    says = "120 log-probabilities are asked for; a request has at most 100"
    assert says in found["error"]["message"]
    # Those of an echo count too.
    status, found, _ = ask(server, "/v1/completions", {**body, "echo": True})
    assert status == 400 and "log-probabilities" in found["error"]["message"]


def test_what_cannot_fit_is_not_even_cut(wide, service, monkeypatch):
    monkeypatch.setattr(service.text, "_tokenized", None)
    longest = service.text.spelling.longest
    body = {"prompt": "four " * 60_000}
    status, found, _ = ask(wide, "/v1/completions", body)
    assert status == 400 and found["error"]["code"] == "context_length_exceeded"
    assert f"at least {-(-300_000 // longest):,} tokens; the" in found["error"]["message"]
    talk = [{"role": "user", "content": "four " * 1000} for _ in range(4)]
    status, found, _ = ask(wide, "/v1/chat/completions", {"messages": talk})
    assert status == 400 and "the messages take at least" in found["error"]["message"]


def test_no_token_is_longer_than_the_longest():
    from tokenizers import Tokenizer, normalizers, pre_tokenizers

    from tilth.serving.spelling import Spelling

    composed = Tokenizer.from_str(tiny.tokenizer().to_str())
    composed.normalizer = normalizers.NFC()
    for tokenizer in (tiny.tokenizer(), composed):
        longest = Spelling(tokenizer).longest
        for text in (
            "four five six",
            "\u20ac" * 9,
            "\u03b9\u0308\u0301" * 50,
            "e\u0301" * 20,
            words(500),
        ):
            (ids,) = bpe.encode(tokenizer, [text])
            assert len(ids) * longest >= len(text.encode())
    # Where bytes may be lost before they are cut, nothing is known.
    composed.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    assert Spelling(composed).longest == 0


def test_random_bodies_stop_nothing(server, right):
    bombard(server, 300, 1)
    right()


RIGHT = {
    "/v1/completions": {"prompt": "one", "max_tokens": 3},
    "/v1/chat/completions": {"messages": TALK, "max_tokens": 3},
    "/v1/embeddings": {"input": "one"},
    "/tokenize": {"prompt": "one"},
}


def bombard(server, count, seed):
    """Requests whose parts are drawn from what is right and what is not."""
    draw = random.Random(seed)
    values = [None, True, -1, 0, 1, 3, 2**70, 0.5, 1e308, "", "one", "\ud800", [], {}, ["x"],
              [1, 2], [[1], [2]], [None], {"a": 1}, {"1": 5}, "x" * 3000, [[]], TALK]  # fmt: skip
    names = ["prompt", "messages", "input", "max_tokens", "n", "stop", "seed", "stream", "echo",
             "logprobs", "top_logprobs", "temperature", "top_p", "top_k", "min_p", "logit_bias",
             "stream_options", "model", "encoding_format", "best_of", "user", "odd"]  # fmt: skip
    for _ in range(count):
        body = {name: draw.choice(values) for name in draw.sample(names, draw.randrange(6))}
        path = draw.choice(list(RIGHT))
        if draw.random() < 0.7:
            body = RIGHT[path] | {name: body[name] for name in list(body)[:2]}
        data = json.dumps(body).encode()
        if draw.random() < 0.1:
            data = data[: draw.randrange(len(data))]
        status, _, _ = ask(server, path, data)
        assert status in (200, 400, 404), data


def test_who_hangs_up_is_not_answered_on(server, service, right, gate):
    engine, thread = service.text.thread.engine, service.text.thread
    body = {**PLAIN, "max_tokens": 100, "ignore_eos": True, "logprobs": 0}
    for stream in (True, False):
        plug = post(server, "/v1/completions", {**body, "stream": stream})
        gate.release(3)
        if stream:
            until(plug, b"\n\n")
        else:
            wait(lambda: engine.running and len(engine.running[0].made) > 1)
        plug.close()
        # The cancellation is in the queue, or taken, before the engine may go on.
        wait(lambda: not thread._commands.empty() or engine._events or not thread.live)
        gate.release(3)
        wait(lambda: thread.live == 0)
    gate.release(10_000)
    right()


def wait(there):
    """Until something is so; polled, since it happens in another thread."""
    pause = threading.Event()
    for _ in range(6000):
        if there():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come")


def test_a_full_queue_says_when_to_come_again(server, service, right, gate):
    plugs = [post(server, "/v1/completions", {**PLAIN, "n": 16}) for _ in range(2)]
    wait(lambda: service.text.thread.live == LIMITS.queue)
    status, found, headers = ask(server, "/v1/completions", PLAIN)
    assert status == 429 and headers["retry-after"] == "1" and "32" in found["error"]["message"]
    gate.release(10_000)
    for plug in plugs:
        assert until(plug, b"\r\n").startswith(b"HTTP/1.1 200")
        plug.close()
    wait(lambda: service.text.thread.live == 0)
    right()


def test_a_body_that_does_not_come_is_not_waited_for(service, right):
    limits = dataclasses.replace(LIMITS, body_seconds=0.2, body=1000)
    with served(http.Service(service.text, limits=limits)) as address:
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        plug = sent(address, head + 'Content-Length: 50\r\n\r\n{"prompt":')
        text = until(plug, b"}}")
        assert text.startswith(b"HTTP/1.1 408") and b"within 0.2 seconds" in text
        assert b"connection: close" in text
        plug.close()
        # A body whose length is not said is counted as it comes.
        chunk = "200\r\n" + "x" * 512 + "\r\n"
        plug = sent(address, head + "Transfer-Encoding: chunked\r\n\r\n" + chunk * 2)
        text = until(plug, b"}}")
        assert text.startswith(b"HTTP/1.1 413") and b"at most 1,000 bytes" in text
        plug.close()
    right()


def test_more_requests_than_the_limit_are_told_to_come_again(service, right, gate):
    limits = dataclasses.replace(LIMITS, requests=2)
    with served(http.Service(service.text, limits=limits)) as address:
        plugs = [post(address, "/v1/completions", PLAIN) for _ in range(2)]
        wait(lambda: service.text.thread.live == 2)
        status, found, headers = ask(address, "/v1/models")
        assert status == 429 and headers["retry-after"] == "1"
        assert found["error"]["type"] == "rate_limit_error"
        assert "2 requests are served at a time" in found["error"]["message"]
        gate.release(10_000)
        for plug in plugs:
            assert until(plug, b"\r\n").startswith(b"HTTP/1.1 200")
            plug.close()
        wait(lambda: ask(address, "/v1/models")[0] == 200)
    right()


def test_a_deadline_ends_an_answer(service, right, gate):
    short = http.Service(service.text, limits=dataclasses.replace(LIMITS, deadline=0.3))
    with served(short) as address:
        gate.release(2)
        status, _, headers = ask(address, "/v1/completions", PLAIN)
        assert status == 504 and headers["x-should-retry"] == "false"
        gate.release(3)
        wait(lambda: service.text.thread.live == 0)
        _, text, _ = ask(address, "/v1/completions", {**PLAIN, "stream": True})
        assert '"code": "deadline"' in text.split("\n\n")[-2]
    gate.release(10_000)
    wait(lambda: service.text.thread.live == 0)
    right()


def test_a_slow_reader_holds_up_nobody(server, service, right):
    body = {"prompt": "one", "max_tokens": 40, "n": 24, "stream": True, "logprobs": 20}
    plug = post(server, "/v1/completions", body, receive=1024)
    right()
    wait(lambda: service.text.thread.live == 0)
    until(plug, b"[DONE]")
    plug.close()


def test_a_step_that_fails_ends_its_requests_only(server, service, right, monkeypatch):
    engine = service.text.thread.engine
    step = engine.step

    def failing():
        monkeypatch.setattr(engine, "step", step)
        raise MemoryError("no more")

    monkeypatch.setattr(engine, "step", failing)
    status, found, _ = ask(server, "/v1/completions", PLAIN)
    assert status == 500 and found["error"]["type"] == "server_error"
    right()
    assert engine.cache.table.free == engine.cache.table.total


# The command -------------------------------------------------------------------------------------


def started(words, program="from tilth.cli import main; main()", **options):
    """A process of `tilth serve`, and its address when it answers."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True,
        env=environment, **options,
    )  # fmt: skip
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert found, line
    return process, ("127.0.0.1", int(found[1]))


def test_the_command_finishes_what_is_under_way(folder):
    words = re.search(r"<!-- test: serve -->\n```\w+\ntilth (serve my-model.*?)\n", DOCS)[1].split()
    words[1] = str(folder)
    words[words.index("--port") + 1] = "0"
    process, address = started(words)
    try:
        body = {"prompt": "one", "max_tokens": 120, "n": 16, "stream": True, "ignore_eos": True}
        plug = post(address, "/v1/completions", body)
        text = until(plug, b"\n\n")
        process.send_signal(signal.SIGTERM)
        if b"[DONE]" not in text:
            text += until(plug, b"[DONE]")
        assert text.count(b'"finish_reason": "length"') == 16
        plug.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()


SLOW = """
import time
from tilth.serving.engine import Engine
step = Engine.step
Engine.step = lambda self: time.sleep(0.1) or step(self)
from tilth.cli import main
main()
"""


def test_a_second_interrupt_breaks_off_what_is_under_way(folder):
    """Both kinds of answers say so, and nobody reads of Python."""
    words = ["serve", str(folder), "--port", "0"]
    process, address = started(words, SLOW, stderr=subprocess.PIPE)
    try:
        body = {"prompt": "one", "max_tokens": 120, "ignore_eos": True}
        whole = post(address, "/v1/completions", body)
        talk = {"messages": TALK, "max_tokens": 80, "ignore_eos": True, "stream": True}
        stream = post(address, "/v1/chat/completions", talk)
        text = until(stream, b"\n\n")
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline()
        assert said.startswith("stopping: ") and "(2)" in said
        process.send_signal(signal.SIGINT)
        for plug, found in ((stream, text), (whole, b"")):
            while part := plug.recv(4096):
                found += part
            plug.close()
            assert b'"message": "the server was stopped", "type": "server_error"' in found
        assert found.startswith(b"HTTP/1.1 503")
        assert process.wait(60) == 0 and not process.stderr.read()
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()


def test_an_interrupt_from_the_keyboard_reaches_no_draft(folder):
    """It goes to all processes of a terminal's group: the server's child has one of its own."""
    words = ["serve", str(folder), "--port", "0"]
    for setting in (f"draft={folder}", "strategy=pearl", "length=2"):
        words += ["--set", setting]
    process, address = started(words, start_new_session=True)
    try:
        body = {"prompt": "one", "max_tokens": 100, "stream": True, "ignore_eos": True}
        plug = post(address, "/v1/completions", body)
        text = until(plug, b"\n\n")
        os.killpg(process.pid, signal.SIGINT)
        if b"[DONE]" not in text:
            text += until(plug, b"[DONE]")
        assert b'"finish_reason": "length"' in text and b"error" not in text
        plug.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


def test_a_draft_that_died_is_told_without_a_path(folder):
    from tilth.cli.serve import _service

    options = {"draft": str(folder), "strategy": "pearl", "length": 2}
    service = _service(str(folder), "", options, {"--called": ""}, LIMITS)
    try:
        with served(service) as address:
            drafter = service.text.thread.engine.strategy.drafter
            begin = drafter.begin

            def dying(*given, **named):
                begin(*given, **named)
                drafter._child.kill()
                drafter._child.wait()

            drafter.begin = dying
            status, found, _ = ask(address, "/v1/completions", PLAIN)
            assert status == 500
            assert found["error"]["message"] == (
                "the answer failed: the draft model's process has ended"
            )
            drafter.begin = begin
            assert ask(address, "/v1/completions", PLAIN)[0] == 200
    finally:
        service.stop()


def test_killed_in_mid_stream_the_reader_knows_and_the_next_server_is_right(folder):
    body = {"prompt": "one", "max_tokens": 120, "n": 16, "stream": True, "ignore_eos": True}
    before = sorted(folder.rglob("*"))
    (text,) = Engine(folder).generate([PLAIN["prompt"]], tokens=8, temperature=0)
    port = "0"
    for _ in range(2):
        process, address = started(["serve", str(folder), "--port", port])
        try:
            status, found, _ = ask(address, "/v1/completions", PLAIN)
            assert status == 200 and found["choices"][0]["text"] == text
            plug = post(address, "/v1/completions", body)
            seen = until(plug, b"\n\n")
            process.kill()
            with contextlib.suppress(ConnectionResetError):
                while part := plug.recv(65536):
                    seen += part
            # No chunk of length 0 and no [DONE]: whoever reads can tell that it was cut.
            assert b"[DONE]" not in seen and not seen.endswith(b"0\r\n\r\n")
            plug.close()
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()
        port = str(address[1])  # free again at once
    assert sorted(folder.rglob("*")) == before


def test_a_model_with_a_draft_is_served(folder, tmp_path):
    from tilth.cli.serve import _service

    options = {"draft": str(folder), "strategy": "turns", "length": 3}
    service = _service(str(folder), "", options, {"--called": ""}, LIMITS)
    (text,) = Engine(folder).generate([PLAIN["prompt"]], tokens=8, temperature=0)
    try:
        with served(service) as address:
            status, found, _ = ask(address, "/v1/completions", PLAIN)
            assert status == 200 and found["choices"][0]["text"] == text
            _, streamed, _ = ask(address, "/v1/completions", {**PLAIN, "stream": True})
            assert "".join(one["choices"][0]["text"] for one in events(streamed)) == text
            status, found, _ = ask(address, "/v1/completions", {**PLAIN, "echo": True,
                                                                "logprobs": 1})  # fmt: skip
            assert status == 400 and "draft" in found["error"]["message"]
        assert service.text.thread.engine.tally.tokens_a_round > 1
    finally:
        service.stop()


def test_an_encoder_is_served_alone(tmp_path):
    from tilth.cli.serve import _service

    Hashed().save(tmp_path / "my-encoder")
    for model, encoder, called in (("", "my-encoder", ""), ("my-encoder", "", "my-vectors")):
        folders = [str(tmp_path / one) if one else "" for one in (model, encoder)]
        service = _service(*folders, {}, {"--called": called}, LIMITS)
        try:
            name = called or "my-encoder"
            assert [one["id"] for one in service.listed()] == [name]
            with served(service) as address:
                body = {"model": name, "input": "open a file"}
                status, found, _ = ask(address, "/v1/embeddings", body)
                assert status == 200
                vector = Hashed().encode(["open a file"])[0].tolist()
                assert found["data"][0]["embedding"] == vector
                assert ask(address, "/v1/completions", PLAIN)[0] == 404
        finally:
            service.stop()


def test_no_option_is_without_effect(folder, tmp_path, capsys, monkeypatch):
    from tilth.cli import serve

    def opened(*given, **named):
        raise AssertionError("it was served")

    monkeypatch.setattr("tilth.cli.serve_pages.open_site", opened)
    Hashed().save(tmp_path / "my-encoder")
    encoder = str(tmp_path / "my-encoder")
    for words, says in (
        (["--set", "dtype=bfloat16"], "--set: dtype is a setting of a language model, and none"),
        (["--encoder", encoder, "--set", "row=9"], "row is a setting of a language model"),
        ([encoder, "--set", "memory=9"], "memory is a setting of a language model"),
        (["--called", "me"], "--called has no effect: neither a model nor an encoder is served"),
        (["--queue", "9"], "--queue has no effect"),
        ([encoder, "--encoder", encoder], "is an encoder, and --encoder names another"),
        (["--set", "llm_model=me"], "--set: llm_model is a setting of --llm"),
        ([str(folder), "--set", "row=9", "--set", "row=8"], "row is set twice"),
        ([str(folder), "--set", f"draft={folder}", "--set", "policy=orca"], "policy is for many"),
        # A name by which others reach it, as through a proxy, wants a key, for whatever costs.
        ([str(folder), "--name", "models.example.org"], "models.example.org can be reached from"),
        (["--encoder", encoder, "--name", "Models.example.org."], "wants a key"),
    ):
        assert command(["serve", "--port", "0", *words]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert serve._parts("", "") == (None, None)


def test_a_model_that_transformers_runs_is_told(folder, tmp_path, capsys):
    import transformers

    from tilth.cli.serve import _service
    from tilth.serving.local import Local

    # It states no longest sequence.
    config = transformers.BloomConfig(vocab_size=280, hidden_size=32, n_layer=2, n_head=4,
                                      bos_token_id=0, eos_token_id=0)  # fmt: skip
    save_model(transformers.BloomForCausalLM(config), tmp_path / "bloom", folder.parent / "tokens")
    service = _service(str(tmp_path / "bloom"), "", {}, {"--called": "strange"}, LIMITS)
    note = service.text.note
    service.stop()
    (listed,) = service.listed()
    assert listed["id"] == "strange" and listed["max_model_len"] is None
    assert "bloom" in note and listed["note"] == note
    assert capsys.readouterr().err == f"strange: {note}\n"
    Local(tmp_path / "bloom")
    assert capsys.readouterr().err == f"{tmp_path / 'bloom'}: {note}\n"


def test_models_are_listed_with_what_fits(server, folder):
    (mine, _) = ask(server, "/v1/models")[1]["data"]
    assert mine["max_model_len"] == 128 and mine["note"] is None
    # A cache for less than the context is what bounds.
    text = TextModel("small", folder, Engine(folder, blocks=3))
    text.stop()
    assert http.Service(text).listed()[0]["max_model_len"] == 48


def test_what_the_engine_cannot_start_with_is_one_line(folder, capsys):
    for setting, code, says in (
        ("device=nope", 2, "there is no device 'nope' here"),
        ("device=meta", 2, "there is no device 'meta' here"),
        ("device=cuda:99", 2, "there is no device 'cuda:99' here"),
        ("dtype=int8", 2, "no dtype 'int8' is served"),
        ("block=0", 2, "memory and block are whole numbers of at least 1"),
        ("block=129", 2, "block is at most the model's context, 128"),
        ("policy=none", 2, "policy"),
        ("strategy=none", 2, "strategy"),
    ):
        assert command(["serve", str(folder), "--port", "0", "--set", setting]) == code, setting
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1, setting


def test_a_cache_that_nothing_holds_is_refused(folder, monkeypatch):
    from tilth.errors import LimitError
    from tilth.serving.model_runner import ModelRunner

    def none_left(*given, **named):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(ModelRunner, "cache", none_left)
    with pytest.raises(LimitError, match=r"no room for a cache of [0-9,]+ bytes"):
        Engine(folder)


def test_a_run_without_a_model_is_served_without_torch(tmp_path):
    from tilth.store.manifest import write_manifest

    run = tmp_path / "my-run"
    run.mkdir()
    (run / "plan.resolved.toml").write_text("")
    write_manifest(run, ["plan.resolved.toml"])
    program = (
        "import sys; from tilth.cli.main import run; code = run(sys.argv[1:]);"
        "print(code, 'torch' in sys.modules)"
    )
    process, address = started(["serve", str(run), "--port", "0"], program)
    try:
        assert ask(address, "/health")[:2] == (200, {"status": "ok"})
        assert ask(address, "/v1/models")[1]["data"] == []
        for path in ("/v1/completions", "/v1/embeddings"):
            status, found, _ = ask(address, path, {"prompt": "one"} if "comp" in path else
                                   {"input": "one"})  # fmt: skip
            assert status == 404 and found["error"]["code"] == "model_not_found"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().split() == ["0", "False"]
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()


@pytest.mark.soak
def test_soak(server, service, right):
    """10,000 random bodies and 200 connections at a time; memory stays as it is."""
    import resource

    bombard(server, 2_000, 7)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bombard(server, 8_000, 8)
    told = set()
    for _ in range(5):
        plugs = [post(server, "/v1/completions", {**PLAIN, "stream": True}) for _ in range(200)]
        for place, plug in enumerate(plugs):
            if place % 2:
                told.add(until(plug, b"\r\n\r\n").split()[1])
            plug.close()
        wait(lambda: service.text.thread.live == 0)
        right()
    # More than the queue takes: they are told to wait.
    assert told == {b"200", b"429"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
