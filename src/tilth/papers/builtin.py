"""The papers that tilth brings: title, year where it is sure, and a summary in our own words.

`builtin.jsonl` holds one object a line: slug, title, year (or null), family, summary. No sentence
of an abstract is in it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

from tilth.errors import DamagedError, DataError
from tilth.papers.library import Library, default_library
from tilth.papers.paper import Paper, made_paper
from tilth.store.digest import digest

FILE = "builtin.jsonl"
KEYS = {"slug", "title", "year", "family", "summary"}
SOURCE = "built in"


def open_library(path: str | Path = "") -> Library:
    """A library with the built-in papers in it; without a path the user's own (`default_library`).

    A paper that the user has imported already becomes one with the built-in one.
    """
    library = Library(path or default_library())
    text = builtin_text()
    library.bring(builtin_papers(text), edition=digest(text))
    return library


def builtin_text() -> str:
    """The file as it lies in the package; empty where it is not there."""
    source = files("tilth.papers").joinpath(FILE)
    return source.read_text("utf-8") if source.is_file() else ""


def builtin_papers(text: str) -> list[Paper]:
    """The papers of such a file. Raises DamagedError with the line where one is not in order."""
    papers: dict[str, Paper] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{FILE}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DamagedError(f"is no JSON: {error}", where=where) from None
        if not isinstance(entry, dict) or set(entry) != KEYS:
            raise DamagedError(f"has not the keys {', '.join(sorted(KEYS))}", where=where)
        try:
            paper = made_paper(
                entry["title"], id=entry["slug"], year=entry["year"], family=entry["family"],
                summary=entry["summary"], source=SOURCE,
            )  # fmt: skip
        except DataError as error:
            raise DamagedError(error.what, where=where) from None
        if paper.id != entry["slug"] or paper.id in papers:
            raise DamagedError(f"the slug {entry['slug']!r} is none, or is twice", where=where)
        papers[paper.id] = paper
    return list(papers.values())
