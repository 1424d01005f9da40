"""What an answer is made of: passages that were found, sentences, and citations as spans.

All offsets are characters of the document's text as the corpus of the run holds it (its last
layer): `text[start:stop]` is the text of the passage or citation, letter for letter. Everything
here is text of documents or of a model: plain text, to be escaped where it is drawn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

How = Literal["quoted", "generated"]
Outcome = Literal["ok", "malformed", "refused", "failed", "timed out"]
Support = Literal["quoted", "supported", "weak", "uncited"]


@dataclass(frozen=True)
class Passage:
    """A part of a document that was found. `number`: from 1, the best first; `matches`: words of
    the question in `text`; `used`: whether a model was shown it."""

    number: int
    document: str
    source: str
    title: str
    start: int
    stop: int
    text: str
    matches: tuple[tuple[int, int], ...] = ()
    used: bool = False

    def marked(self, before: str = "[", after: str = "]") -> str:
        """The text with the question's words marked."""
        parts, at = [], 0
        for start, stop in self.matches:
            parts += [self.text[at:start], before, self.text[start:stop], after]
            at = stop
        return "".join([*parts, self.text[at:]])


@dataclass(frozen=True)
class Citation:
    """The sentence of passage `number` on which a sentence of the answer rests."""

    number: int
    document: str
    source: str
    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer, without its marks. `passages`: the numbers that it cites;
    `citations`: for each of them its place in the answer's citations.

    `support`: `quoted` from the passage; `supported`, or `weak` where the cited passages hold less
    than half of its words by weight; `uncited`. `overlap`: that share, 0 to 1.
    """

    text: str
    passages: tuple[int, ...]
    support: Support
    overlap: float
    citations: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """An answer to a question. `text` is never empty.

    `how`: quoted, word for word, or generated. `outcome`: what became of the generator, `ok` where
    none was asked; where it is not `ok`, `reason` says why and the answer is quoted. `note`: what
    people are to know about it, in sentences. `declined`: the model says that the passages do not
    hold the answer. `removed`: marks that named no passage; `left_out`: passages that did not fit
    into the model's context. `found`: whether there was any passage.
    """

    question: str
    text: str
    how: How
    outcome: Outcome
    reason: str
    note: str
    sentences: tuple[Sentence, ...]
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    using: str
    removed: int = 0
    left_out: int = 0
    declined: bool = False

    @property
    def found(self) -> bool:
        return bool(self.passages)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "found": self.found}


@dataclass(frozen=True)
class Event:
    """A step of an answer that is being made, in this order: `passages` once, `text` piece by
    piece, `citation` one by one, `done` with the whole answer, whose text counts."""

    kind: Literal["passages", "text", "citation", "done"]
    passages: tuple[Passage, ...] = ()
    text: str = ""
    citation: Citation | None = None
    answer: Answer | None = None

    def to_json(self) -> dict[str, Any]:
        value: Any = {
            "passages": [asdict(passage) for passage in self.passages],
            "text": self.text,
            "citation": self.citation and asdict(self.citation),
            "done": self.answer and self.answer.to_json(),
        }[self.kind]
        return {"kind": self.kind, {"done": "answer"}.get(self.kind, self.kind): value}
