"""Old and new text for systems that go on training a model, and the model that they go on from."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tilth.data.sets import SetPath, Source, find_set, open_data
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments
from tilth.zoo.text import cut

# Of the documents so many are held out: those whose text has the smallest digest.
HELD_OUT = 0.1
# What is scored during a training, in bytes of text, and at its end.
GLANCE, SCORED = 16_000, 120_000


@dataclass(frozen=True)
class Side:
    """Tokens of one kind of text: to train on, to score at the end, to glance at on the way."""

    train: TokenDocuments
    test: TokenDocuments
    glance: TokenDocuments


@dataclass(frozen=True)
class Continued:
    """What arms share: a trained model (not to be changed) with its moments, old and new text."""

    base: Any
    moments: dict[str, Any]
    old: Side
    new: Side
    sources: tuple[Source, ...] = ()
    models: tuple[ModelSource, ...] = field(default=())

    def copies(self) -> tuple[Any, dict[str, Any]]:
        """The model and its moments, to be changed."""
        return copy.deepcopy(self.base), copy.deepcopy(self.moments)


def texts_of(place: SetPath, characters: int) -> list[str]:
    """The first `characters` of each document with text, in the order of their digests."""
    found = {document.text[:characters] for document in place.documents() if document.text.strip()}
    return sorted(found, key=digest)


def side(texts: Sequence[str], tokenizer: Any, name: str) -> Side:
    """Pieces of documents in tokens; no document lies on both sides. At least 4 are needed."""
    if len(texts) < 4:
        raise DataError(f"{len(texts)} different documents of {name} text; at least 4 are needed")
    held_out = max(1, round(HELD_OUT * len(texts)))
    test, train = texts[:held_out], texts[held_out:]
    return Side(
        _tokens(train, tokenizer, name), _spread(_tokens(test, tokenizer, name), SCORED),
        _spread(_tokens(test, tokenizer, name), GLANCE),
    )  # fmt: skip


def _tokens(texts: Iterable[str], tokenizer: Any, name: str) -> TokenDocuments:
    pieces = [piece for text in texts for piece in cut(text)]
    return TokenDocuments.of([f"{name} {n}" for n in range(len(pieces))], pieces, tokenizer)


def _spread(documents: TokenDocuments, size: int) -> TokenDocuments:
    """Documents spread evenly over all, about `size` bytes."""
    step = max(1, int(documents.text_bytes.sum()) // size)
    return documents.select(range(0, len(documents), step))


def smoke() -> tuple[Any, Side, Side]:
    """A tiny random model, and two halves of the docstrings of some modules."""
    from tilth.zoo import tiny

    model, _, documents = tiny("causal")
    made = []
    for half in (0, 1):
        some = documents.select([n for n in range(len(documents)) if n % 2 == half])
        order = np.argsort(some.lengths, kind="stable").tolist()
        short = some.select(order[:6])
        made.append(Side(some.select(order[6:]), short, short.select([0, 1])))
    return copy.deepcopy(model), made[0], made[1]


def given_model(folder: str) -> tuple[Any, Any, ModelSource]:
    """A user's model, its tokenizer, and what a result says of it."""
    from tilth.data.sets import digest_path
    from tilth.models.folder import load_model, load_tokenizer

    source = ModelSource(Path(folder).resolve().name, digest_path(folder))
    model = load_model(Path(folder), "causal", dtype="float32")
    return model, load_tokenizer(Path(folder)), source


def open_text(name: str, default: str) -> SetPath:
    """A path or a named set; without a name the named set `default`."""
    place = open_data(name, "corpus", {}) if name else find_set(default)
    assert isinstance(place, SetPath)
    return place
