"""A saved page of Hugging Face's papers: the JSON that it carries in `data-props`, by lxml.

Any object in there with a title, an identifier, and an abstract or authors is a paper, whichever of
the site's pages was saved. The page is only read: no script of it runs and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tilth.documents.formats.child_limits import cpu_limited
from tilth.papers.formats.common import Bad, arxiv_address, papers_of, parsed, whole, year_in
from tilth.papers.formats.json_lines import names_of
from tilth.papers.paper import Paper

SITE = "https://huggingface.co/papers/"
FUNCTION = "tilth.papers.formats.hugging_face:entries"


def read(path: Path, source: str) -> Iterator[Paper | Bad]:
    """The papers of a file; see `formats.reading`."""
    yield from papers_of(parsed(FUNCTION, whole(path), path), source, "paper")


@cpu_limited
def entries(data: bytes) -> list[dict[str, Any]]:
    """The child's function: the papers of a page, each once, in its order."""
    import json

    from lxml import etree

    from tilth.documents.formats.decode import decode
    from tilth.documents.formats.html_text import declared_charset

    text = decode(data, declared_charset(data))[0]
    # One page carries its whole list in one attribute, which may pass the parser's 10 MB.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True)
    root = etree.fromstring(text.replace("\0", "\ufffd").encode("utf-8", "replace"), parser)
    found: dict[str, dict[str, Any]] = {}
    bad: list[dict[str, Any]] = []
    carriers = 0
    for element in root.iter() if root is not None else ():
        props = element.get("data-props") if isinstance(element.tag, str) else None
        if props is None:
            continue
        carriers += 1
        try:
            value = json.loads(props)
        except (ValueError, RecursionError):
            bad.append({"at": f"line {element.sourceline}", "bad": "its data-props is no JSON"})
            continue
        for paper in _papers(value):
            found.setdefault(paper["identifier"], paper)
    if not carriers:
        raise ValueError("carries no data-props: save the page as it came (HTML only)")
    return [*found.values(), *bad]


def _papers(value: Any) -> Iterator[dict[str, Any]]:
    """The papers anywhere in a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            identifier, title = value.get("id"), value.get("title")
            told = value.get("summary") or value.get("abstract") or value.get("authors")
            if isinstance(identifier, str) and isinstance(title, str) and told:
                yield _fields(value, identifier, title)
            else:
                waiting += reversed(list(value.values()))


def _fields(value: dict[str, Any], identifier: str, title: str) -> dict[str, Any]:
    abstract = value.get("summary") or value.get("abstract")
    shown = value.get("authors")
    authors = [
        one
        for one in (shown if isinstance(shown, list) else [])
        if not (isinstance(one, dict) and one.get("hidden"))
    ]
    return {
        "identifier": identifier,
        "title": title,
        "authors": names_of(authors),
        "year": year_in(value.get("publishedAt") or ""),
        "abstract": abstract if isinstance(abstract, str) else "",
        "address": arxiv_address(identifier) or SITE + identifier,
    }
