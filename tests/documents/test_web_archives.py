"""WARC, WET and ARC: records with text are documents, others are counted, lies are listed."""

import gzip

import pytest
import zstandard

from tilth.documents.inputs import plan
from tilth.store.cache import data_folders
from tilth.testing.hostile_files import pdf, pdf_page, warc_record

PAGE = "<html><title>T</title><p>Caf\xe9 and more".encode()


def response(body, headers="Content-Type: text/html; charset=utf-8", status="200 OK"):
    http = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode()
    return warc_record(http + body, kind="response")


def test_pages_and_texts_are_documents(read):
    data = warc_record(b"software: x", kind="warcinfo") + response(PAGE) + warc_record(b"Words.")
    result = read({"a.warc": data})
    page, words = result.documents
    assert (page.text, page.format, page.position) == ("Caf\xe9 and more", "html", 1)
    assert page.metadata == {
        "url": "http://a.example/", "warc_id": "<urn:uuid:0>", "title": "T",
    }  # fmt: skip
    assert (words.text, words.format, words.position) == ("Words.", "text", 2)
    assert page.group == "in/a.warc#1"
    (problem,) = result.problems
    assert (problem.reason, problem.detail) == ("no text", "1 warcinfo records")


def test_what_holds_no_text_is_counted(read):
    data = response(b"\x89PNG", "Content-Type: image/png") * 2 + response(
        b"{}", "Content-Type: a/b"
    )
    data += warc_record(b"x", kind="metadata") + response(b"no type", "X: y")
    (problem,) = read({"a.warc": data}).problems
    assert problem.detail == "1 a/b payloads, 2 image/png payloads, 1 metadata records, " + (
        "1 unknown payloads"
    )


def test_payloads_of_other_kinds(read):
    paper = pdf(pdf_page(b"BT /F 12 Tf 20 200 Td (A paper) Tj ET"))
    data = response(paper, "Content-Type: application/pdf") + response(
        b"words", "Content-Type: text/plain"
    )
    data += response(PAGE, "X: y") + response(b"<html><p>page", "Content-Type: text/plain")
    data += response(b"gone", "Content-Type: text/plain", "404 Not Found")
    result = read({"a.warc": data})
    assert [(d.text, d.format) for d in result.documents] == [
        ("A paper", "pdf"), ("words", "text"), ("Caf\xe9 and more", "html"), ("page", "html"),
        ("gone", "text"),
    ]  # fmt: skip
    assert result.documents[0].metadata["pages"] == [0]
    assert result.documents[-1].metadata["status"] == 404


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(PAGE, mtime=0), "Content-Encoding: gzip"),
        (PAGE, "Content-Encoding: gzip"),
        (b"5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (PAGE[:5], len(PAGE) - 5, PAGE[5:]),
         "Transfer-Encoding: chunked"),
        (PAGE, "Transfer-Encoding: chunked"),
        (PAGE, "Content-Encoding: identity"),
    ],
)  # fmt: skip
def test_encodings_are_taken_off_where_they_are_what_they_say(read, body, headers):
    (document,) = read({"a.warc": response(body, headers)}).documents
    assert document.text == "Caf\xe9 and more"


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (gzip.compress(PAGE, mtime=0)[:-9], "Content-Encoding: gzip", "damaged"),
        (b"ffff\r\n" + PAGE, "Transfer-Encoding: chunked", "damaged"),
        (PAGE, "Content-Encoding: br", "unknown format"),
        (b"", "Content-Type: text/html", "empty"),
    ],
)
def test_a_payload_that_breaks_off_costs_its_record(read, body, headers, reason):
    result = read({"a.warc": response(body, headers) + warc_record(b"well")})
    assert [d.text for d in result.documents] == ["well"]
    assert [(p.reason, p.position) for p in result.problems] == [(reason, 0)]


