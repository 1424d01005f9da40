"""Bodies of requests in OpenAI's form: what is asked for, within limits.

Every number has a range and every list a longest length, checked before anything is made of it. How
a field is read, and what becomes of one that nobody knows, is `openai_fields`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tilth.serving.limits import Limits
from tilth.serving.openai_fields import WORD, Fields, valid_text, wrong
from tilth.serving.refusal import Refused
from tilth.serving.sampler import Sampling


@dataclass(frozen=True)
class Asked:
    """What a completion is asked for. `prompts`: texts or token ids; or `messages`, for a chat, and
    `settings` of its template. `tokens`: None where it is not said. `usage`: a stream ends with the
    counts. `begun`: texts follow the token that begins a document."""

    model: str
    prompts: list[str | list[int]] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)
    settings: dict[str, str | float | bool] = field(default_factory=dict)
    tokens: int | None = None
    count: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    seeded: bool = False
    stream: bool = False
    usage: bool = False
    echo: bool = False
    begun: bool = True

    @property
    def source(self) -> str:
        """The field that what is asked about is in."""
        return "messages" if self.messages else "prompt"


def completion(body: bytes, limits: Limits) -> Asked:
    """The body of `/v1/completions`."""
    fields = Fields(body)
    given = fields.take("prompt")
    prompts = [given] if isinstance(given, str) or _ids(given) else given
    if not isinstance(prompts, list) or not prompts:
        raise Refused(400, "prompt is a text, token ids, or a list of these", param="prompt")
    if len(prompts) > limits.choices:
        raise wrong("prompt", f"at most {limits.choices:,} prompts", prompts)
    for prompt in prompts:
        if not _ids(prompt):
            valid_text(prompt, "prompt")
    logprobs = fields.whole("logprobs", None, 0, limits.logprobs)
    echo = fields.flag("echo")
    # Without an answer there is something to say only about the prompt.
    tokens = fields.whole("max_tokens", 16, 0 if echo else 1, WORD)
    asked = _common(fields, limits, len(prompts), logprobs, prompts=prompts, tokens=tokens,
                    echo=echo, begun=fields.flag("add_special_tokens", True))  # fmt: skip
    if asked.stream and echo and logprobs is not None:
        raise Refused(400, "a stream does not give the log-probabilities of an echo", param="echo")
    fields.end()
    return asked


def chat(body: bytes, limits: Limits) -> Asked:
    """The body of `/v1/chat/completions`."""
    fields = Fields(body)
    talk = messages(fields.take("messages"), limits)
    wanted = fields.flag("logprobs")
    top = fields.whole("top_logprobs", None, 0, limits.logprobs)
    if top is not None and not wanted:
        raise Refused(400, "top_logprobs are given with logprobs", param="top_logprobs")
    older = fields.whole("max_tokens", None, 1, WORD)
    tokens = fields.whole("max_completion_tokens", older, 1, WORD)
    asked = _common(fields, limits, 1, (top or 0) if wanted else None, messages=talk,
                    settings=settings(fields), tokens=tokens)  # fmt: skip
    fields.end()
    return asked


def tokenize(body: bytes, limits: Limits) -> Asked:
    """The body of `/tokenize`: a `prompt`, or `messages`."""
    fields = Fields(body)
    model, prompt, talk = fields.text("model"), fields.take("prompt"), fields.take("messages")
    if prompt is None:
        asked = Asked(model, messages=messages(talk, limits), settings=settings(fields))
    elif talk is None:
        begun = fields.flag("add_special_tokens", True)
        asked = Asked(model, [valid_text(prompt, "prompt")], begun=begun)
    else:
        raise Refused(400, "a prompt or messages are cut into tokens, not both", param="messages")
    fields.end()
    return asked


def settings(fields: Fields) -> dict[str, str | float | bool]:
    """Those of a chat template, as vLLM calls them."""
    given = fields.take("chat_template_kwargs", {})
    if not isinstance(given, dict):
        raise wrong("chat_template_kwargs", "an object", given)
    for name, value in given.items():
        valid_text(name, "chat_template_kwargs")
        if isinstance(value, str):
            valid_text(value, "chat_template_kwargs")
        elif not isinstance(value, (int, float)):
            raise Refused(400, "chat_template_kwargs has texts, numbers, true or false",
                          param="chat_template_kwargs")  # fmt: skip
    return given


def messages(given: Any, limits: Limits) -> list[dict[str, str]]:
    """The messages of a chat; parts of a content are joined, and must be texts."""
    if not isinstance(given, list) or not given:
        raise Refused(400, "messages is a list of at least one message", param="messages")
    if len(given) > limits.messages:
        raise wrong("messages", f"at most {limits.messages:,}", given)
    return [_message(one, f"messages[{place}]") for place, one in enumerate(given)]


def _message(given: Any, where: str) -> dict[str, str]:
    if not isinstance(given, dict):
        raise wrong(where, "an object", given)
    # An answer of OpenAI's client, sent back, has all fields that it knows, most of them empty.
    said = {name: value for name, value in given.items() if value is not None and value != []}
    for name in said:
        if name not in ("role", "content", "name", "refusal"):
            raise Refused(400, f"{where} has a field {name[:80]!r}, which is not covered",
                          param=where)  # fmt: skip
    valid_text(said.get("name", ""), f"{where}.name")
    refused = valid_text(said.get("refusal", ""), f"{where}.refusal")
    role, content = said.get("role"), said.get("content")
    if content is None and role == "assistant":
        # It refused, or called tools, which nothing here does: it said nothing else.
        content = refused
    if isinstance(content, list):
        if not all(isinstance(one, dict) and one.get("type") == "text" for one in content):
            raise Refused(400, f"{where}: only contents of text are covered", param=where)
        content = "".join(valid_text(one.get("text"), where) for one in content)
    return {
        "role": "system" if role == "developer" else valid_text(role, f"{where}.role"),
        "content": valid_text(content, f"{where}.content"),
    }


def _ids(given: Any) -> bool:
    return bool(given) and isinstance(given, list) and all(type(one) is int for one in given)


def _common(fields: Fields, limits: Limits, given: int, logprobs: int | None, **more: Any) -> Asked:
    """What completions and chats share."""
    count = fields.whole("n", 1, 1, limits.choices) or 1
    if count * given > limits.choices:
        raise wrong("n", f"at most {limits.choices:,} answers over all prompts", count * given)
    best = fields.whole("best_of", count, 1, limits.choices)
    if best != count:
        raise Refused(400, "best_of is covered only where it is n", param="best_of")
    stop = fields.take("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > limits.stops:
        raise wrong("stop", f"a text, or at most {limits.stops}", stop)
    for text in stops:
        if not 0 < len(valid_text(text, "stop")) <= limits.stop_letters:
            raise wrong("stop", f"texts of 1 to {limits.stop_letters:,} letters", text)
    seed = fields.whole("seed", None, -WORD, WORD - 1)
    stream = fields.flag("stream")
    options = fields.take("stream_options", {})
    if (
        not isinstance(options, dict)
        or set(options) - {"include_usage", "include_obfuscation"}
        or not all(isinstance(value, bool) for value in options.values())
    ):
        raise Refused(400, "stream_options has include_usage, true or false",
                      param="stream_options")  # fmt: skip
    if options and not stream:
        raise Refused(400, "stream_options are those of a stream", param="stream_options")
    top_p = fields.number("top_p", 1.0, 0, 1)
    if not top_p:
        raise wrong("top_p", "above 0", top_p)
    sampling = Sampling(
        temperature=fields.number("temperature", 1.0, 0, 2),
        top_p=top_p,
        top_k=max(0, fields.whole("top_k", 0, -1, WORD) or 0),
        min_p=fields.number("min_p", 0.0, 0, 1),
        repetition=fields.number("repetition_penalty", 1.0, 0.01, 10),
        frequency=fields.number("frequency_penalty", 0.0, -2, 2),
        presence=fields.number("presence_penalty", 0.0, -2, 2),
        bias=_bias(fields.take("logit_bias", {}), limits),
        ignore_end=fields.flag("ignore_eos"),
        seed=seed or 0, stop=tuple(stops), logprobs=logprobs,
        stop_tokens=_ends(fields.take("stop_token_ids", []), limits),
    )  # fmt: skip
    return Asked(fields.text("model"), count=count, sampling=sampling, seeded=seed is not None,
                 stream=stream, usage=options.get("include_usage", False), **more)  # fmt: skip


def _ends(given: Any, limits: Limits) -> tuple[int, ...]:
    if given != [] and not (_ids(given) and len(given) <= limits.stops):
        raise wrong("stop_token_ids", f"at most {limits.stops} token ids", given)
    return tuple(given)


def _bias(given: Any, limits: Limits) -> dict[int, float]:
    if not isinstance(given, dict) or len(given) > limits.biases:
        raise wrong("logit_bias", f"an object of at most {limits.biases:,} tokens", given)
    found = {}
    for token, value in given.items():
        number = type(value) in (int, float) and -100 <= value <= 100
        if not number or not token.isascii() or not token.isdigit() or len(token) > 18:
            raise Refused(400, "logit_bias has token ids, with numbers from -100 to 100",
                          param="logit_bias")  # fmt: skip
        found[int(token)] = float(value)
    return found


@dataclass(frozen=True)
class ToEmbed:
    """What `/v1/embeddings` is asked for. `side`: query or document."""

    model: str
    texts: Sequence[str]
    base64: bool
    side: str
    dimensions: int | None


def embeddings(body: bytes, limits: Limits) -> ToEmbed:
    """The body of `/v1/embeddings`."""
    fields = Fields(body)
    given = fields.take("input")
    texts = [given] if isinstance(given, str) else given
    if _ids(texts) or (isinstance(texts, list) and any(_ids(one) for one in texts)):
        raise Refused(400, "input is a text or a list of texts; token ids of another tokenizer "
                      "would be other words here (LangChain: check_embedding_ctx_length=False)",
                      param="input")  # fmt: skip
    if not isinstance(texts, list) or not texts:
        raise Refused(400, "input is a text, or a list of at least one text", param="input")
    if len(texts) > limits.texts:
        raise wrong("input", f"at most {limits.texts:,} texts", texts)
    for place, text in enumerate(texts):
        if not valid_text(text, "input"):
            raise Refused(400, f"input {place} is an empty text", param="input")
    form = fields.text("encoding_format", "float")
    if form not in ("float", "base64"):
        raise wrong("encoding_format", "float or base64", form)
    side = fields.text("input_type", "document")
    if side not in ("query", "document"):
        raise wrong("input_type", "query or document", side)
    asked = ToEmbed(fields.text("model"), texts, form == "base64", side,
                    fields.whole("dimensions", None, 1, WORD))  # fmt: skip
    fields.end()
    return asked
