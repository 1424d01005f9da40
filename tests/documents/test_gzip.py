"""gzip: read while it is unpacked; damage and bombs cost the file, what was whole before stays."""

import gzip
import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tilth.documents.formats import common


def test_any_format_may_be_packed(read):
    files = {
        "a.txt.gz": gzip.compress(b"text"),
        "b.md.gz": gzip.compress(b"# Title\n"),
        "c.html.gz": gzip.compress(b"<p>page"),
        "d.jsonl.gz": gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'),
        "e.py.gz": gzip.compress(b"x = 1"),
        "f.gz": gzip.compress(b"<html><p>sniffed"),
        "g.json.gz": gzip.compress(b'{"text": "l1"}\n{"text": "l2"}'),
        "packed": gzip.compress(b"no ending"),
        "two.txt.gz": gzip.compress(b"first ") + gzip.compress(b"second"),
        "not.md.gz": b"was never packed",
    }
    result = read(files)
    assert result.problems == []
    found = {}
    for d in result.documents:
        found.setdefault(d.source[3:], []).append((d.text, d.format))
    assert found == {
        "a.txt.gz": [("text", "text")],
        "b.md.gz": [("# Title\n", "markdown")],
        "c.html.gz": [("page", "html")],
        "d.jsonl.gz": [("one", "record"), ("two", "record")],
        "e.py.gz": [("x = 1", "code")],
        "f.gz": [("sniffed", "html")],
        "g.json.gz": [("l1", "record"), ("l2", "record")],
        "packed": [("no ending", "text")],
        "two.txt.gz": [("first second", "text")],
        "not.md.gz": [("was never packed", "markdown")],
    }
    code = next(d for d in result.documents if d.format == "code")
    assert code.metadata == {"language_of_code": "python"}


def records(count):
    return b"".join(
        json.dumps({"text": f"line {number} {number**7 % 1009}"}).encode() + b"\n"
        for number in range(count)
    )


def test_a_packed_file_gives_the_documents_of_the_same_file_unpacked(read):
    data = records(300)
    plain = read({"a.jsonl": data}, part_bytes=500)
    packed = read({"a.jsonl.gz": gzip.compress(data)}, include=["*.gz"])
    assert [(d.text, d.position) for d in packed.documents] == [
        (d.text, d.position) for d in plain.documents
    ]
    assert len(packed.units) == 1 < len(plain.units)


@pytest.mark.parametrize("keep", [1, 5, 19, 0.5, 0.999])
def test_a_cut_text_is_damaged_as_a_whole(refuse_one, keep):
    data = gzip.compress(records(100))
    size = keep if isinstance(keep, int) else int(len(data) * keep)
    problem = refuse_one("a.txt.gz", data[: max(size, 2)])
    assert problem.reason == "damaged"


def test_lines_before_the_damage_are_kept(read):
    data = gzip.compress(records(6_000))
    result = read({"a.jsonl.gz": data[: len(data) // 2]})
    (problem,) = result.problems
    assert problem.reason == "damaged" and len(result.documents) > 1000
    assert result.documents[-1].text.startswith(f"line {len(result.documents) - 1} ")


def test_a_wrong_checksum_is_damage(refuse_one):
    data = bytearray(gzip.compress(b"some text"))
    data[-5] ^= 1
    assert refuse_one("a.txt.gz", bytes(data)).reason == "damaged"


def test_rubbish_behind_the_end_is_damage(refuse_one):
    assert refuse_one("a.txt.gz", gzip.compress(b"text") + b"rubbish").reason == "damaged"


def test_empty_and_odd_content(read):
    table = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a"]}), table)
    files = {
        "a.txt.gz": gzip.compress(b""),
        "b.tar.gz": gzip.compress(b"name\0\0\0" * 100),
        "c.parquet.gz": gzip.compress(table.getvalue().to_pybytes()),
        "d.pdf.gz": gzip.compress(b"%PDF-1.4"),
        "e.txt.gz": gzip.compress(gzip.compress(b"twice \0")),
    }
    result = read(files)
    assert [p.reason for p in result.problems] == [
        "empty", "binary", "unknown format", "binary", "damaged",
    ]  # fmt: skip
    assert result.documents == []


def test_a_bomb_is_refused_while_it_is_read(refuse_one, monkeypatch):
    monkeypatch.setattr(common, "FREE_BYTES", 1000)
    data = gzip.compress(b"a" * 5_000_000)
    assert len(data) * common.MAX_RATIO < 5_000_000
    problem = refuse_one("a.txt.gz", data)
    assert problem.reason == "too large" and "gzip" in problem.detail


def test_a_bomb_of_lines_is_refused_too(read, monkeypatch):
    monkeypatch.setattr(common, "FREE_BYTES", 1000)
    result = read({"a.jsonl.gz": gzip.compress(b'{"text": "' + b"a" * 50_000 + b'"}\n' * 10)})
    assert [p.reason for p in result.problems] == ["too large"] and result.documents == []


def test_a_large_text_is_refused_whatever_its_ratio(refuse_one):
    problem = refuse_one("a.txt.gz", gzip.compress(b"ab" * 501), max_document_bytes=1000)
    assert problem.reason == "too large"


def test_the_limit_on_documents_is_none_on_a_file_of_lines(read):
    rows = b"".join(b'{"text": "%s"}\n' % hashlib.sha256(b"%d" % n).hexdigest().encode()
                    for n in range(50))  # fmt: skip
    data = gzip.compress(rows)
    assert len(data) > 1000
    result = read({"a.jsonl.gz": data, "b.json.gz": data}, max_document_bytes=1000)
    assert result.problems == [] and len(result.documents) == 100
