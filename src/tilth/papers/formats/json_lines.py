"""JSON lines: one paper an object, in UTF-8.

`title` is needed; `abstract`, `summary`, `authors` (a list of names, or one text with `and` between
them), `year`, `address` (or `url`), `family` and `slug` may be there, and what else there is says
nothing. A line of more than `LINE` bytes is bad, and is never held in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilth.papers.formats.common import Bad, entry_paper, year_in
from tilth.papers.paper import Paper

LINE = 4_000_000


def read(path: Path, source: str) -> Iterator[Paper | Bad]:
    """The papers of a file; see `formats.reading`."""
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LINE + 1):
            number += 1
            where = f"line {number}"
            if len(line) > LINE:
                while line and not line.endswith(b"\n"):
                    line = file.readline(LINE)
                yield Bad(where, f"has more than {LINE:,} bytes")
            elif line.strip():
                yield _paper(line, source, where)


def _paper(line: bytes, source: str, where: str) -> Paper | Bad:
    try:
        entry = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Bad(where, "is not UTF-8")
    except (ValueError, RecursionError):
        return Bad(where, "is no JSON")
    if not isinstance(entry, dict):
        return Bad(where, "is no object")
    fields: dict[str, Any] = {}
    for name in ("title", "abstract", "summary", "address", "family"):
        value = entry.get(name) or ""
        if not isinstance(value, str):
            return Bad(where, f"its {name} is no text")
        fields[name] = value
    slug, url = entry.get("slug"), entry.get("url")
    fields["id"] = slug if isinstance(slug, str) else ""
    fields["address"] = fields["address"] or (url if isinstance(url, str) else "")
    fields["authors"] = names_of(entry.get("authors") or entry.get("author"))
    fields["year"] = year_in(entry.get("year") or "")
    return entry_paper(fields, source, where)


def names_of(given: Any) -> list[str]:
    """Names of a list of texts or of objects with a `name`, or of one text."""
    if isinstance(given, str):
        return given.split(" and ")
    names = []
    for one in given if isinstance(given, list) else []:
        name = one.get("name") if isinstance(one, dict) else one
        if isinstance(name, str):
            names.append(name)
    return names
