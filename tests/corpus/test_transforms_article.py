"""The article of a web page: menus go, text stays; without an article all text stays, noted."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tilth.documents.document import Document, Problem
from tilth.documents.formats.common import Refused
from tilth.documents.formats.html import parse
from tilth.documents.formats.html_article import NOTHING_FOUND, article_text
from tilth.documents.inputs import plan
from tilth.documents.read import read_unit
from tilth.store.cache import data_folders

MENU = "<ul>" + "".join(f"<li><a href='/{n}'>Section {n}</a></li>" for n in range(20)) + "</ul>"
BODY = "".join(
    f"<p>Paragraph {n} tells at some length what the tenant said to the judge in the spring, "
    "and why the rent was not paid before the notice came by post.</p>"
    for n in range(8)
)
PAGE = (
    f"<html lang='en'><head><title>A case</title></head><body><nav>{MENU}</nav>"
    f"<article><h1>A case</h1>{BODY}</article><footer>{MENU}</footer></body></html>"
)


def test_menus_go_and_paragraphs_stay() -> None:
    text, metadata = parse(PAGE.encode(), article=True)
    whole, plain = parse(PAGE.encode())
    assert metadata == {"article": "found", **plain}
    assert "Section 3" in whole and "Section 3" not in text
    assert all(f"Paragraph {n} tells" in text for n in range(8))


def test_a_page_without_an_article_is_kept() -> None:
    for page in ("<p>hi", "<ul><li><a href='/'>x</a></ul>", "", "<img src=x>"):
        text, metadata = parse(page.encode(), article=True)
        if metadata["article"] == NOTHING_FOUND:
            assert text == parse(page.encode())[0]
        else:
            assert text.strip()
    assert parse(b"<img src=x>", article=True) == ("", {"article": NOTHING_FOUND})


def test_encodings_are_those_of_the_reader() -> None:
    body = BODY.replace("tenant", "Mieter über Straße")
    page = f"<head><meta charset=iso-8859-1></head><body><article>{body}</article></body>"
    text, metadata = parse(page.encode("latin-1"), article=True)
    assert text.count("Mieter über Straße") == 8
    assert metadata["encoding"] == parse(page.encode("latin-1"))[1]["encoding"]
    # A NUL and a lone surrogate's bytes stop nobody.
    parse(page.encode("latin-1") + b"\x00\xed\xa0\x80", article=True)


def test_limits_are_those_of_the_reader() -> None:
    deep = b"<div>" * 5000 + b"deep"
    with pytest.raises(Refused):
        parse(deep)
    with pytest.raises(Refused):
        parse(deep, article=True)


def test_the_option_of_a_unit(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    (unit,), _ = plan(tmp_path)
    (plain,) = read_unit(unit)
    (found,) = read_unit(replace(unit, options=(("html", "article"),)))
    assert isinstance(plain, Document) and isinstance(found, Document)
    assert (found.id, found.format) == (plain.id, "html")
    assert "article" not in plain.metadata and found.metadata["article"] == "found"
    assert len(found.text) < len(plain.text)


def test_real_pages_are_closer_to_their_articles() -> None:
    folders = [folder / "web_articles" for folder in data_folders()]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        pytest.skip("the data set web_articles is not on this machine")
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    better = 0
    for name in sorted(truth)[:12]:
        data = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        wanted = set(truth[name]["articleBody"].lower().split())
        shares = []
        for article in (True, False):
            found = parse(data, article=article)
            assert not isinstance(found, Problem)
            words = set(found[0].lower().split())
            shares.append(2 * len(words & wanted) / (len(words) + len(wanted)))
        better += shares[0] > shares[1]
    assert better >= 11


def test_the_child_function_reads_bytes() -> None:
    page = article_text(PAGE.encode())
    assert page["title"] == "A case" and page["language"] == "en" and page["damage"] == 0
