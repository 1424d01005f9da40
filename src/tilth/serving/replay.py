"""The driver `replay`: answers that were recorded before, from a JSON lines file. No network.

`Record(generator, path)` writes each answer as it comes; `Replay(path)` serves them. What was not
recorded is an error, so a replayed result rests on nothing else. One line a request:

    {"driver": ..., "model": ..., "prompt": ..., "rendered": ..., "sampling": {}, "sample": 0,
     "outcome": "ok", "text": ..., "reason": ""}

and for log-probabilities {"driver": ..., "model": ..., "scored": TEXT, "values": [...]}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tilth.errors import DamagedError, DataError, UsageError
from tilth.serving.answering import Answering, Request
from tilth.store.digest import canonical_json
from tilth.types import Answer

OUTCOMES = ("ok", "malformed", "refused", "failed", "timed out")
TEXTS = ("prompt", "rendered", "text", "reason")


class Replay(Answering):
    """Serves a recording. `model`: whose answers, where the file holds several models'.

    Raises DataError for a request that was not recorded, DamagedError for a line that is no record.
    A last line that was cut off by a kill is not served, and counted in `torn`.
    """

    def __init__(self, path: str | Path, model: str = "") -> None:
        self.path = Path(path)
        self._answers: dict[str, Answer] = {}
        self._scores: dict[str, list[float]] = {}
        self._rendered: dict[str, str] = {}
        self.torn = 0
        names = set()
        for record in self._records():
            if model and record["model"] != model:
                continue
            names.add((record["driver"], record["model"]))
            if "scored" in record:
                self._scores[record["scored"]] = [float(value) for value in record["values"]]
                continue
            question = [record["rendered"], record["sampling"], record["sample"]]
            answer = Answer(record["outcome"], record["text"], record["reason"])
            self._answers.setdefault(canonical_json(question), answer)
            if self._rendered.setdefault(record["prompt"], record["rendered"]) != question[0]:
                raise UsageError("holds one prompt sent in two ways", where=str(path))
        if len(names) > 1:
            known = ", ".join(sorted(f"{name} ({driver})" for driver, name in names))
            raise UsageError(f"holds answers of several models: {known}", where=str(path),
                             hint="name one as model")  # fmt: skip
        if not names:
            raise DataError("holds no answer" + (f" of {model!r}" if model else ""),
                            where=str(path))  # fmt: skip
        (driver, self.model), *_ = names
        self.driver = f"replay of {driver}"

    def render(self, prompt: str) -> str:
        return self._rendered.get(prompt, prompt)

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for place, request in enumerate(requests):
            answer = self._answers.get(canonical_json(request.question()))
            if answer is None:
                start = " ".join(request.prompt.split())[:60]
                raise DataError(
                    f"sample {request.sample} of the prompt {start!r} was not recorded with this "
                    "sampling",
                    where=str(self.path),
                )
            yield place, answer

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        for text in texts:
            if text not in self._scores:
                start = " ".join(text.split())[:60]
                raise DataError(f"the score of {start!r} was not recorded", where=str(self.path))
        return [list(self._scores[text]) for text in texts]

    def _records(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self.path.read_text("utf-8").split("\n")
        except OSError as error:
            raise UsageError(f"no recording: {error.strerror}", where=str(self.path)) from None
        if lines.pop():
            self.torn = 1
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                good = {"driver", "model"} <= set(record) and (
                    {"scored", "values"} <= set(record) or _is_answer(record)
                )
            except (ValueError, TypeError):
                good = False
            if not good:
                raise DamagedError("is not a record of an answer", where=f"{self.path}:{number}")
            yield record


class Record(Answering):
    """A generator that also appends what another one answers to a file, line by line."""

    def __init__(self, generator: Answering, path: str | Path) -> None:
        self.generator, self.path = generator, Path(path)
        self.driver, self.model = generator.driver, generator.model
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self.path)

    def render(self, prompt: str) -> str:
        return self.generator.render(prompt)

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Answer]]:
        for place, answer in self.generator.each(requests):
            request = requests[place]
            self._append(
                prompt=request.prompt, rendered=request.rendered,
                sampling=dict(request.sampling), sample=request.sample,
                outcome=answer.outcome, text=answer.text, reason=answer.reason,
            )  # fmt: skip
            yield place, answer

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        scores = self.generator.score(texts)
        for text, values in zip(texts, scores):
            self._append(scored=text, values=values)
        return scores

    def _append(self, **record: Any) -> None:
        line = json.dumps({"driver": self.driver, "model": self.model, **record})
        with open(self.path, "a", encoding="ascii") as file:
            file.write(line + "\n")


def _is_answer(record: dict[str, Any]) -> bool:
    texts = all(isinstance(record[name], str) for name in TEXTS)
    return texts and record["outcome"] in OUTCOMES and isinstance(record["sampling"], dict) \
        and isinstance(record["sample"], int)  # fmt: skip


def _cut_torn_line(path: Path) -> None:
    """Remove what a kill left of a last line, so that the next one does not run on."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with open(path, "r+b") as file:
            file.truncate(whole)
