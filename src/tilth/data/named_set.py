"""What a line of the table of named data sets says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GITHUB = "https://github.com/"


@dataclass(frozen=True)
class NamedSet:
    """A line of the table. `file`: below the folder, where not all of it is read; `files`: split ->
    file. `folder`: where it is not called as the set. `options`: for the reader of its kind, of a
    corpus for `SetPath.documents`."""

    kind: str
    what: str
    licence: str
    address: str
    digest: str
    file: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
