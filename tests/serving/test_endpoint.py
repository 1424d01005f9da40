"""The endpoint driver against a real server: every misdeed gets its own outcome."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from server import Server

from tilth.errors import DamagedError, DataError, UsageError
from tilth.serving import open_generator
from tilth.serving.endpoint import Endpoint
from tilth.serving.requests import Cached, RequestCache
from tilth.types import Answer, Generator


@pytest.fixture(scope="module")
def server():
    one = Server()
    yield one
    one.stop()


def endpoint(server, **options):
    return Endpoint(server.url, "made", **{"retries": 2, "seconds": 10.0, "wait": 0.001, **options})


def wait_until(happened):
    for _ in range(3000):
        if happened():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never happened")


def test_prompts_are_answered_in_order(server):
    generator = endpoint(server)
    assert isinstance(generator, Generator)
    prompts = [f"order {number}" for number in range(20)]
    answers = generator.generate(prompts, {"temperature": 0, "max_tokens": 9, "stop": ("a", "b")})
    assert answers == [Answer("ok", f"you said {prompt}, time 1") for prompt in prompts]
    body = next(b for b in server.bodies if b["messages"][-1]["content"] == "order 3")
    assert body == {
        "model": "made", "messages": [{"role": "user", "content": "order 3"}],
        "temperature": 0, "max_tokens": 9, "stop": ["a", "b"],
    }  # fmt: skip
    assert generator.generate([]) == []


@pytest.mark.parametrize(
    ("deeds", "outcome", "reason", "asked"),
    [
        ("[429][500][ok]", "ok", "", 3),
        ("[hang up][cut][ok]", "ok", "", 3),
        ("[429]", "failed", "status 429: deed 429, 3 attempts", 3),
        ("[503]", "failed", "status 503: deed 503, 3 attempts", 3),
        ("[cut]", "failed", "no connection", 3),
        ("[hang up]", "failed", "no connection", 3),
        ("[400]", "failed", "status 400: deed 400", 1),
        ("[policy]", "refused", "status 400", 1),
        ("[garbage]", "malformed", "not JSON", 1),
        ("[html]", "malformed", "", 1),
        ("[odd]", "malformed", "not an answer of the chat API", 1),
        ("[list]", "malformed", "", 1),
        ("[empty]", "malformed", "empty", 1),
        ("[null]", "malformed", "NoneType in place of a text", 1),
        ("[refusal]", "refused", "I will not", 1),
        ("[content_filter]", "refused", "content filter", 1),
        ("[length]", "ok", "cut at max_tokens", 1),
    ],
)
def test_each_misdeed_has_its_outcome(server, deeds, outcome, reason, asked):
    prompt = f"{deeds} misdeed"
    before, after, other = endpoint(server).generate(["good", prompt, "also good"])
    assert {before.outcome, other.outcome} == {"ok"}
    assert after.outcome == outcome and reason in after.reason
    assert server.asked[prompt] == asked
    assert bool(after.text.strip()) == (outcome == "ok" or "filter]" in deeds)


@pytest.mark.parametrize("deed", ["slow", "drip"])
def test_time_is_limited_for_a_whole_attempt(server, deed):
    generator = endpoint(server, seconds=0.2, retries=1)
    (answer,) = generator.generate([f"[{deed}] time"])
    assert answer == Answer("timed out", reason="no answer within 0.2 seconds, 2 attempts")
    (answer,) = endpoint(server, seconds=0.2).generate([f"[{deed}][ok] time"])
    assert answer.outcome == "ok"


@pytest.mark.parametrize(
    ("deed", "message"),
    [("401", "refuses the key"), ("403", "refuses"), ("404", "address or model")],
)
def test_mistakes_of_the_user_are_errors(server, deed, message):
    with pytest.raises(UsageError, match=message):
        endpoint(server).generate(["fine", f"[{deed}] mistake"] + [f"m {n}" for n in range(50)])
    # It stops there: not all of the others were asked.
    assert server.asked["m 49"] == 0


def test_nobody_there():
    (answer,) = Endpoint("http://127.0.0.1:9/v1", "made", retries=1, wait=0.001).generate(["hi"])
    assert answer.outcome == "failed" and "no connection" in answer.reason


def test_no_more_requests_at_once_than_asked_for():
    one = Server()
    one.gate = threading.Event()
    prompts = [f"many {n}" for n in range(12)]
    asking = threading.Thread(target=endpoint(one, concurrency=3).generate, args=(prompts,))
    asking.start()
    wait_until(lambda: one.now == 3)
    # A fourth would come now.
    threading.Event().wait(0.1)
    one.gate.set()
    asking.join()
    assert one.most == 3 and one.asked.total() == 12
    one.stop()


def test_the_key_comes_from_the_named_variable_only(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "everybody's")
    monkeypatch.setenv("OPENAI_ORG_ID", "somebody")
    server.keys.clear()
    endpoint(server).generate(["without key"])
    assert server.keys == ["Bearer none"]
    monkeypatch.setenv("MY_KEY", "mine")
    endpoint(server, key="MY_KEY").generate(["with key"])
    assert server.keys[-1] == "Bearer mine"
    with pytest.raises(UsageError, match="NO_SUCH_KEY is not set"):
        endpoint(server, key="NO_SUCH_KEY")


def test_a_system_message_comes_first_and_is_part_of_the_request(server):
    generator = endpoint(server, system="Be short.")
    generator.generate(["who"])
    assert server.bodies[-1]["messages"][0] == {"role": "system", "content": "Be short."}
    assert generator.render("who") != endpoint(server).render("who")


def test_wrong_options_are_refused(server):
    with pytest.raises(UsageError, match="temperature"):
        endpoint(server).generate(["a"], {"temprature": 1})
    with pytest.raises(UsageError, match="max_tokens"):
        endpoint(server).generate(["a"], {"max_tokens": "9"})
    with pytest.raises(UsageError, match="list of texts"):
        endpoint(server).generate("a")
    with pytest.raises(UsageError, match="no address"):
        Endpoint("localhost:8000", "made")
    with pytest.raises(UsageError, match="endpoint"):
        open_generator("endpiont")
    with pytest.raises(UsageError, match="concurrency"):
        open_generator("endpoint", base_url=server.url, model="m", concurency=3)


@pytest.mark.parametrize("kind", ["zero", "one"])
def test_scores_where_completions_can_echo(kind):
    one = Server(echo=kind)
    assert endpoint(one).score(["a bcd ef", "one two"]) == [[-4.0, -3.0], [-4.0]]
    assert endpoint(one).score([]) == []
    one.stop()


@pytest.mark.parametrize("kind", ["none", "silent"])
def test_scores_are_refused_where_they_cannot(kind):
    one = Server(echo=kind)
    with pytest.raises(UsageError, match="gives no log-probabilities"):
        endpoint(one).score(["a b"])
    one.stop()


def test_the_cache_asks_once_and_again_only_for_what_failed(server, tmp_path):
    prompts = [
        "cached 1",
        "[429][429][429][ok] cached",
        "[refusal] cached",
        "cached 1",
        "[odd][ok] c",
    ]
    with RequestCache(tmp_path / "requests.sqlite") as cache:
        first = Cached(endpoint(server), cache)
        answers = first.generate(prompts, {"temperature": 1})
        assert [a.outcome for a in answers] == ["ok", "failed", "refused", "ok", "malformed"]
        # The prompt that is there twice was asked for two samples.
        assert {answers[0].text[-1], answers[3].text[-1]} == {"1", "2"}
        assert (first.asked, first.found, len(cache)) == (5, 0, 3)
        second = Cached(endpoint(server), cache)
        again = second.generate(prompts, {"temperature": 1})
        assert (second.asked, second.found) == (2, 3)
        assert [again[n] for n in (0, 2, 3)] == [answers[n] for n in (0, 2, 3)]
        assert again[1].outcome == again[4].outcome == "ok"
    with RequestCache(tmp_path / "requests.sqlite") as cache:
        for other in (endpoint(server, system="x"), Endpoint(server.url, "another")):
            assert Cached(other, cache).generate(["cached 1"], {"temperature": 1})[0].text[-1] > "2"
        changed = Cached(endpoint(server), cache)
        changed.generate(["cached 1"], {"temperature": 0})
        assert changed.asked == 1


def test_a_kill_loses_no_answer_that_was_there(tmp_path):
    one = Server()
    path = tmp_path / "requests.sqlite"
    prompts = [f"kill {number}" for number in range(8)] + ["[slow] kill"]
    program = (
        "import json, sys\n"
        "from tilth.serving.endpoint import Endpoint\n"
        "from tilth.serving.requests import Cached, RequestCache\n"
        "url, path, prompts = json.loads(sys.argv[1])\n"
        "Cached(Endpoint(url, 'made', concurrency=1), RequestCache(path)).generate(prompts)\n"
    )
    arguments = json.dumps([one.url, str(path), prompts])
    child = subprocess.Popen([sys.executable, "-c", program, arguments])
    wait_until(lambda: one.asked["[slow] kill"] or child.poll() is not None)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with RequestCache(path) as cache:
        kept = len(cache)
        # The last answer before the one that never came may still have been on its way.
        assert 7 <= kept <= 8
        again = Cached(endpoint(one, concurrency=1), cache)
        assert all(a.outcome == "ok" for a in again.generate(prompts[:-1]))
        assert (again.found, again.asked) == (kept, 8 - kept)
    one.stop()


def test_a_file_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "notes").write_text("no cache " * 999)
    with pytest.raises(DamagedError, match="no cache of requests"):
        RequestCache(tmp_path / "notes")


def test_a_text_without_a_score_is_an_error():
    one = Server(echo="zero")
    with pytest.raises(DataError, match="no log-probabilities of '\\[400\\] text': failed"):
        endpoint(one).score(["fine text", "[400] text"])
    one.stop()
