"""What all formats share: entries good and bad, how a file is taken, and the child that parses it.

The child's functions give a list of plain objects with the fields of a paper (`FIELDS`), or with
`bad`, the reason why an entry cannot be read, and `at`, where it stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tilth.errors import DataError, LimitError
from tilth.papers.paper import Paper, made_paper

FIELDS = ("title", "authors", "year", "summary", "abstract", "address", "family", "id")
# Bytes of a file that is parsed as a whole.
LARGEST = 64_000_000
MEMORY = 1 << 30
CPU_SECONDS = 300.0
_YEAR = re.compile(r"(?<!\d)(1[6-9]\d\d|2[01]\d\d)(?!\d)")
_ARXIV = re.compile(r"(?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?")


@dataclass(frozen=True)
class Bad:
    """An entry that was not taken: where it stands, and why."""

    where: str
    reason: str


def whole(path: Path) -> bytes:
    """The bytes of a file. Raises LimitError where it is larger than `LARGEST`."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(LARGEST + 1) if size <= LARGEST else b""
    if size > LARGEST or len(data) > LARGEST:
        raise LimitError(
            f"has more than {LARGEST // 1_000_000} MB", where=str(path), hint="split it"
        )
    return data


def parsed(function: str, data: bytes, path: Path) -> list[dict[str, Any]]:
    """What the child's function (`module:name`) finds in the bytes.

    Raises DataError or LimitError, naming the file, where the file as a whole cannot be read.
    """
    from tilth.documents.formats.common import Refused
    from tilth.documents.formats.parser import ask
    from tilth.sandbox.child import Child

    # The clock on the wall only ends a child that hangs without working.
    with Child(function, memory=MEMORY, seconds=3 * CPU_SECONDS) as child:
        try:
            found = ask(child, data, CPU_SECONDS)
        except Refused as refused:
            kind = LimitError if refused.reason == "parser limit" else DataError
            raise kind(refused.detail or refused.reason, where=str(path)) from None
    return found if isinstance(found, list) else []


def papers_of(
    entries: Iterable[Mapping[str, Any]], source: str, word: str = "entry"
) -> Iterator[Paper | Bad]:
    """Papers of plain objects, and a Bad for each that makes none."""
    for number, entry in enumerate(entries, start=1):
        where = str(entry.get("at") or f"{word} {number}")
        yield entry_paper(entry, source, where)


def entry_paper(entry: Mapping[str, Any], source: str, where: str) -> Paper | Bad:
    """The paper of one plain object."""
    if entry.get("bad"):
        return Bad(where, str(entry["bad"])[:300])
    given = {name: entry[name] for name in FIELDS if entry.get(name)}
    try:
        return made_paper(given.pop("title", ""), **given, source=source)
    except DataError as error:
        title = " ".join(str(entry.get("title", "")).split())
        return Bad(where, f"{error.what}: {title[:60]!r}" if title else error.what)


def year_in(text: Any) -> int | None:
    """The first number in a text that can be a year."""
    found = _YEAR.search(str(text)[:200])
    return int(found[0]) if found else None


def arxiv_address(identifier: str) -> str:
    """The page of an arXiv identifier, without its version; empty for what is none."""
    identifier = identifier.strip().removeprefix("arXiv:")
    if not _ARXIV.fullmatch(identifier):
        return ""
    return "https://arxiv.org/abs/" + re.sub(r"v\d+$", "", identifier)
