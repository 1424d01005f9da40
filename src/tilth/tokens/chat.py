"""Conversations to token ids: the one function that training and serving share.

    chat = Chat(tokenizer)                        # the plain form; or Chat.load(FOLDER)
    chat.render(messages)                         # ids, and which of them are answers
    chat.render(messages, answer=True)            # the same ids up to where an answer is to begin
    chat.render(messages, answer=True, settings={"enable_thinking": False})

A message has a `role` (system, user, assistant) and a `content`. Without a template the form is
plain text: end token, then for each message `### role`, a line break and the content; an answer
ends with the end token. A folder's own template (`chat_template.jinja`, or in its
`tokenizer_config.json`) is run in Jinja's immutable sandbox, and what it may write is limited.

What is learned continues what is asked, token by token: where a template does not write the start
of an answer as it writes the answer, training on it would teach another form than serving uses, and
it is refused. What is only asked need not keep to that: templates of Qwen3 and DeepSeek-R1 leave
the reasoning out of earlier answers, and Mistral's moves the system message to the last question.
A content with the letters of a special token is refused, so that nobody writes an end of turn. What
a template is not kept from is taking long: load those of folders that you trust to run at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, LimitError, TilthError, UsageError, nearest
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.special import special_ids, stated

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ROLES = ("system", "user", "assistant", "tool")
LONGEST = 1_000_000  # characters that a template may write
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """`ids` of a conversation, and `learn`: which of them are answers (bool, as many)."""

    ids: np.ndarray
    learn: np.ndarray


class Chat:
    """Renders conversations for one tokenizer. `template`: Jinja source, None for the plain form;
    `names`: what it knows as `bos_token` and the like; `end`: the id that ends a document, by its
    usual name where it is None."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        template: str | None = None,
        names: Mapping[str, str] | None = None,
        end: int | None = None,
    ) -> None:
        from tokenizers import Tokenizer

        # A copy that reads special tokens in the text of a template; the caller's does not.
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        # What a training left in the file: it would cut conversations without a word.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = template is None
        self.end = bpe.end_id(tokenizer) if end is None else end
        self._names = dict(names or {})
        added = json.loads(tokenizer.to_str())["added_tokens"]
        # The letters of these tokens are in no content.
        self.special = [token["content"] for token in added if token["special"]]
        self._template: Any = None
        self._reads: frozenset[str] = frozenset()
        if template is not None:
            self._template, self._reads = _compiled(template, self._names)

    @classmethod
    def load(cls, folder: str | Path) -> Chat:
        """With the tokenizer and, where there is one, the template of a model's folder."""
        folder = Path(folder)
        tokenizer = bpe.load(folder)
        said = stated(folder)
        own = folder / "chat_template.jinja"
        template = own.read_text("utf-8") if own.is_file() else _default(said.get("chat_template"))
        names = {
            key: value["content"] if isinstance(value, dict) else value
            for key, value in said.items()
            if key.endswith("_token") and value
        }
        end = special_ids(tokenizer, folder).end
        return cls(tokenizer, template if isinstance(template, str) else None, names, end)

    @property
    def has_template(self) -> bool:
        """Whether the folder has a template of its own; else the plain form is used."""
        return self._template is not None

    def render(
        self, messages: Messages, *, answer: bool = False,
        settings: Mapping[str, str | float | bool] | None = None,
    ) -> Rendered:  # fmt: skip
        """The ids of a conversation; with `answer` up to where the next answer is to begin, of
        which nothing is to be learned where the folder has a template.

        `settings`: what the template looks up beside the messages (Qwen3: `enable_thinking`).
        Raises UsageError for one that it never looks up; DataError for messages without a known
        role or a content, for contents with special tokens, and for templates that fail or, without
        `answer`, break the rule of the module; LimitError for a template that writes without end.
        """
        for number, message in enumerate(messages):
            self._check(number, message)
        settings = self._known(settings or {}, messages)
        if self._template is None:
            return self._plain(messages, answer)
        text = self._text(messages, answer, settings)
        found = self._encoding(text)
        ids, offsets = np.array(found.ids, np.int64), np.array(found.offsets).reshape(-1, 2)
        learn = np.zeros(len(ids), bool)
        for number, message in enumerate(messages):
            if answer or message["role"] != "assistant":
                continue
            before = self._text(messages[:number], True, settings)
            after = self._text(messages[: number + 1], False, settings).rstrip()
            known = self._encoding(before).ids
            if not (after.startswith(before) and text.startswith(after)) or (
                ids[: len(known)].tolist() != known
            ):
                raise DataError(
                    "the chat template does not write the start of an answer as it writes the "
                    "answer: what is learned is not what will be asked",
                    where=f"message {number + 1}",
                )
            learn |= (offsets[:, 0] >= len(before)) & (offsets[:, 1] <= len(after))
        return Rendered(ids, learn)

    def documents(self, ids: Sequence[str], conversations: Sequence[Messages]) -> TokenDocuments:
        """Conversations as `objectives.instruct` takes them, `extra["learn"]` among them.

        Raises what `render` raises, naming the conversation.
        """
        made = []
        for id, messages in zip(ids, conversations):
            try:
                made.append(self.render(messages))
            except TilthError as error:
                where = ", ".join(part for part in (id, error.where) if part)
                raise type(error)(error.what, where=where, hint=error.hint) from None
        sizes = [sum(len(m["content"].encode("utf-8")) for m in one) for one in conversations]
        return TokenDocuments(
            list(ids), [one.ids for one in made], self._tokenizer.get_vocab_size(), self.end, sizes,
            {"learn": [one.learn for one in made]},
        )  # fmt: skip

    def _check(self, number: int, message: Mapping[str, Any]) -> None:
        where = f"message {number + 1}"
        role, content = message.get("role"), message.get("content")
        if role not in ROLES or not isinstance(content, str):
            raise DataError(f"a message has a content and a role of {', '.join(ROLES)}",
                            where=where)  # fmt: skip
        if self._template is not None:
            self._without_special(content, "a content", where)

    def _without_special(self, text: str, what: str, where: str) -> None:
        for token in self.special:
            if token in text:
                raise DataError(f"{what} may not hold the special token {token}", where=where)

    def _known(self, settings: Mapping[str, Any], messages: Messages) -> Mapping[str, Any]:
        if settings and self._template is None:
            raise UsageError("the folder has no chat template that could read settings")
        for name, value in settings.items():
            if name not in self._reads:
                raise UsageError(f"the chat template reads no {name[:80]!r}",
                                 hint=nearest(name[:80], self._reads))  # fmt: skip
            if not isinstance(value, (str, int, float)):
                raise UsageError(f"{name} is a text, a number, true or false")
            # A template may write as many letters as a number says.
            if not isinstance(value, str) and not abs(value) <= LONGEST:
                raise UsageError(f"{name} is at most {LONGEST:,}")
        if texts := "".join(value for value in settings.values() if isinstance(value, str)):
            # Also of two pieces, where the template writes nothing between them.
            contents = "".join(message["content"] for message in messages)
            self._without_special(texts + contents + texts, "a setting", "beside the contents")
        return settings

    def _plain(self, messages: Messages, answer: bool) -> Rendered:
        pieces: list[tuple[list[int], bool]] = [([self.end], False)]
        for message in messages:
            pieces.append((self._encode(f"### {message['role']}\n"), False))
            if message["role"] == "assistant":
                pieces.append(([*self._encode(message["content"]), self.end], True))
            else:
                pieces.append((self._encode(message["content"]), False))
                pieces.append((self._encode("\n"), False))
        if answer:
            pieces.append((self._encode("### assistant\n"), False))
        ids = [id for piece, _ in pieces for id in piece]
        learn = [learned for piece, learned in pieces for _ in piece]
        return Rendered(np.array(ids, np.int64), np.array(learn, bool))

    def _encoding(self, text: str) -> Any:
        # The call for many texts: that for one keeps Python's lock, and a server has other threads.
        (found,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return found

    def _encode(self, text: str) -> list[int]:
        return self._encoding(text).ids

    def _text(self, messages: Messages, answer: bool, settings: Mapping[str, Any]) -> str:
        import jinja2

        assert self._template is not None
        size, parts = 0, []
        try:
            for part in self._template.generate(
                messages=[dict(one) for one in messages],
                add_generation_prompt=answer,
                **self._names,
                **settings,
            ):
                size += len(part)
                if size > LONGEST:
                    raise LimitError(f"the chat template writes more than {LONGEST:,} characters")
                parts.append(part)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise DataError(f"the chat template fails: {error}") from None
        return "".join(parts)


def _default(given: Any) -> Any:
    """The template that is meant where a folder names several."""
    if not isinstance(given, list):
        return given
    for one in given:
        if isinstance(one, dict) and one.get("name") == "default":
            return one.get("template")
    raise DataError("names several chat templates, and none of them is the default")


def _compiled(template: str, names: Iterable[str]) -> tuple[Any, frozenset[str]]:
    """The template in Jinja's immutable sandbox, as model folders rely on, and what it reads beside
    the messages and these names."""
    import jinja2
    from jinja2.meta import find_undeclared_variables
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, **options
    )
    try:
        reads = find_undeclared_variables(environment.parse(template))
        given = {"messages", "add_generation_prompt", *names}
        return environment.from_string(template), frozenset(reads - given)
    except jinja2.TemplateError as error:
        raise DataError(f"the chat template is no Jinja: {error}") from None
