"""WARC and ARC: one frame a record that holds text. Framing here, headers and payload by warcio.

A record begins with a line `WARC/1.0` (ARC: a line of five fields), tells the length of its
content, and blank lines follow. Where the length is a lie, the content is what stands in front of
the next line that begins a record, and the lie is listed. Formats: ISO 28500; ARC, version 1.

`response` and `resource` records give a page, a text or a PDF file; `conversion` records (WET) give
their text. Records of other types, and payloads of other kinds, are counted.
"""

from __future__ import annotations

import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from tilth.documents.containers.frames import Frame
from tilth.documents.formats import common
from tilth.documents.formats.common import Refused
from tilth.documents.formats.compression import GZIP
from tilth.documents.formats.decode import decode
from tilth.documents.formats.magic import PDF, looks_like_html

if TYPE_CHECKING:
    from warcio.recordloader import ArcWarcRecord

LONGEST_LINE = 1 << 16
LONGEST_HEADER = 1 << 20
_WARC = re.compile(rb"WARC/[01]\.\d+\s*$")
_ARC = re.compile(rb"(?:filedesc|[a-z][a-z0-9+.-]*):\S.* \S+ \d{8,17} \S* \d+\s*$")
_LENGTH = re.compile(
    rb"^content-length[ \t]*:[ \t]*(\d{1,18})[ \t\r]*$", re.IGNORECASE | re.MULTILINE
)
# A record inside another one's content: its length told too much.
_NEXT = re.compile(rb"\r?\n\r?\nWARC/[01]\.\d+\r?\n(?=WARC-)")
_HTML = ("text/html", "application/xhtml+xml")
_TEXT = ("text/plain", "text/markdown")
_WITH_TEXT = ("response", "resource", "conversion")
_CHUNK = 1 << 18
_CHUNK_HEAD = re.compile(rb"[0-9a-fA-F]{1,8}[ \t]*(;[^\r\n]*)?\r\n")


