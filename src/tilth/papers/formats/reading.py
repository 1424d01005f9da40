"""A file or an address to papers: which format it is in, and its entries good and bad."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tilth.errors import DataError, UsageError, nearest
from tilth.lookup import load
from tilth.papers.formats import FORMATS
from tilth.papers.formats.common import Bad
from tilth.papers.paper import Paper

# Bytes that are looked at to tell the format.
HEAD = 65_536
_ENTRY = re.compile(r"@\s*[a-zA-Z]{2,30}\s*[{(]")


def read_papers(path: str | Path, format: str = "", source: str = "") -> Iterator[Paper | Bad]:
    """The papers of a file, in its order, and a Bad for each entry that cannot be read.

    `format` is a name of `FORMATS`, else what the file begins with tells it. `source` is what the
    papers say of where they came from, else format and name. Raises UsageError for a format that is
    not known, DataError or LimitError where the file as a whole cannot be read.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None
    name = format or sniffed(head)
    if not name:
        raise UsageError("is in no format that is known", where=str(path),
                         hint=f"--format: {', '.join(FORMATS)}")  # fmt: skip
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}", hint=nearest(name, FORMATS))
    reader = load("paper format", FORMATS, name)
    return iter(reader(path, source or f"{name} {path.name}"))


def sniffed(head: bytes) -> str:
    """The format of a file by its first bytes, or nothing."""
    from tilth.documents.formats.decode import decode

    text = decode(head)[0].lstrip()
    low = text[:4096].lower()
    if low.startswith("<"):
        page = "<html" in low or "data-props" in text
        return "atom" if "<feed" in low else "huggingface" if page else ""
    if text.startswith("{"):
        return "jsonl"
    return "bibtex" if _ENTRY.search(text) else ""
