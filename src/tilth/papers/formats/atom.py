"""An Atom feed as arXiv's API answers with it, by lxml.

What stands before a fault in the XML is taken; the rest is one bad entry. A feed has no DOCTYPE:
one that has is refused as a whole, so that no entity is ever expanded. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.papers.formats.common import Bad, arxiv_address, papers_of, parsed, whole, year_in
from tilth.papers.paper import Paper

ATOM = "{http://www.w3.org/2005/Atom}"


def read(path: Path, source: str) -> Iterator[Paper | Bad]:
    """The papers of a file; see `formats.reading`."""
    yield from papers_of(parsed("tilth.papers.formats.atom:entries", whole(path), path), source)


@cpu_limited
def entries(data: bytes) -> list[dict[str, Any]]:
    """The child's function: the entries of a feed, in its order."""
    import io

    from lxml import etree

    from tilth.errors import LimitError

    found: list[dict[str, Any]] = []
    parser = etree.iterparse(
        io.BytesIO(data), events=("start", "end"), resolve_entities=False, no_network=True,
        load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        for event, element in parser:
            if event == "start":
                if element.getparent() is None:
                    if element.getroottree().docinfo.doctype:
                        raise LimitError("has a DOCTYPE, which no feed needs")
                    if element.tag != f"{ATOM}feed":
                        raise ValueError("is no Atom feed")
            elif element.tag == f"{ATOM}entry":
                found.append({"at": f"line {element.sourceline}", **_fields(element)})
                element.clear()
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 1
        found.append({"at": f"line {line}", "bad": f"no XML from here on: {error.msg}"})
    return found


def _fields(entry: Any) -> dict[str, Any]:
    def text(name: str) -> str:
        return "".join(entry.findtext(f"{ATOM}{name}") or "")

    identifier = text("id").strip()
    if "/api/errors" in identifier:
        return {"bad": f"arXiv says: {' '.join(text('summary').split())}"}
    names = [author.findtext(f"{ATOM}name") or "" for author in entry.findall(f"{ATOM}author")]
    return {
        "title": text("title"),
        "authors": names,
        "year": year_in(text("published")),
        "abstract": text("summary"),
        "address": arxiv_address(identifier.rpartition("/abs/")[2]) or identifier,
    }