class _Lines:
    """A stream of lines and bytes that can take bytes back, and knows how far it is."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._back = stream, b""
        self.position = 0

    def line(self) -> bytes:
        """The next line, or so much of it as is allowed."""
        if self._back:
            line, end, self._back = self._back.partition(b"\n")
            line += end
            if not end:
                line += self._stream.readline(LONGEST_LINE)
        else:
            line = self._stream.readline(LONGEST_LINE)
        self.position += len(line)
        return line

    def read(self, size: int) -> bytes:
        data, self._back = self._back[:size], self._back[size:]
        if len(data) < size:
            data += self._stream.read(size - len(data))
        self.position += len(data)
        return data

    def give_back(self, data: bytes) -> None:
        self._back = data + self._back
        self.position -= len(data)


def records(job: dict[str, Any], stream: BinaryIO) -> Iterator[Frame | None]:
    """Frames of all records; their position is their number in the file, from 0."""
    lines, limit = _Lines(stream), job["max_document_bytes"]
    counts: Counter[str] = Counter()
    kinds: tuple[re.Pattern[bytes], ...] = (_WARC, _ARC)
    number = strays = 0
    try:
        while line := lines.line():
            if not any(begins.match(line) for begins in kinds):
                if line.strip():
                    strays += len(line)
                continue
            if strays:
                yield _problem(number, f"{strays} bytes in front of it belong to no record")
                strays = 0
            try:
                record, odd = _read(lines, line, limit)
                if odd:
                    yield _problem(number, odd)
                yield _frame(record, number, counts, limit)
            except Refused as refused:
                yield _problem(number, refused.detail, refused.reason)
            except _OfTheLibrary as error:
                yield _problem(number, f"{type(error).__name__}: {error}"[:300])
            # A line of text may look like the beginning of an ARC record.
            kinds = (_WARC,) if line.startswith(b"WARC/") else kinds
            number += 1
    except Refused as refused:  # of the stream: the archive breaks off
        yield _problem(number, f"{refused.detail}; what follows was not read", refused.reason)
    if strays:
        yield _problem(number, f"{strays} bytes at the end belong to no record")
    if not number:
        raise Refused("damaged", "holds no record")
    if counts:
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        yield _problem(0, told, "no text")


_OfTheLibrary = (ValueError, KeyError, IndexError, AttributeError, TypeError, EOFError)


def _problem(number: int, detail: str, reason: str = "damaged") -> Frame:
    if reason != "no text":
        detail = f"record {number + 1}: {detail}"
    return {"kind": "problem", "reason": reason, "detail": detail, "position": number}, b""


def _read(lines: _Lines, first: bytes, limit: int) -> tuple[ArcWarcRecord, str]:
    """(the record that begins with this line, what is odd about it).

    Raises Refused where it is broken or too large.
    """
    from warcio.recordloader import ArcWarcRecordLoader

    begins = _WARC if first.startswith(b"WARC/") else _ARC
    header, length = _header(lines, first)
    block = lines.read(min(length, limit + 1))
    inner = _NEXT.search(block)
    if len(block) > limit and inner is None:
        _skip(lines, length - len(block))
        raise Refused("too large", f"more than {limit} bytes")
    odd = ""
    is_short = len(block) < length
    if is_short or not _ends_here(lines, begins):
        odd = f"its Content-Length {length} is wrong"
        if inner is not None:  # too long: what was taken for content holds records
            lines.give_back(block[inner.start() :])
            block = block[: inner.start()]
        elif is_short:
            raise Refused("damaged", f"{odd}: the file ends {length - len(block)} bytes earlier")
        else:
            block += _up_to_next(lines, begins, limit)
        length = len(block)
        if begins is _WARC:
            header = _LENGTH.sub(b"Content-Length: %d\r" % length, header, count=1)
        else:
            header = header[: header.rindex(b" ")] + b" %d\n" % length
    loader = ArcWarcRecordLoader(verify_http=False, arc2warc=True)
    known = "warc" if begins is _WARC else "arc"
    try:
        record = loader.parse_record_stream(io.BytesIO(header + block), known_format=known)
    except AttributeError:  # the library looks into an address that is not there
        raise Refused("damaged", "tells no WARC-Target-URI") from None
    if begins is _ARC:
        # ARC files have none: the library makes one up, another one each time.
        record.rec_headers.remove_header("WARC-Record-ID")
    return record, odd


def _header(lines: _Lines, first: bytes) -> tuple[bytes, int]:
    """(the record's header with its blank line, the length of the content that it tells)."""
    if not first.startswith(b"WARC/"):
        return first, int(first.split()[-1])
    found, size = [first], 0
    while line := lines.line():
        found.append(line)
        size += len(line)
        if not line.strip():
            break
        if size > LONGEST_HEADER:
            raise Refused("damaged", "a header of more than a megabyte")
    header = b"".join(found)
    told = _LENGTH.search(header)
    if told is None:
        raise Refused("damaged", "tells no Content-Length")
    return header, int(told[1])


def _up_to_next(lines: _Lines, begins: re.Pattern[bytes], limit: int) -> bytes:
    """What stands in front of the next record."""
    found: list[bytes] = []
    size = 0
    while line := lines.line():
        if begins.match(line):
            lines.give_back(line)
            break
        size += len(line)
        if size > limit:
            raise Refused("too large", f"more than {limit} bytes before the next record")
        found.append(line)
    return b"".join(found).rstrip(b"\r\n")


def _skip(lines: _Lines, size: int) -> None:
    while size > 0 and (data := lines.read(min(size, _CHUNK))):
        size -= len(data)


def _ends_here(lines: _Lines, begins: re.Pattern[bytes]) -> bool:
    """Whether a record ends here: a blank line, the next record, or the end of the file."""
    line = lines.line()
    lines.give_back(line)
    return not line.strip() or begins.match(line) is not None


def _frame(record: ArcWarcRecord, number: int, counts: Counter[str], limit: int) -> Frame | None:
    """What the record gives, or None where it is only counted."""
    headers, http = record.rec_headers, record.http_headers
    if record.rec_type not in _WITH_TEXT:
        counts[f"{record.rec_type or 'unknown'} records"[:60]] += 1
        return None
    payload = _payload(record, limit)
    told = (http.get_header("Content-Type") if http else None) or ""
    if http is None and record.rec_type != "response":
        told = record.content_type or ""
    mime, _, parameters = told.partition(";")
    mime = mime.strip().lower()
    kind = "text" if record.rec_type == "conversion" else _kind(mime, payload)
    if kind is None:
        counts[f"{mime or 'unknown'} payloads"[:60]] += 1
        return None
    charset = re.search(r"charset\s*=\s*[\"']?([\w.:-]{2,40})", parameters, re.IGNORECASE)
    found = {
        "url": headers.get_header("WARC-Target-URI"),
        "date": headers.get_header("WARC-Date"),
        "warc_id": headers.get_header("WARC-Record-ID"),
        "status": _status(http),
        "declared_language": headers.get_header("WARC-Identified-Content-Language"),
    }
    return {
        "kind": "record", "position": number, "content": kind,
        "charset": charset[1] if charset else None,
        "metadata": {key: value for key, value in found.items() if value},
    }, payload  # fmt: skip


def _payload(record: ArcWarcRecord, limit: int) -> bytes:
    """The content without transfer and content encodings, where they are what they say.

    Some archives keep the headers of encodings that they have taken off.
    """
    from warcio.bufferedreaders import ChunkedDataException, ChunkedDataReader

    data: bytes = record.raw_stream.read() if record.length else b""
    http = record.http_headers
    if not http or not data:
        return data
    if (http.get_header("Transfer-Encoding") or "").strip().lower() == "chunked":
        try:
            data = ChunkedDataReader(io.BytesIO(data), raise_exceptions=True).read()
        except ChunkedDataException:
            if _CHUNK_HEAD.match(data):
                raise Refused("damaged", "its chunks break off") from None
    coding = (http.get_header("Content-Encoding") or "identity").strip().lower()
    if coding == "identity":
        return data
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Refused("unknown format", f"content encoding {coding[:40]!r}")
    return _inflated(data, limit)


def _inflated(data: bytes, limit: int) -> bytes:
    limit = min(limit, max(common.FREE_BYTES, common.MAX_RATIO * len(data)))
    for bits in (47, -15):  # with a header of gzip or zlib, without any
        unpacker = zlib.decompressobj(bits)
        try:
            content = unpacker.decompress(data, limit + 1)
        except zlib.error:
            continue
        if len(content) > limit:
            raise Refused("too large", f"unpacks to more than {limit} bytes")
        if not unpacker.eof:
            raise Refused("damaged", "its compressed content breaks off")
        return content
    if data.startswith(GZIP):
        raise Refused("damaged", "its compressed content is damaged")
    return data


def _status(http: Any) -> int | None:
    """The HTTP status, unless it is 200."""
    code = http.get_statuscode() if http else ""
    return int(code) if code and code.isdigit() and code != "200" else None


def _kind(mime: str, payload: bytes) -> str | None:
    if mime in _HTML:
        return "html"
    if mime == "application/pdf" or payload.startswith(PDF):
        return "pdf"
    if mime in _TEXT:
        return "html" if looks_like_html(decode(payload[:4096])[0]) else "text"
    if not mime and looks_like_html(decode(payload[:4096])[0]):
        return "html"
    return None
