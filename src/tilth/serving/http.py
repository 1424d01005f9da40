"""HTTP routes in OpenAI's form, around an engine and an encoder; `cli/serve.py` composes them.

    service = Service(text=TextModel("my-model", FOLDER, engine), embedder=None)
    app = Guard(application(routes(service)), key=KEY)

Works without a model: those routes then answer that there is none, and torch is never loaded. Needs
the extra `web`. Nothing here writes a file or opens a connection of its own.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from tilth.errors import TilthError
from tilth.serving import openai_forms as forms
from tilth.serving.embedder import Embedder
from tilth.serving.guard import App, Receive, Send
from tilth.serving.limits import Limits
from tilth.serving.metrics import Counted, Measures
from tilth.serving.refusal import Refused, refusal
from tilth.serving.streaming import Endpoint, Sender
from tilth.serving.text_model import LARGE, TextModel

T = TypeVar("T")
# Method, path, and the method of `Service` that answers. All but guard.OPEN want the key.
ROUTES = (
    ("GET", "/health", "health"),
    ("GET", "/metrics", "metrics"),
    ("GET", "/v1/models", "models"),
    ("GET", "/v1/models/{model:path}", "model"),
    ("POST", "/v1/completions", "completions"),
    ("POST", "/v1/chat/completions", "chat"),
    ("POST", "/v1/embeddings", "embeddings"),
    ("POST", "/tokenize", "tokenize"),
)


@dataclass
class Service:
    """What is served. Either model may be missing."""

    text: TextModel | None = None
    embedder: Embedder | None = None
    limits: Limits = field(default_factory=Limits)
    began: int = field(default_factory=lambda: int(time.time()))
    measures: Measures = field(default_factory=Measures)

    def __post_init__(self) -> None:
        if self.text is not None:
            self.serve_text(self.text)

    def serve_text(self, text: TextModel) -> None:
        """Serve this language model, and measure what it does."""
        self.text = text
        text.thread.measures = self.measures
        self.measures.engine(text.thread)

    async def health(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        """Says nothing that a stranger may not know: it is served without the key."""
        await sender.json({"status": "ok"})

    async def metrics(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        await sender.text(self.measures.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def models(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        await sender.json({"object": "list", "data": self.listed()})

    async def model(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        for one in self.listed():
            if one["id"] == named["model"]:
                return await sender.json(one)
        raise unknown(named["model"])

    def listed(self) -> list[dict[str, Any]]:
        """The models, as `/v1/models` lists them."""
        about = {"object": "model", "created": self.began, "owned_by": "tilth"}
        found = []
        if self.text is not None:
            stated = {"max_model_len": self.text.longest, "note": self.text.note or None}
            found.append({"id": self.text.name, **about, **stated})
        if self.embedder is not None:
            dimensions = self.embedder.dimensions
            found.append({"id": self.embedder.name, **about, "dimensions": dimensions})
        return found

    async def completions(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        asked = await self._read(forms.completion, body)
        await self._text(asked.model).complete(asked, sender, chat=False)

    async def chat(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        asked = await self._read(forms.chat, body)
        await self._text(asked.model).complete(asked, sender, chat=True)

    async def tokenize(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        """The token ids of a `prompt`, or of `messages` up to where the answer begins."""
        asked = await self._read(forms.tokenize, body)
        text = self._text(asked.model)
        try:
            (ids,) = await text.tokenized(asked, longer=True)
        except TilthError as error:
            raise refusal(error, asked.source) from None
        found = {"tokens": ids, "count": len(ids), "max_model_len": text.longest}
        await sender.made(lambda: found)

    async def embeddings(self, body: bytes, named: dict[str, str], sender: Sender) -> None:
        asked = await self._read(forms.embeddings, body)
        if self.embedder is None:
            raise Refused(404, "no encoder is served", code="model_not_found", param="model")
        names = {self.embedder.name, self.text.name if self.text else ""}
        if asked.model not in ("", *names):
            raise unknown(asked.model)
        if asked.dimensions not in (None, self.embedder.dimensions):
            raise Refused(400, f"dimensions are {self.embedder.dimensions:,}: vectors are not cut",
                          param="dimensions")  # fmt: skip
        try:
            vectors, tokens = await self.embedder.embed(asked.texts, asked.side)
        except TilthError as error:
            raise refusal(error, "input") from None
        data = (
            {"object": "embedding", "index": place,
             "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")
             if asked.base64 else row.tolist()}
            for place, row in enumerate(vectors)
        )  # fmt: skip
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        found = {"object": "list", "data": data, "model": self.embedder.name, "usage": usage}
        await sender.made(lambda: found)

    async def _read(self, form: Callable[[bytes, Limits], T], body: bytes) -> T:
        """The fields of a body; of a large one beside the loop."""
        if len(body) < LARGE:
            return form(body, self.limits)
        return await asyncio.to_thread(form, body, self.limits)

    def _text(self, model: str) -> TextModel:
        if self.text is None:
            raise Refused(404, "no language model is served", code="model_not_found", param="model")
        if model not in ("", self.text.name):
            raise unknown(model)
        return self.text

    def stop(self) -> None:
        """End the threads. What still runs is broken off."""
        for part in (self.text, self.embedder):
            if part is not None:
                part.stop()


def unknown(model: str) -> Refused:
    """The refusal of a model that is not served."""
    return Refused(404, f"the model {model[:100]!r} is not served; /v1/models lists what is",
                   code="model_not_found", param="model")  # fmt: skip


def routes(service: Service) -> list[Route]:
    """The routes of a service, from the literal table; each of their answers is counted."""
    deadline, measures = service.limits.deadline, service.measures
    return [
        Route(path, Counted(path, Endpoint(getattr(service, name), deadline), measures),
              methods=[method])
        for method, path, name in ROUTES
    ]  # fmt: skip


def application(found: Sequence[Route]) -> App:
    """Routes as an application that answers in OpenAI's form where there is none. Nobody is sent
    from one path to another."""
    router = Router(routes=list(found), redirect_slashes=False)

    async def answered(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        scope["app"] = answered  # The router then raises what it would answer in its own form.
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            what = f"there is no {scope['method']} {scope['path'][:100]} here"
            raise Refused(error.status_code, what, code="not_found",
                          headers=error.headers) from None  # fmt: skip

    return answered
