"""Apply a surgery and check what it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.lookup import load
from tilth.models.surgery import SURGERIES
from tilth.models.surgery.promise import BrokenPromise, Kept, Promise, check

if TYPE_CHECKING:
    from tilth.models.checkpoint import Checkpoint


class Operated(NamedTuple):
    """The new checkpoint, what was promised, and what was compared."""

    checkpoint: Checkpoint
    promise: Promise
    kept: Kept


def operate(name: str, checkpoint: Checkpoint, **parameters: Any) -> Operated:
    """The surgery `name` (see `SURGERIES`) with its promise checked.

    Raises UsageError for an unknown name, BrokenPromise where the check fails; both models run
    once over a few random tokens.
    """
    surgery = load("surgery", SURGERIES, name)
    promise = surgery.promise(checkpoint, **parameters)
    made = surgery.apply(checkpoint, **parameters)
    kept = check(promise, checkpoint, made)
    if kept.broken:
        raise BrokenPromise(f"it does not hold that {kept.broken[0]}", where=f"surgery {name}")
    return Operated(made, promise, kept)
