"""Which documents of `retro` are trained on, which choose rates and which are tested.

Groups (services, authors) stay whole. Texts of two groups may be copies of one another all the
same, as the terms of a service that was renamed: what is nearly a text that is tested, or that
rates are chosen with, is neither trained on nor put in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tilth.errors import DataError
from tilth.store.digest import digest

LEAST_GROUPS = 10
# Of the groups one in so many is tested, and one in so many chooses rates.
TEST_SHARE, TUNING_SHARE = 5, 10
# Two texts are near copies where of the smaller one's runs of words the other has such a share.
RUN, NEAR = 8, 0.1


class Sides(NamedTuple):
    """Pieces of documents; `near_copies` of what is held out were left out of `train`."""

    train: list[str]
    tuning: list[str]
    test: list[str]
    near_copies: int


def divide(
    texts: Sequence[str], groups: Sequence[str], characters: int, test_characters: int
) -> Sides:
    """About `characters` to train on in all; `test_characters` of each document that is held out.

    Which group lies where is a matter of its name, not of the order. Raises DataError for fewer
    than 10 groups.
    """
    members: dict[str, set[str]] = {}
    for text, group in zip(texts, groups):
        if text.strip():
            members.setdefault(group, set()).add(text)
    if len(members) < LEAST_GROUPS:
        raise DataError(
            f"{len(members)} different documents with text, or groups of them; "
            f"at least {LEAST_GROUPS} are needed"
        )
    parts: list[list[str]] = [[], [], []]
    for number, group in enumerate(sorted(members, key=digest)):
        side = 2 if number % TEST_SHARE == 0 else 1 if number % TUNING_SHARE == 1 else 0
        parts[side] += sorted(members[group], key=digest)
    tuning, test = ([text[:test_characters] for text in part] for part in parts[1:])
    size = max(200, characters // max(1, len(parts[0])))
    pieces = [text[:size] for text in parts[0]]
    held_out = [runs(text) for text in (*tuning, *test)]
    train = [text for text in pieces if not any(near(runs(text), one) for one in held_out)]
    return Sides(train, tuning, test, len(pieces) - len(train))


def runs(text: str) -> set[tuple[str, ...]]:
    """All `RUN` words in a row."""
    words = text.split()
    return set(zip(*(words[start:] for start in range(RUN))))


def near(one: set, other: set) -> bool:
    """Whether two texts, by their runs, are near copies."""
    smaller = min(len(one), len(other))
    return bool(smaller) and len(one & other) >= NEAR * smaller


def copied(texts: Iterable[str], others: Iterable[str]) -> bool:
    """Whether some text is nearly one of the others."""
    known = [runs(text) for text in others]
    return any(near(found, one) for found in map(runs, texts) for one in known)
