"""HTML: what a reader of the page sees, equal to hand-made and to independent expectations."""

import html
import os
import signal
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.documents.formats import html as reader
from tilth.documents.formats.html_text import declared_charset, visible_text
from tilth.errors import LimitError
from tilth.sandbox.child import Child, StartError

PAGES = {
    "<p>a  b\n c</p><p>d</p>": "a b c\n\nd",
    "one<br>two<br><br>three": "one\ntwo\n\nthree",
    "<div><div>a</div></div><div>b</div>c<span> d </span> e": "a\nb\nc d e",
    "a<b>b</b> <i> c</i>": "ab c",
    "<h1>Head</h1>text<h2> Second </h2>": "Head\n\ntext\n\nSecond",
    "<ul><li>one<li>two <b>bold</b>text</ul>after": "one\ntwo boldtext\nafter",
    "x<pre>\n a\n   b  \n</pre>z": "x\n\n a\n   b\n\n\nz",
    "<table><tr><th>n<th>m<tr><td>1<td>2</table>": "n\tm\n1\t2",
    "<table>\n<tr>\n<td><p>3</p></td>\n<td> </td>\n<td>4</td>\n</tr>\n</table>x": "3\t\t4\n\nx",
    "a<script>var p = '<p>no</p>';</script>b<!-- no -->c<style>p {}</style>d": "abcd",
    "<template><p>no</p></template><noscript>no</noscript>yes<svg><text>no</text></svg>": "yes",
    "<p hidden>no</p><p style='color:red; DISPLAY : none'>no</p><p style='color:red'>yes": "yes",
    "1 &lt; 2 &amp;amp; &copy; &#x1F40C; &nbsp; &unknown; &#xD800;":
        "1 < 2 &amp; \xa9 \U0001f40c \xa0 &unknown; \ufffd",
    "a\0b": "a\ufffdb",
    "<textarea>\n a\n b</textarea>": " a\n b",
    "<tr><td>alone</td></tr>": "alone",
    "<p>unclosed <b>bold <i>both</p>after": "unclosed bold both\n\nafter",
    "just text": "just text",
    "<frameset><frame></frameset>": "",
    "<!-- nothing -->": "",
    "  ": "",
    "": "",
}  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_visible_text(page):
    assert visible_text(page.encode())["text"] == PAGES[page]


