"""The protocols and small nouns that several rooms share.

A room that needs something from a room below it takes it as an argument with one of these
protocols; nothing here imports a heavy library at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy
    import pyarrow

# Called as progress(step, done, total); total 0 means unknown.
Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """The progress of a caller who wants none."""


@runtime_checkable
class Transform(Protocol):
    """Documents in, documents out, in a new layer. Each document gives 0..n new ones.

    `apply` takes and gives batches of `documents.document.SCHEMA`; a new row names its parents, a
    span map and what made it. The same batch, whole or in pieces, gives the same rows.
    """

    name: str
    version: int

    def parameters(self) -> dict[str, Any]: ...

    def apply(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch: ...


@runtime_checkable
class Signal(Protocol):
    """Columns measured on documents, aligned row by row. Signals never delete.

    `columns` maps each column to its direction: +1 more is better, -1 less is better, 0 neither.
    `fit` is there for signals that learn; others return themselves.
    """

    name: str
    version: int
    columns: Mapping[str, int]

    def parameters(self) -> dict[str, Any]: ...

    def fit(self, batches: Iterable[pyarrow.RecordBatch]) -> Signal: ...

    def measure(self, batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch: ...


@runtime_checkable
class Scorer(Protocol):
    """Texts to one number each."""

    def score(self, texts: Sequence[str]) -> numpy.ndarray: ...


@dataclass(frozen=True)
class Answer:
    """What a generator gave back for one prompt. Never an empty string in place of a failure."""

    outcome: Literal["ok", "malformed", "refused", "failed", "timed out"]
    text: str = ""
    reason: str = ""


@runtime_checkable
class Generator(Protocol):
    """Prompts to texts, and texts to log-probabilities."""

    def generate(self, prompts: Sequence[str], sampling: Mapping[str, Any]) -> list[Answer]: ...

    def score(self, texts: Sequence[str]) -> list[list[float]]: ...


@runtime_checkable
class Encoder(Protocol):
    """Texts to vectors, one row each, unit length. `fingerprint` names the vector space."""

    fingerprint: str

    def encode(self, texts: Sequence[str]) -> numpy.ndarray: ...


@runtime_checkable
class Sampler(Protocol):
    """Logits (rows, vocabulary) to one token id a row."""

    def sample(self, logits: numpy.ndarray) -> numpy.ndarray: ...


@dataclass
class Run:
    """Ranked answers, TREC's run: query id -> [(document id, score)], by score, then by id."""

    rows: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    def to_trec(self, tag: str = "tilth") -> str:
        """TREC's text form: `query Q0 document rank score tag`, one line an answer."""
        return "".join(
            f"{query} Q0 {document} {rank} {score!r} {tag}\n"
            for query, answers in self.rows.items()
            for rank, (document, score) in enumerate(answers, start=1)
        )


@runtime_checkable
class Retriever(Protocol):
    """Documents in, ranked answers out. Order is by score, then by id.

    `search` takes texts in order or a mapping query id -> text; with a sequence the query ids are
    "0", "1", ... `fingerprint` names the space: a query made for another one is refused.
    """

    def fit(self, documents: Mapping[str, str]) -> Retriever: ...

    def add(self, documents: Mapping[str, str]) -> None: ...

    def remove(self, ids: Sequence[str]) -> None: ...

    def search(self, queries: Sequence[str] | Mapping[str, str], k: int = 10) -> Run: ...

    def score(self, queries: Sequence[str], ids: Sequence[str]) -> numpy.ndarray: ...

    def save(self, folder: str | Path) -> None: ...

    @property
    def fingerprint(self) -> str: ...


@runtime_checkable
class Executor(Protocol):
    """Maps a function over items; results come in any order, each with its item's number."""

    workers: int

    def map(
        self, function: Callable[[Any], Any], items: Sequence[Any]
    ) -> Iterable[tuple[int, Any]]: ...
