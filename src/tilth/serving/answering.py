"""What all drivers share: what one request is, and answers one by one as they come.

A request is a prompt with its sampling and the number of its sample: a prompt that occurs three
times in one call is asked for its samples 0, 1 and 2. Its key names driver, model, rendered prompt,
sampling and sample, so caches and recordings know it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tilth.errors import UsageError, nearest
from tilth.store.digest import digest_value
from tilth.types import Answer

# What may be said about sampling, with the type of each.
SAMPLING: dict[str, tuple[type, ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "max_tokens": (int,),
    "stop": (str, list, tuple),
    "seed": (int,),
    "frequency_penalty": (int, float),
    "presence_penalty": (int, float),
}


@dataclass(frozen=True)
class Request:
    """One thing to answer. `rendered` is what the driver makes of the prompt."""

    prompt: str
    rendered: str
    sampling: tuple[tuple[str, Any], ...]
    sample: int

    def key(self, driver: str, model: str) -> str:
        """The digest by which this request is known again."""
        return digest_value([driver, model, *self.question()])

    def question(self) -> list[Any]:
        """What decides the answer, apart from who gives it."""
        return [self.rendered, dict(self.sampling), self.sample]


class Answering(ABC):
    """A driver: subclasses give `driver`, `model`, `render` and `each`; `generate` follows."""

    driver: str
    model: str = ""

    def render(self, prompt: str) -> str:
        """The prompt as it is sent, in full."""
        return prompt

    @abstractmethod
    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        """Answers with their request's place, in any order, each as soon as it is there."""

    def generate(
        self, prompts: Sequence[str], sampling: Mapping[str, Any] | None = None
    ) -> list[Answer]:
        """One answer a prompt, in order. Raises UsageError for an unknown sampling setting."""
        requests = self.requests(prompts, sampling or {})
        answers = dict(self.each(requests))
        return [answers[place] for place in range(len(requests))]

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-probabilities of each text's tokens but the first."""
        raise UsageError(f"the driver {self.driver} gives no log-probabilities")

    def requests(self, prompts: Sequence[str], sampling: Mapping[str, Any]) -> list[Request]:
        """What is asked, with a sample number for each time that a prompt is repeated."""
        if isinstance(prompts, str):
            raise UsageError("prompts are a list of texts, not one text")
        given = tuple(sorted(check_sampling(sampling).items()))
        seen: Counter[str] = Counter()
        found = []
        for prompt in prompts:
            found.append(Request(prompt, self.render(prompt), given, seen[prompt]))
            seen[prompt] += 1
        return found


def check_sampling(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what is None left out. Raises UsageError with the nearest right one."""
    found = {}
    for name, value in sampling.items():
        if name not in SAMPLING:
            raise UsageError(f"no sampling setting {name!r}", hint=nearest(name, SAMPLING))
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, SAMPLING[name]):
            raise UsageError(f"{value!r} is no value", where=name)
        found[name] = list(value) if isinstance(value, tuple) else value
    return found


def checked(text: Any) -> Answer:
    """An answer from what should be a text; malformed where it is none or holds nothing."""
    if not isinstance(text, str):
        return Answer("malformed", reason=f"{type(text).__name__} in place of a text")
    if not text.strip():
        return Answer("malformed", text, reason="empty")
    return Answer("ok", text)