def test_the_charset_of_the_answer_decides(read):
    russian = "<html><p>\u041f\u0440\u0438\u0432\u0435\u0442".encode("koi8-r")
    data = response(russian, "Content-Type: text/html; charset=KOI8-R")
    data += response(
        "\u041f\u0440".encode("cp1251"), "Content-Type: text/plain; charset='windows-1251'"
    )
    first, second = read({"a.warc": data}).documents
    assert first.text == "\u041f\u0440\u0438\u0432\u0435\u0442" and second.text == "\u041f\u0440"
    assert first.metadata["encoding"] == "koi8-r" and second.metadata["encoding"] == "cp1251"


def test_a_wrong_length_is_listed_and_no_text_is_lost(read):
    words = b"First line.\r\n\r\nSecond line."
    after = warc_record(b"after")
    short = read({"a.warc": warc_record(words, 5) + after})
    assert [d.text for d in short.documents] == ["First line.\n\nSecond line.", "after"]
    long = read({"a.warc": warc_record(words, 90) + after * 2})
    assert [d.text for d in long.documents] == ["First line.\n\nSecond line.", "after", "after"]
    past = read({"a.warc": after + warc_record(words, 10**12) + after})
    assert [d.text for d in past.documents] == ["after", "First line.\n\nSecond line.", "after"]
    for result in (short, long, past):
        (problem,) = result.problems
        assert problem.reason == "damaged" and "is wrong" in problem.detail
    cut = read({"a.warc": after + warc_record(words)[:-12]})
    assert [d.text for d in cut.documents] == ["after"]
    assert [p.position for p in cut.problems] == [1]


@pytest.mark.parametrize("name", ["a.warc.gz", "b.warc.gz", "c.warc.zst", "a.wet", "noname"])
def test_compression_by_record_or_by_file(read, name):
    records = [warc_record(b"one"), warc_record(b"two")]
    data = {
        "a": b"".join(map(gzip.compress, records)),
        "b": gzip.compress(b"".join(records)),
        "c": zstandard.ZstdCompressor().compress(b"".join(records)),
    }.get(name[0] if "." in name else "", b"".join(records))
    if name == "a.wet":
        data = b"".join(records)
    result = read({name: data})
    assert [d.text for d in result.documents] == ["one", "two"] and result.problems == []


def test_arc(read):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    head = b"1 0 tilth\nURL IP-address Archive-date Content-type Archive-length\n\n"
    data = b"filedesc://a.arc 0.0.0.0 20140216012908 text/plain %d\n%s" % (len(head), head)
    one = b"http://a.example/ 1.2.3.4 20140216012908 text/html %d\n%s\n" % (len(http), http)
    packed = gzip.compress(data, mtime=0) + gzip.compress(one, mtime=0)
    result = read({"a.arc": data + one * 2, "b.arc.gz": packed})
    assert [d.text for d in result.documents] == ["Caf\xe9 and more"] * 3
    assert result.documents[0].metadata["url"] == "http://a.example/"
    assert result.documents[0].metadata["date"] == "2014-02-16T01:29:08Z"
    assert {p.reason for p in result.problems} == {"no text"}
    again = read({})
    assert again.documents == result.documents  # no identifier is made up


def test_real_files(read_everything):
    folder = next((f / "warc" for f in data_folders() if (f / "warc").is_dir()), None)
    if folder is None:
        pytest.skip("warc is in none of the data folders")
    result = read_everything(*plan([folder]))
    found = {}
    for document in result.documents:
        name = document.source.rpartition("/")[2]
        found[name] = found.get(name, 0) + 1
    listed = {p.source.rpartition("/")[2] for p in result.problems if p.reason == "damaged"}
    assert found["whirlwind.warc.gz"] == found["whirlwind.warc.wet.gz"] == 1
    assert found["example.warc"] == found["example.warc.gz"] == found["example.arc"] == 1
    # Packed as one file, which some readers refuse; chunks and lengths that are lies.
    assert found["example-bad-non-chunked.warc.gz"] == found["example-wrong-chunks.warc.gz"] == 1
    assert listed == {"bad.arc", "example-space-in-url.arc", "example-trunc.warc"}
    wet = next(d for d in result.documents if d.source.endswith("wet.gz"))
    page = next(d for d in result.documents if d.source.endswith("whirlwind.warc.gz"))
    assert wet.metadata["url"] == page.metadata["url"] and wet.format == "text"
