"""Bodies of requests, field by field; no model and no server."""

import json

import pytest

from tilth.serving import openai_forms as forms
from tilth.serving.limits import Limits
from tilth.serving.refusal import Refused

LIMITS = Limits()


def read(form, **body):
    return form(json.dumps(body).encode(), LIMITS)


def refused(form, **body):
    with pytest.raises(Refused) as found:
        read(form, **body)
    assert found.value.status == 400
    return found.value


def talk(**message):
    return read(forms.chat, messages=[message]).messages


def test_messages_as_the_client_sends_them_back():
    answer = {"role": "assistant", "content": "yes", "refusal": None, "annotations": [],
              "audio": None, "function_call": None, "tool_calls": None}  # fmt: skip
    assert talk(**answer) == [{"role": "assistant", "content": "yes"}]
    for empty in ({"content": None, "tool_calls": []}, {"content": []}, {}):
        assert talk(role="assistant", **empty) == [{"role": "assistant", "content": ""}]
    said = {"role": "assistant", "content": None, "refusal": "I will not"}
    assert talk(**said) == [{"role": "assistant", "content": "I will not"}]
    assert talk(role="developer", content="x") == [{"role": "system", "content": "x"}]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert talk(role="user", content=parts, name="me") == [{"role": "user", "content": "ab"}]


@pytest.mark.parametrize(
    "message, param",
    [
        ({"role": "user", "content": None}, "messages[0].content"),
        ({"role": "user", "content": "x", "name": 5}, "messages[0].name"),
        ({"role": "user", "content": "x", "name": {"a": 1}}, "messages[0].name"),
        ({"role": "assistant", "content": None, "refusal": 5}, "messages[0].refusal"),
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}, "messages[0]"),
        ({"role": "assistant", "content": "x", "annotations": [{"type": "url"}]}, "messages[0]"),
        ({"role": 5, "content": "x"}, "messages[0].role"),
    ],
)
def test_messages_that_say_more_are_refused(message, param):
    assert refused(forms.chat, messages=[message]).param == param


def test_what_is_not_covered_is_named_as_such():
    for name, value in (
        ("reasoning_effort", "low"), ("verbosity", "high"), ("tools", [{}]), ("suffix", "x"),
        ("response_format", {"type": "json_object"}), ("prediction", {"content": "x"}),
    ):  # fmt: skip
        error = refused(forms.completion, prompt="one", **{name: value})
        assert error.param == name and error.message == f"{name} is not covered by this server"
    taken = {"prompt_cache_key": "x", "prompt_cache_retention": "24h", "user": "me",
             "reasoning_effort": "none"}  # fmt: skip
    assert read(forms.completion, prompt="one", **taken).prompts == ["one"]


def test_the_newer_name_for_tokens_wins():
    given = {"messages": [{"role": "user", "content": "x"}]}
    assert read(forms.chat, **given, max_completion_tokens=3).tokens == 3
    assert read(forms.chat, **given, max_completion_tokens=3, max_tokens=9).tokens == 3
    assert read(forms.chat, **given, max_tokens=9).tokens == 9
    assert refused(forms.chat, **given, max_completion_tokens=0).param == "max_completion_tokens"


def test_options_of_a_stream_are_those_of_a_stream():
    options = {"include_usage": True}
    assert read(forms.completion, prompt="one", stream=True, stream_options=options).usage
    for given in (
        {"stream_options": options},
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        {"stream": True, "stream_options": {"usage": True}},
    ):
        assert refused(forms.completion, prompt="one", **given).param == "stream_options"


def test_numbers_out_of_range_name_their_field():
    for name, value in (("top_p", 0), ("top_p", 1.1), ("min_p", -1), ("temperature", 3),
                        ("n", 0), ("logprobs", 21), ("seed", 0.5)):  # fmt: skip
        assert refused(forms.completion, prompt="one", **{name: value}).param == name


def test_ids_that_end_an_answer_are_a_list_of_them():
    assert read(forms.completion, prompt="one", stop_token_ids=[3]).sampling.stop_tokens == (3,)
    assert read(forms.completion, prompt="one", stop_token_ids=[]).sampling.stop_tokens == ()
    for given in (3, "3", {"3": 1}, [3.0], [True], ["3"], list(range(17))):
        error = refused(forms.completion, prompt="one", stop_token_ids=given)
        assert error.param == "stop_token_ids"


def test_one_thing_is_cut_into_tokens():
    talk = [{"role": "user", "content": "x"}]
    assert read(forms.tokenize, messages=talk).messages
    assert not read(forms.tokenize, prompt="x", add_special_tokens=False).begun
    assert "not both" in refused(forms.tokenize, prompt="x", messages=talk).message
    assert refused(forms.tokenize).param == "messages"


def test_what_is_wrong_is_shown_in_the_words_of_json():
    for field, value, said in (
        ("max_tokens", "5", "max_tokens is a whole number, not the text '5'"),
        ("max_tokens", "5" * 41, "max_tokens is a whole number, not a text of 41"),
        ("max_tokens", 0, "max_tokens is at least 1, not 0"),
        ("max_tokens", True, "max_tokens is a whole number, not true"),
        ("max_tokens", 2**64, "max_tokens is at least 1, not a larger one"),
        ("n", 0, "n is from 1 to 64, not 0"), ("seed", 2**63, "seed is from -9,"),
        ("temperature", [1], "temperature is a number, not a list of 1"),
        ("stream", {"a": 1}, "stream is true or false, not an object of 1"),
        ("stop", "\ud800", "stop is no valid text"), ("logit_bias", "\ud800", "the text '\\ud800'"),
        # What is not covered is not what somebody is sent to.
        ("tool", [1], "there is no field 'tool' here ("),
    ):  # fmt: skip
        error = refused(forms.completion, prompt="one", **{field: value})
        assert said in error.message and "tools" not in error.message, error.message
    assert (
        "messages[0].content is a text, not null"
        in refused(forms.chat, messages=[{"role": "user", "content": None}]).message
    )


def test_texts_to_embed():
    assert list(read(forms.embeddings, input=["a", " "]).texts) == ["a", " "]
    for given in ("", ["a", ""], [], [1, 2], [[1, 2]], None):
        assert refused(forms.embeddings, input=given).param == "input"
    assert "input 1 is an empty text" in refused(forms.embeddings, input=["a", ""]).message
    for ids in ([1, 2], [[1, 2]], ["a", [1, 2]]):
        assert "check_embedding_ctx_length" in refused(forms.embeddings, input=ids).message
    for given, said in (([], "at least one text"), ({"a": 1}, "at least one text"),
                        (["a", None], "not null"), (["a", 5], "not 5")):  # fmt: skip
        assert said in refused(forms.embeddings, input=given).message
