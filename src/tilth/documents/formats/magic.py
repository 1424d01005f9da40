"""Formats that say by their first bytes what they are. Light: the children use it too."""

from __future__ import annotations

import re

ZIP = (b"PK\x03\x04", b"PK\x05\x06")
PDF = b"%PDF-"
# Some programs write a line of their own in front.
PDF_WITHIN = 1024
TAR_BLOCK = 512
_OFFICE = (b"[Content_Types].xml", b"_rels/", b"mimetype", b"word/", b"xl/", b"ppt/")


def magic_of(head: bytes) -> str | None:
    """`pdf`, `zip`, `office`, `tar`, `warc`, or None where the first bytes do not say."""
    if head.startswith(PDF):
        return "pdf"
    if head.startswith(ZIP):
        # Office documents are archives whose first member tells what they are.
        return "office" if head[30:60].startswith(_OFFICE) else "zip"
    if head.startswith((b"WARC/1.", b"WARC/0.", b"filedesc://")):
        return "warc"
    return "tar" if is_tar(head) else None


def is_tar(head: bytes) -> bool:
    """Whether the first block is the header of a tar archive: its checksum says so."""
    block = head[:TAR_BLOCK]
    if len(block) < TAR_BLOCK:
        return False
    try:
        told = int(block[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    rest = block[:148] + b" " * 8 + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest)
    return told in (sum(rest), signed)


# Atomic, so that no choice of where a comment ends is tried twice.
_HTML_START = re.compile(
    r"(?>\s+|\ufeff|<\?xml[^>]{0,200}>|<!--.*?-->)*+<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)


def looks_like_html(text: str) -> bool:
    """Whether a text begins as a whole page does; a fragment is not taken for a page."""
    return _HTML_START.match(text[:4096]) is not None
