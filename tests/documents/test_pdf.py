"""PDF files: text page by page, pages by byte, and what is listed instead."""

import json
import os
import signal
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilth.documents.formats import parser, pdf
from tilth.documents.formats.pdf import BREAK, page_at, starts_of
from tilth.store.cache import data_folders
from tilth.testing.hostile_files import pdf as pdf_file
from tilth.testing.hostile_files import pdf_page

WORDS = b"BT /F 12 Tf 20 200 Td (%s) Tj ET"


def pages(*texts, info=b""):
    """A file with a page for each text; "" gives a page with a line drawn on it."""
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        5: pdf_page(b"")[5],
        9: b"<< %s >>" % info,
    }
    kids = []
    for number, text in enumerate(texts):
        page = 10 + 2 * number
        kids.append(b"%d 0 R" % page)
        one = pdf_page(WORDS % text if text else b"0 0 m 9 9 l S")
        objects[page] = one[3].replace(b"4 0 R", b"%d 0 R" % (page + 1))
        objects[page + 1] = one[4]
    objects[2] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(texts))
    return pdf_file(objects).replace(b"/Root 1 0 R", b"/Root 1 0 R /Info 9 0 R")


def test_a_file_is_one_document_of_pages(read_one):
    info = b"/Title (  A title ) /Author (A. Writer)"
    document = read_one("a.pdf", pages(b"First page", b"", b"Third page", info=info))
    assert document.text == f"First page{BREAK}{BREAK}Third page" and document.format == "pdf"
    assert document.metadata == {
        "pages": [0, 12, 14], "title": "A title", "author": "A. Writer", "pages_without_text": 1,
    }  # fmt: skip


def test_what_begins_as_a_pdf_is_one_whatever_its_name(read):
    files = {"a": pages(b"Text"), "b.txt": pages(b"Text"), "c.pdf": b"\n junk\n" + pages(b"Text")}
    result = read(files)
    assert result.problems == [] and [d.format for d in result.documents] == ["pdf"] * 3


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1))
def test_a_byte_of_the_text_names_its_page(texts):
    starts = starts_of(texts)
    data = BREAK.join(texts).encode("utf-8")
    for number, (start, text) in enumerate(zip(starts, texts), start=1):
        part = text.encode("utf-8")
        assert data[start : start + len(part)] == part
        # The break behind a page is its own, too.
        assert all(page_at(starts, at) == number for at in range(start, start + len(part) + 2))


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (pages(b"", b""), "no text layer", "2 pages, all without text"),
        (pages(b""), "no text layer", "1 page, all without text"),
        (pages(b"Text")[:200], "damaged", "pdf: "),
        (b"%PDF-1.7\n" + b"x" * 500, "damaged", "pdf: "),
    ],
)
def test_what_has_no_text_says_why(refuse_one, data, reason, detail):
    problem = refuse_one("a.pdf", data)
    assert problem.reason == reason and problem.detail.startswith(detail)


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_read(read, monkeypatch):
    # CPU time, so that a busy machine makes no difference.
    monkeypatch.setattr(parser, "CPU_SECONDS", 0.3)
    line = b"BT /F 12 Tf 20 200 Td (word) Tj ET " * 400_000
    slow = pdf_file(pdf_page(zlib.compress(line), b" /Filter /FlateDecode"))
    result = read({"a.pdf": slow, "b.pdf": pages(b"Text")})
    (problem,) = result.problems
    assert (problem.source, problem.reason) == ("in/a.pdf", "parser limit")
    assert problem.detail == "took longer than 0.3 CPU seconds"
    assert [d.text for d in result.documents] == ["Text"]


def test_a_child_killed_from_outside_costs_no_file(read_one):
    read_one("a.pdf", pages(b"Text"))
    os.kill(pdf._child()._process.pid, signal.SIGKILL)
    assert read_one("a.pdf", pages(b"Text")).text == "Text"


def test_real_files_have_the_pages_that_another_library_counts(read_everything):
    from tilth.documents.inputs import plan

    folder = next((f / "docs_pdf" for f in data_folders() if (f / "docs_pdf").is_dir()), None)
    if folder is None:
        pytest.skip("docs_pdf is in none of the data folders")
    result = read_everything(*plan([folder], include=["*.pdf"]))
    reasons = [p.reason for p in result.problems]
    assert (
        len(result.documents) == 60 and sorted(reasons) == ["encrypted"] * 2 + ["no text layer"] * 5
    )
    expected = {
        entry["path"].replace("/", "__"): entry
        for entry in json.loads((folder / "pypdf_files.json").read_text())["data"]
    }
    checked = 0
    for document in result.documents:
        entry = expected.get(document.source.rpartition("/")[2])
        if entry is not None:
            checked += 1
            assert len(document.metadata["pages"]) == entry["pages"] and not entry["encrypted"]
            data = document.text.encode("utf-8")
            assert all(data[at - 2 : at] == b"\n\f" for at in document.metadata["pages"][1:])
    assert checked >= 20
    encrypted = [p.source.rpartition("/")[2] for p in result.problems if p.reason == "encrypted"]
    assert any(expected.get(name, {}).get("encrypted") for name in encrypted)
