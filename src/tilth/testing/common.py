"""What the checks of all kinds of methods share."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from tilth.errors import UsageError
from tilth.lookup import construct
from tilth.store.digest import canonical_json


def check_method(kind: str, method: Any) -> None:
    """A method has a name and a version, says where it comes from, and can be made again.

    Raises AssertionError where `parameters()` are not JSON values, do not rebuild an equal object,
    where an unknown option is not refused, or where neither the docstring of the class nor that of
    its module names a source (authors and year).
    """
    label = f"{kind} {type(method).__name__}"
    assert isinstance(method.name, str) and method.name, f"{label} has no name"
    assert isinstance(method.version, int), f"{label}: version must be a whole number"
    parameters = method.parameters()
    assert isinstance(parameters, dict), f"{label}: parameters() must be a dict"
    try:
        again = json.loads(canonical_json(parameters))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{label}: parameters() are not JSON values: {error}") from None
    assert again == parameters, f"{label}: parameters() change on their way through JSON"
    table = {method.name: f"{type(method).__module__}:{type(method).__qualname__}"}
    if "<locals>" not in table[method.name]:
        rebuilt = construct(kind, table, method.name, again)
        assert rebuilt.parameters() == parameters, f"{label}: parameters() do not rebuild it"
        _check_refuses(kind, table, method.name)
    _check_source(label, type(method))


def _check_refuses(kind: str, table: Mapping[str, str], name: str) -> None:
    option = "no_such_option"
    try:
        construct(kind, table, name, {option: 1})
    except UsageError as error:
        assert option in str(error), f"{kind} {name}: the refusal does not name the option"
    else:
        raise AssertionError(f"{kind} {name} takes any option (has it **options?)")


def _check_source(label: str, kind: type) -> None:
    texts = [kind.__doc__ or "", getattr(sys.modules.get(kind.__module__), "__doc__", "") or ""]
    assert texts[0].strip(), f"{label} has no docstring"
    named = any(re.search(r"\b(1[89]|20)\d\d\b", text) for text in texts)
    assert named, f"{label}: name its source (authors and year) in the module's docstring"
