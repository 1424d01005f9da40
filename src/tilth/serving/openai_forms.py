"""Bodies of requests in OpenAI's form, read field by field; its form of errors.

A field that is not known is refused with the nearest right name: nothing is ignored without a word.
Every number has a range and every list a longest length, checked before anything is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilth.errors import DataError, LimitError, TilthError, UsageError, nearest
from tilth.serving.sampler import Sampling

# Taken and without effect: they are about the sender's account, not about the answer.
WITHOUT_EFFECT = ("user", "metadata", "store", "service_tier", "safety_identifier",
                  "prompt_cache_key", "prompt_cache_retention")  # fmt: skip
# What OpenAI has and this server does not: their values that ask for nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "suffix": ("",), "tools": ([],), "functions": ([],), "tool_choice": ("none",),
    "function_call": ("none",), "response_format": ({"type": "text"},),
    "modalities": (["text"],), "parallel_tool_calls": (True, False),
    "reasoning_effort": ("none",), "verbosity": ("medium",), "audio": (), "prediction": (),
    "web_search_options": (),
}  # fmt: skip
WORD = 2**63


@dataclass(frozen=True)
class Limits:
    """What one request may ask for. `choices`: answers, over all its prompts; `stops` texts of
    `stop_letters`; `logprobs` of a token, `scored` over all tokens; `texts` to embed; `body` bytes;
    `deadline`, `body_seconds` in seconds; `queue`: answers that wait or run at a time, over all
    requests; `requests` at a time."""

    choices: int = 64
    stops: int = 16
    stop_letters: int = 200
    logprobs: int = 20
    scored: int = 2**18
    biases: int = 1024
    messages: int = 1024
    texts: int = 2048
    body: int = 4 * 2**20
    deadline: float = 600.0
    body_seconds: float = 30.0
    queue: int = 128
    requests: int = 512


class Refused(Exception):
    """An answer that is an error: its status, and what OpenAI's form says of it."""

    def __init__(
        self, status: int, message: str, *, code: str | None = None, param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    def form(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def refusal(error: TilthError, param: str | None = None) -> Refused:
    """A mistake of the sender as an answer; `param`: the field that it is in."""
    if isinstance(error, LimitError):
        return Refused(400, str(error), code="context_length_exceeded", param=param)
    if isinstance(error, (UsageError, DataError)):
        return Refused(400, str(error), param=param)
    return Refused(500, str(error))


@dataclass(frozen=True)
class Asked:
    """What a completion is asked for. `prompts`: texts or token ids; or `messages`, for a chat.
    `tokens`: None where it is not said. `usage`: a stream ends with the counts. `begun`: texts
    follow the token that begins a document."""

    model: str
    prompts: list[str | list[int]] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)
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


class Fields:
    """One JSON object, read field by field; `end` refuses what nobody read."""

    def __init__(self, body: bytes) -> None:
        try:
            found = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not valid JSON: {error}"[:300]) from None
        if not isinstance(found, dict):
            raise Refused(400, "the body is not a JSON object")
        # null says that nothing is said.
        self._left = {name: value for name, value in found.items() if value is not None}
        self._known: set[str] = set(WITHOUT_EFFECT)

    def take(self, name: str, default: Any = None) -> Any:
        """The value, whatever it is."""
        self._known.add(name)
        return self._left.pop(name, default)

    def number(self, name: str, default: float, low: float, high: float) -> float:
        found = self.take(name, default)
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            raise wrong(name, "a number", found)
        if not low <= found <= high:
            raise wrong(name, f"from {low:g} to {high:g}", found)
        return float(found)

    def whole(self, name: str, default: int | None, low: int, high: int) -> int | None:
        found = self.take(name, default)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int):
            raise wrong(name, "a whole number", found)
        if not low <= found <= high:
            raise wrong(name, f"from {low:,} to {high:,}", found)
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.take(name, default)
        if not isinstance(found, bool):
            raise wrong(name, "true or false", found)
        return found

    def text(self, name: str, default: str = "") -> str:
        return valid_text(self.take(name, default), name)

    def end(self) -> None:
        """Raises Refused where something is left that has a meaning nobody took."""
        for name, values in NEUTRAL.items():
            found = self.take(name)
            if found is not None and found not in values:
                raise Refused(400, f"{name} is not covered by this server", param=name)
        for name in self._left:
            if name not in WITHOUT_EFFECT:
                raise Refused(400, f"there is no field {name[:80]!r} here ("
                              f"{nearest(name[:80], self._known)})", param=name[:80])  # fmt: skip


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def wrong(name: str, what: str, found: Any) -> Refused:
    """The refusal of a value, which is shown in part only."""
    shown = f"a {type(found).__name__} of {len(found):,}" if hasattr(found, "__len__") else found
    if isinstance(found, int) and abs(found) > WORD:
        shown = "a larger one"
    return Refused(400, f"{name} is {what}, not {shown}", param=name)


def valid_text(found: Any, name: str) -> str:
    """A text that can be written as UTF-8."""
    if not isinstance(found, str):
        raise wrong(name, "a text", found)
    try:
        found.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Refused(400, f"{name} is no valid text: {error.reason}", param=name) from None
    return found


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
                    tokens=tokens)  # fmt: skip
    fields.end()
    return asked


def tokenize(body: bytes, limits: Limits) -> Asked:
    """The body of `/tokenize`: a `prompt`, or `messages`."""
    fields = Fields(body)
    model, prompt, talk = fields.text("model"), fields.take("prompt"), fields.take("messages")
    if prompt is None:
        asked = Asked(model, messages=messages(talk, limits))
    elif talk is None:
        begun = fields.flag("add_special_tokens", True)
        asked = Asked(model, [valid_text(prompt, "prompt")], begun=begun)
    else:
        raise Refused(400, "a prompt or messages are cut into tokens, not both", param="messages")
    fields.end()
    return asked


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
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise Refused(400, "input is a text or a list of texts; token ids of another tokenizer "
                      "would be other words here (LangChain: check_embedding_ctx_length=False)",
                      param="input")  # fmt: skip
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
