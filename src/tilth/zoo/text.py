"""The text of a recipe: documents in pieces, a tenth of the groups held out before all else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tilth.errors import DataError
from tilth.store.digest import digest

if TYPE_CHECKING:
    from tilth.data.sets import Source

# A piece ends at the last line end before so many characters: a document of a training.
PIECE = 4000
HELD_OUT = 0.1


@dataclass
class Text:
    """Pieces of training and of held-out documents, with ids; and where they come from."""

    train: list[tuple[str, str]] = field(default_factory=list)
    test: list[tuple[str, str]] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)

    def texts(self, split: str = "train") -> list[str]:
        return [text for _, text in getattr(self, split)]


def read(sources: tuple[str, ...], characters: int) -> Text:
    """The first `characters` of each document. A group is held out by a digest of its name.

    Raises DataError where a named set is not on this machine, or nothing is left.
    """
    made = Text()
    for name in sources:
        documents, source = _installation() if name == "installation" else _named(name)
        made.sources.append(source)
        groups = sorted({group for _, group, _ in documents}, key=lambda g: digest("zoo", g))
        held_out = set(groups[: max(1, round(HELD_OUT * len(groups)))])
        for id, group, text in documents:
            split = made.test if group in held_out else made.train
            split += [(f"{id}-{n}", piece) for n, piece in enumerate(cut(text[:characters]))]
    if not made.train or not made.test:
        raise DataError(f"{', '.join(sources)} hold too few documents to train on and hold out")
    return made


def cut(text: str, size: int = PIECE) -> Iterator[str]:
    """The text in pieces of at most `size` characters, cut after a line end or a blank."""
    start = 0
    while start < len(text):
        stop = start + size
        if stop < len(text):
            found = text.rfind("\n", start + size // 2, stop)
            found = text.rfind(" ", start + size // 2, stop) if found < 0 else found
            stop = found + 1 if found >= 0 else stop
        if text[start:stop].strip():
            yield text[start:stop]
        start = stop


def _named(name: str) -> tuple[list[tuple[str, str, str]], Source]:
    from tilth.data.sets import SetPath, open_set

    place = open_set(name)
    if not isinstance(place, SetPath):
        # The texts of a labelled set, never their labels; a split of it is a group.
        rows = zip(place.table["id"].to_pylist(), place.table["group"].to_pylist(), place.texts())
        return [(f"{name}/{id}", group, text) for id, group, text in rows], place.sources[0]
    documents = [(d.id, d.group, d.text) for d in place.documents()]
    return documents, place.sources[0]


def _installation() -> tuple[list[tuple[str, str, str]], Source]:
    from tilth.data.sets import Source
    from tilth.documents.document import Problem
    from tilth.documents.installation import plan_installation
    from tilth.documents.read import read_unit

    units, _, manifest = plan_installation()
    documents = []
    for unit in units:
        for found in read_unit(unit):
            if not isinstance(found, Problem):
                documents.append((found.id, found.group, found.text))
    source = Source("installation", manifest["digest"], "each package its own; see the manifest")
    return documents, source
