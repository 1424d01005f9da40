"""Entities of tagged sentences, and their F1: exact span and type, over all sentences.

Reads IOB1, IOB2, IOBES and BILOU as `conlleval` (Tjong Kim Sang, 2000) and seqeval's default mode
do: an entity begins at B or S, after O, after E or S, and where the type changes; so `I-PER` after
`O` begins one too. A tag without a dash is a type of its own, inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

SAME = {"L": "E", "U": "S"}


class Entity(NamedTuple):
    """Words `start` to `stop`, of a sentence, are one entity of a type."""

    type: str
    start: int
    stop: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities of one sentence, in order."""
    found: list[Entity] = []
    type_, start, before = "", 0, "O"
    for place, tag in enumerate([*tags, "O"]):
        mark, dash, kind = tag.partition("-")
        if not dash and tag != "O":
            mark, kind = "I", tag
        mark = SAME.get(mark, mark)
        inside = mark != "O"
        begins = inside and (mark in "BS" or before in "OES" or kind != type_)
        if before != "O" and (begins or not inside):
            found.append(Entity(type_, start, place))
        if begins:
            type_, start = kind, place
        before = mark
    return found


class Counts(NamedTuple):
    """Right ones, all that were predicted, all that are there."""

    right: int
    predicted: int
    gold: int

    @property
    def f1(self) -> float:
        """2 right / (predicted + gold); 0 where there is nothing."""
        total = self.predicted + self.gold
        return 2 * self.right / total if total else 0.0


def count(gold: Sequence[str], predicted: Sequence[str], type_: str | None = None) -> Counts:
    """Of one sentence; of one type only, where it is given."""
    theirs, ours = (
        {one for one in entities(tags) if type_ in (None, one.type)} for tags in (gold, predicted)
    )
    return Counts(len(theirs & ours), len(ours), len(theirs))


def total(counts: Iterable[Counts]) -> Counts:
    """Over sentences."""
    sums = [sum(column) for column in zip(*counts)]
    return Counts(*sums) if sums else Counts(0, 0, 0)


def entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro F1 over all sentences and types. Tags of a sentence must be equally many."""
    return total(count(one, other) for one, other in zip(gold, predicted, strict=True)).f1
