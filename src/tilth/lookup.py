"""Names to classes, through literal tables `NAME -> "module:Class"`.

Each room that holds methods of one kind has such a table in its `__init__`. Nothing is imported
until a name is asked for, and no import has a side effect. Packages outside tilth add names by an
entry point in the group `tilth.<kind>`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tilth.errors import UsageError, nearest


def names(kind: str, table: Mapping[str, str]) -> dict[str, str]:
    """The table with the entry points of other packages; tilth's own names win."""
    outside = {point.name: point.value for point in metadata.entry_points(group=f"tilth.{kind}")}
    return {**outside, **table}


def load(kind: str, table: Mapping[str, str], name: str) -> Any:
    """The class or function behind `name`. Raises UsageError with the nearest name."""
    known = table if name in table else names(kind, table)
    if name not in known:
        raise UsageError(f"no {kind} is called {name!r}", hint=nearest(name, known))
    module, _, attribute = known[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def construct(kind: str, table: Mapping[str, str], name: str, options: Mapping[str, Any]) -> Any:
    """An object of the class behind `name`; options that it does not have are refused."""
    maker = load(kind, table, name)
    parameters = inspect.signature(maker).parameters
    for option in options:
        if option not in parameters:
            raise UsageError(
                f"{kind} {name!r} has no option {option!r}", hint=nearest(option, parameters)
            )
    return maker(**options)
