"""A seeded mutator, and small seeds for every parser of foreign bytes. All seeds are made here.

python tests/hostile/fuzz.py SECONDS [FOLDER]      look for longer, keep what breaks a parser
"""

import gzip
import hashlib
import random
import sys
import tempfile
import time
import zlib
from pathlib import Path

import zstandard

from tilth.documents.document import Document, Problem
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit
from tilth.testing import hostile_files as made

TEXT = "Words of a good text, with caf\xe9 and \u65e5\u672c.\n".encode()
PAGE = b"<html><head><title>t</title></head><body><p>A page<table><tr><td>a<td>b</table></body>"
RECORDS = b'{"text": "one", "n": 1}\n{"text": "two \\ud83d\\udc0c", "list": [1, {"a": null}]}\n'
ROWS = b'text,n,note\n"one, quoted",1,a\n"two\nlines",2,"b ""c"""\nthree,3,\n'
_BLOCKS = b"BT /F 12 Tf 20 200 Td (Words on a page) Tj 0 -20 Td <48656C6C6F> Tj ET"
PDF = made.pdf(made.pdf_page(_BLOCKS))
PACKED_PDF = made.pdf(made.pdf_page(zlib.compress(_BLOCKS), b" /Filter /FlateDecode"))
_HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
_RESPONSE = made.warc_record(
    _HTTP + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE), PAGE),
    kind="response",
)
_ZIPPED = made.warc_record(
    _HTTP + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(PAGE, mtime=0), kind="response"
)
WARC = made.warc_record(TEXT) + _RESPONSE + _ZIPPED
ARC = (
    b"filedesc://a.arc 0.0.0.0 20140216012908 text/plain 67\n1 0 tilth\n"
    b"URL IP-address Archive-date Content-type Archive-length\n\n"
    b"http://a.example/ 1.2.3.4 20140216012908 text/html %d\n%s\n"
    % (len(_HTTP) + 2 + len(PAGE), _HTTP + b"\r\n" + PAGE)
)
MEMBERS = {"a.txt": TEXT, "b/c.csv": ROWS, "d.jsonl": RECORDS, "e.html": PAGE}

SEEDS = {
    "a.html": [PAGE, b"<p>a&amp;b<b>c</p><pre>\n d</pre>"],
    "a.pdf": [PDF, PACKED_PDF],
    "a.csv": [ROWS, b"text;n\r\nx;1\r\n", "text\tn\nx\ty\n".encode("utf-16")],
    "a.tsv": [b'id\ttext\n1\ta "quoted\n2\tb\n'],
    "a.jsonl": [RECORDS],
    "a.json": [b'[{"text": "a"}, {"text": "b", "metadata": {"c": 1}}]'],
    "a.warc": [WARC],
    "a.arc": [ARC],
    "a.warc.gz": [gzip.compress(made.warc_record(TEXT), mtime=0) * 2],
    "a.zip": [made.zipped(MEMBERS), made.zipped({"n.zip": made.zipped(MEMBERS)}, 0)],
    "a.tar": [made.tarred(MEMBERS), made.tarred({"n" * 120 + ".txt": TEXT})],
    "a.tar.gz": [gzip.compress(made.tarred(MEMBERS), mtime=0)],
    "a.txt.gz": [gzip.compress(TEXT * 3, mtime=0)],
    "a.txt.zst": [zstandard.ZstdCompressor(write_checksum=True).compress(TEXT * 3)],
    "a.txt": [TEXT, TEXT.decode().encode("utf-16"), TEXT.decode().encode("cp1252", "replace")],
}
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """The seed with one to four of: flipped bits, other numbers, cuts, copies, repeats, digits."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        size = chance.randint(1, 40)
        kind = chance.randrange(8)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            width = chance.choice((1, 2, 4))
            number = chance.choice(_NUMBERS) & (256**width - 1)
            data[at : at + width] = number.to_bytes(width, chance.choice(("little", "big")))
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size] * chance.randint(1, 50)
        elif kind == 4:
            other = chance.randrange(len(data) + 1)
            data[at:at] = data[other : other + size]
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            data[at : at + size] = chance.randbytes(size)
        else:
            places = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
            if places:
                place = chance.choice(places)
                data[place : place + 1] = chance.choice((b"-1", b"9" * 12, b"0", b"", b"7"))
    return bytes(data)


def check(path: Path) -> list[Document | Problem]:
    """What a file gives: documents that Arrow can hold, and problems with reasons."""
    units, problems = plan([path])
    found = [*problems, *(entry for unit in units for entry in read_unit(unit))]
    for entry in found:
        if isinstance(entry, Document):
            entry.text.encode("utf-8")
            assert entry.text.strip() and entry.id and str(path.parent) not in entry.source
        else:
            assert entry.reason and str(path.parent) not in entry.detail
    ids = [entry.id for entry in found if isinstance(entry, Document)]
    assert len(set(ids)) == len(ids)
    assert found, "neither a document nor a problem"
    return found


def main(seconds: float, keep: Path | None) -> None:
    end, count, slow = time.time() + seconds, 0, 0.0
    chance = random.Random(time.time_ns())
    with tempfile.TemporaryDirectory() as folder:
        while time.time() < end:
            name = chance.choice(list(SEEDS))
            data = mutated(chance.choice(SEEDS[name]), chance)
            path = Path(folder) / name
            path.write_bytes(data)
            count += 1
            started = time.process_time()
            bad = ""
            try:
                for entry in check(path):
                    if isinstance(entry, Problem) and (
                        entry.reason == "parser limit" or "Error: " in entry.detail
                    ):
                        bad = f"{entry.reason}: {entry.detail}"
            except Exception as error:
                bad = f"RAISED {type(error).__name__}: {error}"
            slow = max(slow, time.process_time() - started)
            if bad:
                print(name, bad[:200])
                if keep is not None:
                    digest = hashlib.sha256(data).hexdigest()[:8]
                    stem, _, ending = name.partition(".")
                    (keep / f"{stem}-{digest}.{ending}").write_bytes(data)
    print(count, "files; the slowest took", round(slow, 2), "CPU seconds of this process")


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
