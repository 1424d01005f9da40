"""WARC, WET and ARC: a document for each record that holds a page, a text or a PDF file.

A child process walks through the file (`containers/warc_records`); pages and PDF files then go
through their own readers. `metadata` holds `url`, `date`, `warc_id`, `status` where it is not 200.
The position is the record's number in the file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tilth.documents.containers.frames import Frame
from tilth.documents.document import Problem
from tilth.documents.formats import html, pdf
from tilth.documents.formats.common import Piece, option
from tilth.documents.formats.html_text import charset_named
from tilth.documents.formats.records import one_record
from tilth.documents.formats.text import plain

if TYPE_CHECKING:
    from tilth.documents.inputs import Unit


def read(unit: Unit, frames: Iterator[Frame]) -> Iterator[Piece | Problem]:
    """Documents of all records, in the order of the file."""
    article = option(unit, "html") == "article"
    for header, body in frames:
        number = header["position"]
        if header["kind"] == "problem":
            yield Problem(unit.source, header["reason"], header["detail"], number)
            continue
        make = functools.partial(_piece, header, body, number, article)
        yield one_record(unit, f"record {number + 1}: ", number, make)


def _piece(header: dict[str, Any], body: bytes, number: int, article: bool) -> Piece:
    content = header["content"]
    charset = charset_named(header["charset"]) if header["charset"] else None
    if content == "html":
        text, found = html.parse(body, charset, article=article)
    elif content == "pdf":
        text, found = pdf.parse(body)
    else:
        text, found = plain(body, charset)
    return Piece(body, text, {**header["metadata"], **found}, number, content)
