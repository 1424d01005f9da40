"""BibTeX, by bibtexparser; LaTeX in its fields becomes plain text, by pylatexenc.

Entries whose braces never close, and those without a title, are bad; the others are taken. Of a key
that comes twice both entries count: it is the title that says what is one paper. Formulas stay as
they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.papers.formats.common import Bad, arxiv_address, papers_of, parsed, whole, year_in
from tilth.papers.paper import Paper

# Nothing else needs LaTeX to be understood, which takes 10 ms an abstract.
_LATEX = re.compile(r"[\\{}$~^_&#]|--|``|''")
_BARE_PERCENT = re.compile(r"(?<!\\)%")


def read(path: Path, source: str) -> Iterator[Paper | Bad]:
    """The papers of a file; see `formats.reading`."""
    yield from papers_of(parsed("tilth.papers.formats.bibtex:entries", whole(path), path), source)


@cpu_limited
def entries(data: bytes) -> list[dict[str, Any]]:
    """The child's function: the entries of a file, in its order."""
    import logging

    from bibtexparser.entrypoint import parse_string
    from bibtexparser.model import Entry, ParsingFailedBlock

    from tilth.documents.formats.decode import decode

    logging.disable(logging.CRITICAL)  # It would tell standard error of each bad entry.
    found: list[dict[str, Any]] = []
    for block in parse_string(decode(data)[0]).blocks:
        at = f"line {(block.start_line or 0) + 1}"
        # A key or a field that comes twice: the entry is whole, but was not worked on further.
        entry = getattr(block, "ignore_error_block", None) or block
        if isinstance(entry, Entry):
            raw = {field.key.lower(): str(field.value) for field in entry.fields}
            if entry is not block:
                raw = {name: _opened(value) for name, value in raw.items()}
            try:
                found.append({"at": at, **_fields(raw)})
            except RecursionError:
                found.append({"at": at, "bad": "its braces are nested too deeply"})
            except Exception as error:  # of the LaTeX in this entry alone
                found.append({"at": at, "bad": f"its LaTeX cannot be read: {error}"})
        elif isinstance(block, ParsingFailedBlock):
            found.append({"at": at, "bad": "its braces or quotes never close"})
    return found


def _opened(value: str) -> str:
    """A value without its own braces or quotes."""
    return value[1:-1] if value[:1] + value[-1:] in ("{}", '""') else value


def _fields(raw: dict[str, str]) -> dict[str, Any]:
    from bibtexparser.middlewares.names import split_multiple_persons_names

    names = split_multiple_persons_names(raw.get("author", "").strip())
    return {
        "title": _plain(raw.get("title", "")),
        "authors": [_turned(_plain(name)) for name in names],
        "year": year_in(raw.get("year") or raw.get("date", "")),
        "abstract": _plain(raw.get("abstract", "")),
        "address": _address(raw),
    }


def _plain(text: str) -> str:
    """LaTeX to text. A bare per cent sign would begin a comment: people write it for itself."""
    if not _LATEX.search(text):
        return text.replace("\\%", "%")
    from pylatexenc.latex2text import LatexNodes2Text

    escaped = _BARE_PERCENT.sub(r"\\%", text)
    return LatexNodes2Text(math_mode="verbatim", keep_comments=True).latex_to_text(escaped)


def _turned(name: str) -> str:
    """`Bee, Ann` as `Ann Bee`; names of another form stay."""
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma and "," not in first else name


def _address(raw: dict[str, str]) -> str:
    url = raw.get("url", "").strip()
    url = re.sub(r"^\\url\s*\{(.*)\}$", r"\1", url).replace("\\_", "_").replace("\\%", "%")
    if url:
        return url
    if doi := raw.get("doi", "").strip():
        return doi if doi.startswith("http") else "https://doi.org/" + doi.replace("\\_", "_")
    return arxiv_address(raw.get("eprint", ""))
