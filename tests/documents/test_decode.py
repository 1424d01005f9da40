"""Bytes to text: the encoding that was used, and every byte that did not fit counted."""

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.documents.formats.decode import (
    REPLACEMENT,
    decode,
    unify_line_ends,
    without_surrogates,
)

TEXT = "Stra\xdfe, \u65e5\u672c\u8a9e \U0001f40c"


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        (b"", "", "utf-8"),
        (TEXT.encode(), TEXT, "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), TEXT, "utf-8"),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), TEXT, "utf-16-le"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), TEXT, "utf-16-be"),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), TEXT, "utf-32-le"),
        ("na\xefve caf\xe9".encode("latin-1"), "na\xefve caf\xe9", "cp1252"),
        ("\u201ccurly\u201d \u20ac".encode("cp1252"), "\u201ccurly\u201d \u20ac", "cp1252"),
    ],
)
def test_what_is_whole_is_read_whole(data, text, encoding):
    assert decode(data) == (text, encoding, 0)


def test_one_bad_byte_does_not_change_the_encoding():
    data = "viele Wörter mit Umlauten: äöü".encode() + b" \xff " + "ß".encode()
    text, encoding, damage = decode(data)
    assert (encoding, damage) == ("utf-8", 1)
    assert "äöü" in text and text.count(REPLACEMENT) == 1


def test_replacement_letters_that_stood_there_are_no_damage():
    text, _, damage = decode(f"\xe4{REPLACEMENT}\xe4".encode() + b"\xff")
    assert text.count(REPLACEMENT) == 2 and damage == 1


def test_bytes_that_windows_does_not_use_are_damage():
    assert decode(b"caf\xe9 \x81") == ("caf\xe9 \ufffd", "cp1252", 1)


def test_half_a_letter_at_the_end_is_damage():
    data = codecs.BOM_UTF16_LE + "ab".encode("utf-16-le") + b"c"
    assert decode(data) == (f"ab{REPLACEMENT}", "utf-16-le", 1)


def test_a_declaration_helps_where_utf_8_fails():
    data = "Привет, мир".encode("koi8-r")
    assert decode(data, "koi8-r") == ("Привет, мир", "koi8-r", 0)
    assert decode("Привет".encode(), "koi8-r") == ("Привет", "utf-8", 0)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_become_text_that_utf_8_can_hold(data):
    text, encoding, damage = decode(data)
    text.encode("utf-8")
    assert 0 <= damage <= text.count(REPLACEMENT)
    if damage == 0 and encoding == "utf-8":
        assert text.encode() == data.removeprefix(codecs.BOM_UTF8)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab\r\n", max_size=40))
def test_line_ends_equal_universal_newlines(text):
    import io

    unified, kind = unify_line_ends(text)
    assert unified == io.StringIO(text, newline=None).read()
    assert (kind == "lf") == ("\r" not in text)


def test_line_ends_are_named():
    kinds = {"a\nb": "lf", "a\r\nb\r\n": "crlf", "a\rb": "cr", "a\r\nb\n": "mixed", "a": "lf"}
    assert {text: unify_line_ends(text)[1] for text in kinds} == kinds


def test_lone_surrogates_are_replaced_and_counted():
    assert without_surrogates("a\ud800b\udfffc") == ("a\ufffdb\ufffdc", 2)
    assert without_surrogates("\U0001f40c") == ("\U0001f40c", 0)
