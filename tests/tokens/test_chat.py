import json

import numpy as np
import pytest
import transformers

from tilth.errors import DamagedError, DataError, LimitError, UsageError
from tilth.tokens import bpe
from tilth.tokens.chat import Chat

TEXTS = ["### user\nHow is corn ground?\n### assistant\nBetween two stones."] * 4
TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "How is corn ground?"},
    {"role": "assistant", "content": "Between two stones."},
    {"role": "user", "content": "And baked?"},
    {"role": "assistant", "content": "In an oven. <|end|>"},
]
TEMPLATE = """{{ bos_token }}{% for m in messages %}
<|turn|>{{ m['role'] }}
{{ m['content'] }}<|stop|>
{% endfor %}
{% if add_generation_prompt %}<|turn|>assistant
{% endif %}"""


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(TEXTS, 320, special=("<|turn|>", "<|stop|>"))


@pytest.fixture
def folder(tokenizer, tmp_path):
    bpe.save(tokenizer, tmp_path)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return tmp_path


def prefixes(chat, talk):
    whole = chat.render(talk)
    for number, message in enumerate(talk):
        if message["role"] == "assistant":
            start = chat.render(talk[:number], answer=True)
            assert whole.ids[: len(start.ids)].tolist() == start.ids.tolist()
            assert not whole.learn[len(start.ids) - 1] and whole.learn[len(start.ids)]
    return whole


def test_what_is_asked_is_what_is_learned_in_the_plain_form(tokenizer):
    chat = Chat(tokenizer)
    whole = prefixes(chat, TALK)
    answers = [
        bpe.decode(tokenizer, part)
        for part in np.split(whole.ids, np.flatnonzero(np.diff(whole.learn.astype(int))) + 1)[1::2]
    ]
    # A user's letters of a special token stay letters.
    assert answers == ["Between two stones.", "In an oven. <|end|>"]
    assert whole.ids[whole.learn].tolist().count(chat.end) == 2


def test_a_template_gives_the_ids_that_transformers_gives(folder):
    chat, talk = Chat.load(folder), TALK[:4]
    whole = prefixes(chat, talk)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder), split_special_tokens=False)
    for answer, ids in ((False, whole.ids), (True, chat.render(talk, answer=True).ids)):
        expected = theirs.apply_chat_template(
            talk, add_generation_prompt=answer, tokenize=True, return_dict=False
        )
        assert ids.tolist() == expected
    turn, stop = (chat._tokenizer.token_to_id(name) for name in ("<|turn|>", "<|stop|>"))
    learned = whole.ids[whole.learn].tolist()
    assert learned[-1] == stop and turn not in learned


