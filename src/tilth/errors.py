"""The error tree. Every mistake that a user can make ends as one of these, in one line.

TilthError                 exit code 1
  UsageError               2   a wrong command, option, key, name or argument
    PlanError              2   a plan file: names the key and the nearest right one
    ExpressionError        2   a rule's expression: names the position
  DataError                1   the documents or data sets are not what the step needs
  DamagedError             1   a file does not agree with its manifest
  LockedError              1   another process works on the same folder
  LimitError               1   a limit on time, memory or size was reached
  MissingExtra             3   an optional dependency is not installed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TilthError(Exception):
    """What is wrong, where, and what to type. `str()` joins the three in one line."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.hint = what, where, hint

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} ({self.hint})" if self.hint else line

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; the default would lose the keyword arguments.
        return (_rebuild, (type(self), self.what, self.where, self.hint))


def _rebuild(kind: type[TilthError], what: str, where: str, hint: str) -> TilthError:
    return kind(what, where=where, hint=hint)


class UsageError(TilthError):
    exit_code = 2


class PlanError(UsageError):
    pass


class ExpressionError(UsageError):
    pass


class DataError(TilthError):
    pass


class DamagedError(TilthError):
    pass


class LockedError(TilthError):
    pass


class LimitError(TilthError):
    pass


class MissingExtra(TilthError):
    """Raised where an optional library is imported; says which extra to install."""

    exit_code = 3

    def __init__(self, what: str, *, where: str = "", hint: str = "", extra: str = "") -> None:
        if extra:
            hint = f'type: pip install "tilth[{extra}]"'
        super().__init__(what, where=where, hint=hint)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest of `known`, or lists them where they are few."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(names) <= 12:
        return "known: " + ", ".join(names) if names else "none is known"
    return f"{len(names)} are known"
