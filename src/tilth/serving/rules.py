"""The driver `rules`: a plain function from prompt to text. No model, no network.

When: for tests, for baselines, and where rules are good enough. The function gives a text, an
`Answer`, or None where its rules do not cover the prompt (outcome refused). What it raises costs
that prompt only (outcome failed).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tilth.errors import UsageError
from tilth.serving.answering import Answering, Request, checked
from tilth.types import Answer


class Rules(Answering):
    """`function`: a callable, or its name as "module:function"."""

    driver = "rules"

    def __init__(self, function: Callable[[str], Any] | str) -> None:
        if isinstance(function, str):
            function = _load(function)
        self.function = function
        module = getattr(function, "__module__", None) or "builtins"
        self.model = f"{module}:{getattr(function, '__qualname__', type(function).__name__)}"

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for place, request in enumerate(requests):
            yield place, self._answer(request.prompt)

    def _answer(self, prompt: str) -> Answer:
        try:
            found = self.function(prompt)
        except Exception as error:
            return Answer("failed", reason=f"{type(error).__name__}: {error}"[:500])
        if isinstance(found, Answer):
            return found
        if found is None:
            return Answer("refused", reason="no rule covers it")
        return checked(found)


def _load(name: str) -> Callable[[str], Any]:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"no function {name!r}: {error}", hint="module:function") from None
    if not callable(function):
        raise UsageError(f"{name!r} is not a function")
    return function