# As Qwen3 leaves the reasoning out of earlier answers, and Mistral's moves the system message.
REASONING = """{% for m in messages %}<|turn|>{{ m.role }}
{% if m.role == 'assistant' and loop.last %}<think>

</think>

{% endif %}{{ m.content }}<|stop|>
{% endfor %}{% if add_generation_prompt %}<|turn|>assistant
{% endif %}"""
MOVED = """{{ bos_token }}{% for m in messages[1:] %}{% if m.role == 'user' %}<|turn|>
{%- if loop.last %}{{ messages[0].content }} {% endif %}{{ m.content }}<|stop|>
{%- else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""


@pytest.mark.parametrize("template", [REASONING, MOVED])
def test_what_is_only_asked_is_written_as_the_template_has_it(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    chat = Chat.load(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder), split_special_tokens=False)
    for talk in (TALK[:2], TALK[:4]):
        expected = theirs.apply_chat_template(
            talk, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        asked = chat.render(talk, answer=True)
        assert asked.ids.tolist() == expected and not asked.learn.any()
    # It is not learned from.
    with pytest.raises(DataError, match="start of an answer"):
        chat.render(TALK[:4])


THINKING = TEMPLATE.replace("{{ bos_token }}", "{{ bos_token }}{{ today or '' }}").replace(
    "<|turn|>assistant\n",
    "<|turn|>assistant\n{% if enable_thinking is false %}no thought\n{% endif %}",
)


def test_settings_of_a_template_are_those_that_it_reads(folder, tokenizer):
    (folder / "chat_template.jinja").write_text(THINKING)
    chat, talk = Chat.load(folder), TALK[:2]
    theirs = transformers.AutoTokenizer.from_pretrained(str(folder), split_special_tokens=False)
    for settings in ({}, {"enable_thinking": False}, {"enable_thinking": True, "today": "Monday"}):
        expected = theirs.apply_chat_template(
            talk, add_generation_prompt=True, tokenize=True, return_dict=False, **settings
        )
        assert chat.render(talk, answer=True, settings=settings).ids.tolist() == expected
    for settings, says in (
        ({"enable_thought": False}, "reads no 'enable_thought' .did you mean 'enable_thinking'"),
        ({"messages": "x"}, "reads no 'messages'"),
        ({"bos_token": "x"}, "reads no 'bos_token'"),
        ({"today": ["x"]}, "today is a text"),
        ({"today": 10**9}, "today is at most"),
        ({"today": float("nan")}, "today is at most"),
    ):
        with pytest.raises(UsageError, match=says):
            chat.render(talk, answer=True, settings=settings)
    with pytest.raises(DataError, match="may not hold the special token"):
        chat.render(talk, answer=True, settings={"today": "now<|stop|>"})
    with pytest.raises(DataError, match="may not hold the special token"):
        pieces = [{"role": "user", "content": "op|> and so on"}]
        chat.render(pieces, answer=True, settings={"today": "<|st"})
    with pytest.raises(UsageError, match="no chat template"):
        Chat(tokenizer).render(talk, answer=True, settings={"enable_thinking": False})


def test_the_default_of_several_templates(folder):
    whole = Chat.load(folder).render(TALK[:4]).ids.tolist()
    (folder / "chat_template.jinja").unlink()
    path = folder / "tokenizer_config.json"
    stated = json.loads(path.read_text("utf-8"))
    named = [{"name": "tools", "template": "x"}, {"name": "default", "template": TEMPLATE}]
    path.write_text(json.dumps({**stated, "chat_template": named}))
    assert Chat.load(folder).render(TALK[:4]).ids.tolist() == whole
    path.write_text(json.dumps({**stated, "chat_template": named[:1]}))
    with pytest.raises(DataError, match="none of them is the default"):
        Chat.load(folder)


def test_a_document_ends_as_its_folder_says(tmp_path):
    tokenizer = bpe.train(TEXTS, 320)
    text = tokenizer.to_str().replace("<|end|>", "<\uff5cfin\uff5c>")
    (tmp_path / "tokenizer.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match="no token that ends"):
        Chat.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<\uff5cfin\uff5c>"}))
    end = Chat.load(tmp_path).end
    assert end == type(tokenizer).from_str(text).token_to_id("<\uff5cfin\uff5c>")
    assert Chat.load(tmp_path).render(TALK[:2], answer=True).ids[0] == end


def test_documents_for_instruction_tuning(folder):
    made = Chat.load(folder).documents(["a", "b"], [TALK[:3], TALK[1:3]])
    assert [len(row) for row in made.tokens] == [len(learn) for learn in made.extra["learn"]]
    with pytest.raises(DataError, match=r"^b, message 5: .*special token"):
        Chat.load(folder).documents(["a", "b"], [TALK[:3], TALK])


def test_a_folder_that_cuts_and_pads_is_not_obeyed(tokenizer, folder):
    whole = Chat.load(folder).render(TALK[:3]).ids.tolist()
    cutting = type(tokenizer).from_str(tokenizer.to_str())
    cutting.enable_truncation(4)
    cutting.enable_padding(length=99)
    cutting.save(str(folder / "tokenizer.json"))
    assert Chat.load(folder).render(TALK[:3]).ids.tolist() == whole
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(DamagedError, match="not a tokenizer"):
        Chat.load(folder)


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("{% for m in messages %}{{ m.content }}", DataError, "no Jinja"),
        ("{{ raise_exception('no') }}", DataError, "no"),
        ("{{ messages.append(1) }}", DataError, "fails"),
        ("{{ ''.__class__.__mro__ }}", DataError, "fails"),
        ("{% for i in range(99999) %}{{ 'x' * 99 }}{% endfor %}", LimitError, "more than"),
        ("{{ messages | length }}{{ messages[-1].content }}", DataError, "start of an answer"),
    ],
)
def test_templates_that_misbehave(tokenizer, template, error, message):
    with pytest.raises(error, match=message):
        Chat(tokenizer, template).render(TALK[:3])


def test_contents_with_special_tokens_and_messages_that_are_none(folder, tokenizer):
    with pytest.raises(DataError, match="special token"):
        Chat.load(folder).render(TALK)
    for message in ({"role": "someone", "content": "x"}, {"role": "user"}):
        with pytest.raises(DataError, match="message 1"):
            Chat(tokenizer).render([message])
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(DataError, match="JSON"):
        Chat.load(folder)
    assert json.loads((folder / "tokenizer.json").read_text("utf-8"))
