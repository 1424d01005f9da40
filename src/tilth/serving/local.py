"""The driver `local`: a model on this machine, run by tilth's own engine. No network.

    generator = open_generator("local", model="my-model")
    answers = generator.generate(["The function returns"], {"temperature": 0, "max_tokens": 100})

When: a model that you trained, tuned or downloaded, and answers that are the same tomorrow: the
seed counts (0 where none is given), and other requests do not. A folder with a chat template, or
`chat`, is asked as it was tuned (`tokens.chat`); other models continue the prompt.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import LimitError, TilthError, UsageError
from tilth.serving.answering import Answering, Request, checked
from tilth.types import Answer

if TYPE_CHECKING:
    from tilth.serving.engine import Engine
    from tilth.serving.live import Completion
    from tilth.serving.sampler import Sampling

# What a request's setting is called by the sampler.
NAMES = {
    "temperature": "temperature", "top_p": "top_p", "stop": "stop", "seed": "seed",
    "frequency_penalty": "frequency", "presence_penalty": "presence",
}  # fmt: skip
TOKENS = 256


class Local(Answering):
    """`model`: a folder, or the folder of a run. `chat`: ask as a conversation, by default where
    the folder has a template; `system`: its first message. `tokens`: for an answer, where a request
    does not say `max_tokens`. `options`: those of `Engine`.

    A model that the engine does not run itself is told on standard error. Errors as for
    `models.folder.load_model`. A request that cannot fit is a failed answer.
    """

    driver = "local"

    def __init__(
        self,
        model: str | Path,
        *,
        chat: bool | None = None,
        system: str = "",
        tokens: int = TOKENS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        from tilth.serving.engine import Engine
        from tilth.serving.opening import model_folder
        from tilth.tokens.chat import Chat

        if tokens < 1:
            raise UsageError("tokens is at least 1")
        self.folder, self.model, self.tokens = model_folder(model), str(model), tokens
        self.engine: Engine = Engine(self.folder, **(options or {}))
        if self.engine.note:
            sys.stderr.write(f"{model}: {self.engine.note}\n")
        rendering = Chat.load(self.folder)
        self.chat = rendering if chat or (chat is None and rendering.has_template) else None
        if system and self.chat is None:
            raise UsageError("a model that continues texts takes no system message", hint="chat")
        self.system = system
        self._turn = threading.Lock()

    @property
    def context(self) -> int:
        """How many tokens a prompt and its answer may have together."""
        return self.engine.context

    @property
    def special(self) -> Sequence[str]:
        """Letters that a conversation may not hold, since they are tokens of the model's own."""
        return () if self.chat is None else self.chat.special

    def count(self, prompt: str) -> int:
        """How many tokens a prompt takes as it is sent. Raises DataError for what is no text."""
        return len(self._ids(prompt))

    def render(self, prompt: str) -> str:
        return prompt if self.chat is None else json.dumps(self._messages(prompt))

    def _messages(self, prompt: str) -> list[dict[str, str]]:
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, {"role": "user", "content": prompt}]

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        from tilth.serving.live import Completion

        begun: dict[int, tuple[int, Completion]] = {}
        try:
            for place, request in enumerate(requests):
                tokens, sampling = self._settings(request)
                try:
                    number = self.engine.submit(self._ids(request.prompt), tokens, sampling)
                except UsageError:
                    raise
                except TilthError as error:
                    yield place, Answer("failed", reason=str(error))
                else:
                    begun[number] = place, Completion()
            while self.engine.busy:
                for event in self.engine.step():
                    place, completion = begun[event.request]
                    completion.add(event)
                    if event.reason:
                        yield place, _answer(completion)
        finally:
            # Whoever stops listening leaves nothing behind.
            if any([self.engine.cancel(number) for number in begun]):
                self.engine.step()

    def stream(
        self, prompt: str, sampling: Mapping[str, Any] | None = None
    ) -> Iterator[str | Answer]:
        """The letters of one answer as they are settled, none at some steps; last, the answer.

        One at a time: another thread waits. Closing the iterator stops the model.
        """
        from tilth.serving.live import Completion

        (request,) = self.requests([prompt], sampling or {})
        tokens, settings = self._settings(request)
        completion = Completion()
        with self._turn:
            try:
                number = self.engine.submit(self._ids(prompt), tokens, settings)
            except UsageError:
                raise
            except TilthError as error:
                yield Answer("failed", reason=str(error))
                return
            try:
                while not completion.reason:
                    text = ""
                    for event in self.engine.step():
                        if event.request == number:
                            completion.add(event)
                            text += event.text
                    yield text
            finally:
                if self.engine.cancel(number):
                    self.engine.step()
        yield _answer(completion)

    def _ids(self, prompt: str) -> list[int]:
        if self.chat is None:
            return self.engine.encode(prompt)
        return self.chat.render(self._messages(prompt), answer=True).ids.tolist()

    def _settings(self, request: Request) -> tuple[int, Sampling]:
        from tilth.serving.sampler import Sampling

        given = dict(request.sampling)
        tokens = given.pop("max_tokens", self.tokens)
        settings = {NAMES[name]: value for name, value in given.items()}
        if "stop" in settings:
            stop = settings["stop"]
            settings["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
        return tokens, Sampling(**settings, sample=request.sample)

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of each text's tokens but the first, as a document begins with them.

        Raises LimitError where a text does not fit.
        """
        found = self.engine.complete(
            [self.engine.encode(text)[1:] or [self.engine.begin] for text in texts], 0, scores=True
        )
        for text, one in zip(texts, found):
            if one.reason == "failed":
                raise LimitError(f"the text {text[:40]!r} was not scored: {one.detail}")
        return [[float(token.logprob or 0.0) for token in one.prompt] for one in found]


def _answer(completion: Completion) -> Answer:
    """What a finished request is to those who asked: as for the driver `endpoint`."""
    if completion.reason == "failed":
        return Answer("failed", completion.text, completion.detail)
    answer = checked(completion.text)
    if answer.outcome == "ok" and completion.reason == "length":
        return Answer("ok", completion.text, "cut at max_tokens")
    return answer
