"""Which format a file has: by its name, then by its first bytes."""

from __future__ import annotations

import json

from tilth.documents.formats import EXTENSIONS, FORMATS, UNREAD
from tilth.documents.formats.common import Refused
from tilth.documents.formats.decode import decode, mark_of
from tilth.documents.formats.languages import LANGUAGES
from tilth.documents.formats.magic import PDF, PDF_WITHIN, looks_like_html, magic_of
from tilth.lookup import names

HEAD_BYTES = 1 << 16
# Where a NUL means that this is no text.
TEXT_BYTES = 1 << 13

KNOWN = (
    (b"PAR1", "a Parquet file without its extension"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
    (b"\xfd7zXZ", "an xz file"),
    (b"BZh", "a bzip2 file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"SQLite format 3", "a database"),
)


def format_of(name: str, head: bytes) -> str:
    """The format of a file with this name and these first bytes (after decompression).

    Raises Refused("unknown format") for what is known and not read yet, Refused("binary").
    """
    name = name.rpartition("/")[2].lower()
    stem, dot, extension = name.rpartition(".")
    extension = dot + extension if stem else ""
    form = "code" if name in LANGUAGES else EXTENSIONS.get(extension)
    if form is None and extension in LANGUAGES:
        form = "code"
    if form == "parquet":
        return form
    if form is None and extension:
        if extension in UNREAD:
            raise Refused("unknown format", f"{UNREAD[extension]} is not read yet")
        outside = extension[1:]
        if outside not in FORMATS and outside in names("format", FORMATS):
            return outside
    told = magic_of(head)
    if told == "office":
        raise Refused("unknown format", "an office document is not read yet")
    if told is not None:
        return told
    for magic, what in KNOWN:
        if head.startswith(magic):
            raise Refused("unknown format", f"{what} is not read yet")
    if form == "pdf" and PDF in head[:PDF_WITHIN]:
        return form
    if mark_of(head)[0] is None and b"\0" in head[:TEXT_BYTES]:
        raise Refused("binary", "holds NUL bytes")
    if form in ("pdf", "zip", "tar"):
        raise Refused("damaged", f"does not begin as a {form.upper()} file does")
    if form == "json" and _holds_lines(head):
        return "jsonl"
    if form is not None:
        return form
    return "html" if looks_like_html(decode(head[:4096])[0]) else "text"


def _holds_lines(head: bytes) -> bool:
    """Whether the first line of a .json file is an object of its own, and others follow."""
    first, end, rest = head.partition(b"\n")
    if not end or not rest.strip() or not first.lstrip(b"\xef\xbb\xbf").startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(decode(first)[0]), dict)
    except (ValueError, RecursionError):
        return False
