"""Files that break careless readers, made on the spot: bombs, liars, loops, cut and endless files.

    known = write_files(folder)      # {"bombs/flat.zip": "too large", "a.txt": "read", ...}

Deterministic. Some are gigabytes long for whoever reads them and hold almost nothing on disk.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

# What a file that can be read is listed with.
READ = "read"
GOOD = "A good neighbour is read, whatever stands beside it.\n"
_TIME = (1980, 1, 1, 0, 0, 0)


def write_files(folder: str | Path) -> dict[str, str]:
    """Write all of them below the folder; returns {path below it: the reason it is listed with}.

    It is the reason of one of the Problems of the file or of its members; `READ` where it has none
    and its text is read. A file that nobody may open is read where root reads it.
    """
    folder = Path(folder)
    known: dict[str, str] = {}
    for group in (_bombs, _archives, _portable, _web_archives, _texts):
        for name, (data, reason) in group().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            known[name] = reason
    known.update(_long(folder))
    known.update(_special(folder))
    for name in ("a.txt", "bombs/good.txt", "zz.txt"):
        (folder / name).write_text(GOOD)
        known[name] = READ
    return known


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data, compression)
    return out.getvalue()


def tarred(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar archive; a TarInfo stands for a member without content: a link, a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                archive.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def overlapping(count: int, size: int) -> bytes:
    """A ZIP archive whose table names the same compressed bytes again and again."""
    one = zipped({"same.txt": b"a" * size})
    table = one.index(b"PK\1\2")
    end = one.index(b"PK\5\6")
    entry = one[table:end]
    return (
        one[:table]
        + entry * count
        + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(entry) * count, table, 0)
    )


def _bombs() -> dict[str, tuple[bytes, str]]:
    blank = b" " * 10_000_000
    nest = zipped({f"{n}.txt": b"a" * 5_000_000 for n in range(5)})
    for _ in range(3):
        nest = zipped({f"{n}.zip": nest for n in range(10)})
    deep = zipped({"text.txt": GOOD.encode()})
    for _ in range(12):
        deep = zipped({"again.zip": deep})
    return {
        "bombs/flat.zip": (zipped({"a.txt": blank * 6, "b.txt": GOOD.encode()}), "too large"),
        "bombs/nested.zip": (nest, "too large"),
        "bombs/endless.zip": (deep, "parser limit"),
        "bombs/overlap.zip": (overlapping(500, 10_000_000), "too large"),
        "bombs/flat.tar.gz": (gzip.compress(tarred({"a.txt": blank * 6}), mtime=0), "too large"),
        "bombs/flat.txt.gz": (gzip.compress(blank * 6, mtime=0), "too large"),
        "bombs/twice.txt.gz": (gzip.compress(gzip.compress(blank, mtime=0), mtime=0), "binary"),
        "bombs/rows.csv.gz": (
            gzip.compress(b"text\n" + (b"x" * 999 + b"\n") * 40_000, mtime=0),
            "too large",
        ),
        "bombs/page.html": (b"<b>" * 100_000 + b"deep", "parser limit"),
    }


def _archives() -> dict[str, tuple[bytes, str]]:
    good = {"good.txt": GOOD.encode()}
    names = ("../../up.txt", "/etc/passwd", "C:\\x.txt", "a/../../b.txt", "..\\up.txt")
    slips = {name: b"must lie nowhere" for name in names}
    odd = {}
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        info = tarfile.TarInfo(f"odd{kind.decode()}")
        info.type, info.linkname = kind, "/etc/passwd"
        odd[info.name] = info
    hole = tarfile.TarInfo("hole.txt")
    hole.size = 512
    hole.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole.txt",
        "GNU.sparse.realsize": str(10**13),
    }  # fmt: skip
    holes = io.BytesIO()
    with tarfile.open(fileobj=holes, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(hole, io.BytesIO(b"0\n".ljust(512, b"\0")))
    locked = bytearray(zipped({"secret.txt": b"text"}, zipfile.ZIP_STORED))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    broken = bytearray(zipped({"a.txt": b"broken text", **good}, zipfile.ZIP_STORED))
    broken[broken.index(b"broken")] ^= 1
    tar = tarred({"a.txt": GOOD.encode() * 100, **good})
    torn = bytearray(tarred({"a.txt": GOOD.encode(), **good}))
    torn[1024 + 20] ^= 1
    return {
        "archives/slip.zip": (zipped({**slips, **good}), "unsafe name"),
        "archives/slip.tar": (tarred({**slips, **good}), "unsafe name"),
        "archives/odd.tar": (tarred({**odd, **good}), "link"),
        "archives/hole.tar": (holes.getvalue(), "too large"),
        "archives/locked.zip": (bytes(locked), "encrypted"),
        "archives/checksum.zip": (bytes(broken), "damaged"),
        "archives/cut.zip": (zipped(good)[:-30], "damaged"),
        "archives/cut.tar": (tar[:2000], "damaged"),
        "archives/torn.tar": (bytes(torn), "damaged"),
        "archives/cut.tar.gz": (gzip.compress(tar, mtime=0)[:-20], "damaged"),
        "archives/same.zip": (_same_names(), READ),
    }


def _same_names() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, name in enumerate(("bbbbbb.txt", "cccccc.txt")):
            archive.writestr(zipfile.ZipInfo(name, _TIME), f"{GOOD}{number}")
    return out.getvalue().replace(b"cccccc.txt", b"bbbbbb.txt")


def pdf(objects: Mapping[int, bytes], root: int = 1, prev: int | None = None) -> bytes:
    """A PDF file of these objects, with a table of where they stand."""
    out = b"%PDF-1.7\n"
    places = {}
    for number, body in objects.items():
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 1\n0000000000 65535 f \n"
    for number, place in places.items():
        out += b"%d 1\n%010d 00000 n \n" % (number, place)
    back = b"" if prev is None else b" /Prev %d" % prev
    size = max(objects) + 1
    return out + b"trailer\n<< /Size %d /Root %d 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (
        size, root, back, start,
    )  # fmt: skip


def pdf_page(content: bytes, extra: bytes = b"") -> dict[int, bytes]:
    """The objects of a file with one page of this content stream."""
    return {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R "
        b"/Resources << /Font << /F 5 0 R >> >> >>",
        4: b"<< /Length %d%s >>\nstream\n%s\nendstream" % (len(content), extra, content),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }


def _portable() -> dict[str, tuple[bytes, str]]:
    page = pdf_page(b"BT /F 12 Tf 20 200 Td (A page of words) Tj ET")
    kids = {number: b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (number + 1)
            for number in range(10, 3000)}  # fmt: skip
    form = (
        b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 6 0 R >> "
    )
    loop = {**page, 6: form + b">> /Length 5 >>\nstream\n/X Do\nendstream"}
    loop[3] = loop[3].replace(b"/Resources <<", b"/Resources << /XObject << /X 6 0 R >>")
    loop[4] = pdf_page(b"/X Do")[4]
    blanks = zlib.compress(b" " * 60_000_000, 9)
    liar = {**page, 4: page[4].replace(b"/Length 45", b"/Length 999999999999")}
    whole = pdf(page)
    return {
        "pdf/good.pdf": (whole, READ),
        "pdf/no_text.pdf": (pdf(pdf_page(b"0 0 9 9 re f")), "no text layer"),
        "pdf/own_child.pdf": (
            pdf({**page, 2: b"<< /Type /Pages /Kids [2 0 R] /Count 999999999 >>"}),
            "damaged",
        ),
        "pdf/deep.pdf": (
            pdf({**page, 2: b"<< /Type /Pages /Kids [10 0 R] /Count 1 >>", **kids,
                 3000: page[3]}),
            "damaged",
        ),
        "pdf/form_in_itself.pdf": (pdf(loop), "no text layer"),
        "pdf/table_in_itself.pdf": (pdf(page, prev=whole.index(b"xref\n0")), READ),
        "pdf/giant_stream.pdf": (pdf(liar), READ),
        "pdf/blank_bomb.pdf": (pdf(pdf_page(blanks, b" /Filter /FlateDecode")), "no text layer"),
        "pdf/no_pages.pdf": (
            pdf({**page, 2: b"<< /Type /Pages /Kids [] /Count 0 >>"}), "damaged",
        ),
        "pdf/cut.pdf": (whole[: len(whole) // 3], "damaged"),
        "pdf/only_a_name.pdf": (b"words", "damaged"),
    }  # fmt: skip


def warc_record(text: bytes, length: int | None = None, kind: str = "conversion") -> bytes:
    """One record of a web archive; `length` may be a lie."""
    told = len(text) if length is None else length
    return (
        (
            f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: http://a.example/\r\n"
            f"WARC-Record-ID: <urn:uuid:0>\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {told}\r\n\r\n"
        ).encode()
        + text
        + b"\r\n\r\n"
    )


def _web_archives() -> dict[str, tuple[bytes, str]]:
    good = warc_record(GOOD.encode())
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
    bomb = warc_record(page + gzip.compress(b" " * 60_000_000, mtime=0), kind="response")
    bomb = bomb.replace(b"Content-Type: text/plain", b"Content-Type: application/http")
    return {
        "warc/too_short.warc": (warc_record(GOOD.encode(), 10) + good, "damaged"),
        "warc/too_long.warc": (warc_record(GOOD.encode(), 300) + good * 3, "damaged"),
        "warc/past_the_end.warc": (good + warc_record(GOOD.encode(), 10**15), "damaged"),
        "warc/no_number.warc": (good.replace(b"Length: 5", b"Length: x") + good, "damaged"),
        "warc/rubbish.warc": (b"WARC/1.0 or so\n" * 100, "damaged"),
        "warc/endless_header.warc": (b"WARC/1.0\r\n" + b"A: b\r\n" * 300_000, "damaged"),
        "warc/bomb.warc": (bomb + good, "too large"),
        "warc/cut.warc.gz": (gzip.compress(good * 2, mtime=0)[:-12], "damaged"),
    }


def _texts() -> dict[str, tuple[bytes, str]]:
    import zstandard

    record = b'{"text": "a good line"}\n'
    packed = zstandard.ZstdCompressor().compress(GOOD.encode() * 1000)
    bomb = zstandard.ZstdCompressor().compress(b" " * 100_000_000)
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=31)
    ).compressobj()
    wide_bytes = wide.compress(GOOD.encode()) + wide.flush()
    return {
        "texts/surrogates.jsonl": (rb'{"text": "a lone \ud800 half"}' + b"\n", READ),
        "texts/deep.jsonl": (b'{"text": ' + b"[" * 200_000 + b"\n" + record, "damaged"),
        "texts/utf-16.jsonl": (record.decode().encode("utf-16"), "encoding"),
        "texts/utf-16-unmarked.txt": (GOOD.encode("utf-16-le"), "binary"),
        "texts/nul.txt": (b"words\0words", "binary"),
        "texts/latin.txt": ("caf\xe9 cr\xe8me\n".encode("cp1252"), READ),
        "texts/cut-utf-8.txt": ("caf\xe9 \u65e5\u672c".encode()[:-1], READ),
        "texts/empty.txt": (b"", "empty"),
        "texts/blank.md": (b" \n\n", "empty"),
        "texts/cut.txt.gz": (gzip.compress(GOOD.encode() * 100, mtime=0)[:-9], "damaged"),
        "texts/cut.txt.zst": (packed[:-5], "damaged"),
        "texts/bomb.txt.zst": (bomb, "too large"),
        "texts/window.txt.zst": (wide_bytes, "damaged"),
        "texts/ragged.csv": (b"text,n\nwell,1\nshort\nlong,2,3,4\n", "damaged"),
        "texts/open_quote.csv": (b'text,n\n"never closed,1\nwell,2\n', READ),
        "texts/no_header.csv": (b"1,2\n3,4\n", "no text column"),
    }


def _sparse(path: Path, head: bytes, size: int, tail: bytes) -> None:
    """A file that ends with `tail`, with a hole of zeros in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(head)
        file.seek(size - len(tail))
        file.write(tail)


def _long(folder: Path) -> dict[str, str]:
    record = json.dumps({"text": GOOD}).encode() + b"\n"
    words = b"word " * 20_000
    _sparse(folder / "long/line.jsonl", record + b'{"text": "' + words, 1 << 30, b"\n" + record)
    _sparse(folder / "long/line.txt", words, 1 << 30, b"\n")
    field = b'text,n\nwell,1\n"' + words
    _sparse(folder / "long/field.csv", field, 100_000_000, b'",2\nwell too,3\n')
    return {"long/line.jsonl": "too large", "long/line.txt": "too large",
            "long/field.csv": "too large"}  # fmt: skip


def _special(folder: Path) -> dict[str, str]:
    (folder / "special").mkdir(exist_ok=True)
    (folder / "special/loop").symlink_to(folder, target_is_directory=True)
    (folder / "special/itself").symlink_to("itself")
    os.mkfifo(folder / "special/pipe")
    known = {"special/loop": "link", "special/itself": "link", "special/pipe": "special file"}
    closed = folder / "special/closed.txt"
    closed.write_text(GOOD)
    closed.chmod(stat.S_IWUSR)
    # Root reads it all the same.
    known["special/closed.txt"] = READ if os.access(closed, os.R_OK) else "unreadable"
    return known
