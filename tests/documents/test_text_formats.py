"""Plain text, Markdown, reStructuredText and code: the text as written, a title, a language."""

import codecs

import pytest

from tilth.documents.document import document_id
from tilth.documents.formats.text import markdown_title, rst_title


def test_a_text_is_one_document(read_one):
    document = read_one("letters/1.txt", b"Dear all,\nyours\n")
    assert document.text == "Dear all,\nyours\n"
    assert (document.source, document.position, document.format) == ("in/letters/1.txt", 0, "text")
    assert document.group == document.source and document.metadata == {}
    assert document.id == document_id("in/letters/1.txt", 0, b"Dear all,\nyours\n")


@pytest.mark.parametrize(
    ("data", "text", "metadata"),
    [
        (codecs.BOM_UTF8 + b"a\r\nb\r\n", "a\nb\n", {"line_ends": "crlf"}),
        (codecs.BOM_UTF16_BE + "ä\rb".encode("utf-16-be"), "ä\nb",
         {"encoding": "utf-16-be", "line_ends": "cr"}),
        ("Müller".encode("cp1252"), "Müller", {"encoding": "cp1252"}),
        (b"caf\xe9\x81", "caf\xe9\ufffd", {"encoding": "cp1252", "damage": 1}),
        (b"late \0 is kept".rjust(10_000), "late \0 is kept".rjust(10_000), {}),
    ],
)  # fmt: skip
def test_odd_bytes_are_noted(read_one, data, text, metadata):
    document = read_one("a.txt", data)
    assert document.text == text and dict(document.metadata) == metadata


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"", "empty"),
        ("a.txt", b" \n\t\r\n", "empty"),
        ("a.txt", codecs.BOM_UTF8, "empty"),
        ("a.txt", b"ab\0cd", "binary"),
        ("a.py", b"\0" * 100, "binary"),
        ("noname", b"\x7fELF\0\0\0", "binary"),
        ("a.pdf", b"%PDF-1.7 ...", "damaged"),
        ("a.txt", b"%PDF-1.7 ...", "damaged"),
        ("a.pdf", b"a page that says not found", "damaged"),
        ("a.zip", b"words", "damaged"),
        ("a.tar", b"words", "damaged"),
        ("a.docx", b"PK\x03\x04....", "unknown format"),
        ("a.png", b"\x89PNG\r\n", "unknown format"),
        ("noname", b"PK\x03\x04" + b"." * 26 + b"[Content_Types].xml", "unknown format"),
        ("table.csv", b"a,b\n1,2\n", "no text column"),
        ("a.txt", b"x" * 101, "too large"),
    ],
)
def test_what_is_no_text_has_a_reason(refuse_one, name, data, reason):
    assert refuse_one(name, data, max_document_bytes=100).reason == reason


def test_unknown_endings_are_judged_by_their_bytes(read):
    files = {"a.strange": b"words", "b": b"words", "c.page": b"\xef\xbb\xbf <!DOCTYPE html><p>x"}
    found = {d.source: d.format for d in read(files).documents}
    assert found == {"in/a.strange": "text", "in/b": "text", "in/c.page": "html"}


MARKDOWN = {
    "# The Title\n\ntext": "The Title",
    "#   Closed   ##  \n": "Closed",
    "intro\n\nThe Title\n=====\n": "The Title",
    "---\ndate: 2\ntitle: 'From the head'\n---\n# Other": "From the head",
    "---\ndate: 2\n---\n# After the head": "After the head",
    "```\n# a comment\n```\n# Real": "Real",
    "## second level\n#hashtag\n": "",
    "====\nno": "",
    "": "",
}
RST = {
    "Title\n=====\ntext": "Title",
    "=====\nTitle\n=====\ntext": "Title",
    ".. _label:\n\nTitle of it\n-----------": "Title of it",
    "too long for its line\n===\n": "",
    "=== ===\na   b\n=== ===\n": "",
    "plain text\n\nmore": "",
}


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_titles(text):
    assert markdown_title(text.split("\n")) == MARKDOWN[text]


@pytest.mark.parametrize("text", RST)
def test_rst_titles(text):
    assert rst_title(text.split("\n")) == RST[text]


def test_markup_is_kept_as_written(read):
    files = {"a.md": b"# T\n\n*text*", "b.rst": b"T T\n===\n\n``text``", "c.md": b"no title"}
    a, b, c = read(files).documents
    assert (a.text, a.format, dict(a.metadata)) == ("# T\n\n*text*", "markdown", {"title": "T"})
    assert (b.text, b.format) == ("T T\n===\n\n``text``", "rst")
    assert b.metadata == {"title": "T T"} and c.metadata == {}


def test_a_hostile_heading_takes_no_time(read_one):
    line = b"# " + b" #" * 500_000
    assert read_one("a.md", line + b"\n# Title").metadata == {"title": "Title"}


@pytest.mark.parametrize(
    ("name", "language"),
    [("a.py", "python"), ("src/B.JAVA", "java"), ("Makefile", "make"), ("x.rs", "rust"),
     ("CMakeLists.txt", "cmake"), ("x.tex", "latex")],
)  # fmt: skip
def test_code_names_its_language(read_one, name, language):
    document = read_one(name, b'"""Docs."""\nx = 1\n')
    assert document.format == "code" and document.text == '"""Docs."""\nx = 1\n'
    assert document.metadata == {"language_of_code": language}