class _Words(HTMLParser):
    """The words of a page by the standard library's parser."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.words = []

    def handle_data(self, data):
        self.words += data.split()


INLINE = st.sampled_from(["b", "i", "em", "span", "a"])
BLOCK = st.sampled_from(["p", "div", "li", "td", "h2", "pre", "section", "blockquote"])
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(lambda words: html.escape(" ".join(words)))
STYLED = st.tuples(INLINE, TEXTS).map(lambda pair: f"<{pair[0]}> {pair[1]} </{pair[0]}>")
INLINES = st.lists(st.one_of(TEXTS, STYLED), min_size=1, max_size=4).map(" ".join)
BLOCKS = st.tuples(BLOCK, INLINES).map(lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>")


@settings(max_examples=60, deadline=None)
@given(st.lists(BLOCKS, max_size=6))
def test_words_equal_those_of_another_parser(blocks):
    page = "\n".join(blocks)
    other = _Words()
    other.feed(page)
    other.close()
    text = visible_text(page.encode())["text"]
    assert text.split() == other.words
    # Blocks never run into each other's line.
    assert len([part for part in text.split("\n") if part.strip()]) >= min(len(blocks), 1)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="<>/p-! ab=\"'&;\0\n" + "table", max_size=80))
def test_any_letters_give_some_text(page):
    text = visible_text(page.encode())["text"]
    text.encode("utf-8")
    assert text == text.strip("\n")


def test_title_and_language_go_to_the_metadata(read_one):
    page = (
        "<html lang=en-GB><head><title> The\n title </title></head>"
        "<body><svg><title>no</title></svg>Text</body></html>"
    )
    document = read_one("a.html", page.encode())
    assert (document.text, document.format) == ("Text", "html")
    assert document.metadata == {"title": "The title", "declared_language": "en-GB"}


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ('<meta charset="koi8-r"><p>Привет'.encode("koi8-r"), "Привет", "koi8-r"),
        ('<META http-equiv=Content-Type content="text/html; charset=Shift_JIS"><p>日本'
         .encode("cp932"), "日本", "cp932"),
        ("<meta charset=iso-8859-1><p>\u201cx\u201d".encode("cp1252"), "\u201cx\u201d", "cp1252"),
        ('<?xml version="1.0" encoding="windows-1251"?><html><p>Да'.encode("cp1251"), "Да",
         "cp1251"),
        ("<!-- <meta charset=koi8-r> --><p>caf\xe9".encode("cp1252"), "caf\xe9", "cp1252"),
        ("<meta charset=no-such-thing><p>caf\xe9".encode("cp1252"), "caf\xe9", "cp1252"),
        ("<meta charset=rot13><p>caf\xe9".encode("cp1252"), "caf\xe9", "cp1252"),
        ("<meta charset=utf-16><p>caf\xe9".encode(), "caf\xe9", "utf-8"),
        ("<meta charset=latin-1><p>日本".encode(), "日本", "utf-8"),
        ("\ufeff<meta charset=koi8-r><p>日本".encode("utf-16"), "日本", "utf-16-le"),
    ],
)  # fmt: skip
def test_the_charset_is_found(read_one, data, text, encoding):
    document = read_one("a.htm", data)
    assert document.text == text
    assert document.metadata.get("encoding", "utf-8") == encoding


def test_undecodable_bytes_are_counted(read_one):
    document = read_one("a.html", b"<meta charset=utf-8><p>a\xffb")
    assert document.text == "a\ufffdb" and document.metadata == {"damage": 1}


def test_no_charset_is_guessed_from_nothing():
    assert declared_charset(b"<p>charset=koi8-r") is None
    assert declared_charset(b"<meta name=a content=b>") is None


@pytest.mark.parametrize(
    "page",
    [
        b"<div>" * 1000 + b"deep" + b"</div>" * 1000,
        b"<p>" + b"x" * 12_000_000,
        b"<p title='" + b"x" * 12_000_000 + b"'>text",
    ],
    ids=["deep", "long text", "long attribute"],
)
def test_a_page_beyond_the_parsers_limits_is_refused_not_cut(page):
    with pytest.raises(LimitError):
        visible_text(page)


def test_limits_end_as_problems_and_the_next_page_is_read(read):
    result = read({"a.html": b"<div>" * 1000 + b"deep", "b.html": b"<p>well", "c.html": b"<p>"})
    assert [d.text for d in result.documents] == ["well"]
    assert [(p.source, p.reason) for p in result.problems] == [
        ("in/a.html", "parser limit"),
        ("in/c.html", "empty"),
    ]


def test_memory_and_time_limits_end_as_problems(read, monkeypatch):
    small = Child("tilth.documents.formats.html_text:visible_text", memory=120 << 20, seconds=20.0)
    monkeypatch.setattr(reader._of_this_thread, "child", small, raising=False)
    with small:
        result = read({"a.html": b"<p>x</p>" * 1_000_000, "b.html": b"<p>well"})
    assert [d.text for d in result.documents] == ["well"]
    (problem,) = result.problems
    assert problem.reason == "parser limit" and "memory" in problem.detail


@pytest.mark.parametrize("name", ["a.html", "a.jsonl"])
def test_a_parser_that_does_not_start_is_no_verdict_on_the_page(read, monkeypatch, name):
    data = b'{"html": "<p>well"}\n' if name == "a.jsonl" else b"<p>well"
    absent = Child("no_such_module:run")
    with monkeypatch.context() as patch:
        patch.setattr(reader._of_this_thread, "child", absent, raising=False)
        with pytest.raises(StartError, match="no_such_module"):
            read({name: data})
    assert [d.text for d in read({name: data}).documents] == ["well"]


def test_a_child_killed_from_outside_costs_no_page(read_one):
    read_one("a.html", b"<p>well")
    os.kill(reader._child()._process.pid, signal.SIGKILL)
    assert read_one("a.html", b"<p>well").text == "well"


def test_a_large_page_of_many_elements_is_quick(read_one):
    page = b"<table>" + b"<tr><td>a<td> <td style='x:y'>b" * 20_000 + b"</table>"
    assert read_one("a.html", page).text.split("\n")[0] == "a\t\tb"


@pytest.mark.parametrize(
    "page",
    [
        b"<meta charset=utf-8><article><p>hello there</p></article>",
        b"<!DOCTYPE html><title>T</title><section>hello there</section>",
        b"<html><head><title>T</title><main>hello <b>there</b></main></html>",
    ],
)
def test_text_of_a_page_that_never_opens_its_body_is_not_lost(page):
    # The parser leaves elements that it does not know inside the head.
    assert visible_text(page)["text"] == "hello there"
