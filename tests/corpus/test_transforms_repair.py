"""Repair: the same text as ftfy line by line, with spans."""

from __future__ import annotations

import ftfy
import pytest
from hypothesis import given, settings

from tilth.corpus.transforms.base import identity
from tilth.corpus.transforms.repair import Repair
from tilth.documents.document import Document, Span, from_batch, to_batch
from tilth.errors import UsageError
from tilth.testing import strategies
from tilth.testing.hostile import TEXTS
from tilth.testing.transforms import check_spans

KEEP = {
    "unescape_html": False,
    "fix_latin_ligatures": False,
    "fix_character_width": False,
    "uncurl_quotes": False,
}


def repaired(text: str, **options: object) -> str:
    (result,) = Repair(**options).edit(text)
    check_spans("repair", result.text, text, result.spans)
    return result.text


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_equals_ftfy_on_hostile_texts(text: str) -> None:
    assert repaired(text) == ftfy.fix_text(text, **KEEP)


@settings(max_examples=100, deadline=None)
@given(strategies.texts())
def test_equals_ftfy(text: str) -> None:
    assert repaired(text) == ftfy.fix_text(text, **KEEP)
    everything = {"quotes": True, "ligatures": True, "width": True, "entities": True}
    lines = text.split("\n")
    # ftfy's "auto" looks at "<" in this line and all before it; here only the line counts.
    expected = "\n".join(ftfy.fix_text(line + "\n")[:-1] for line in lines[:-1])
    expected = expected + "\n" * (len(lines) > 1) + ftfy.fix_text(lines[-1])
    assert repaired(text, **everything) == expected


@settings(max_examples=60, deadline=None)
@given(strategies.batches())
def test_rows_that_are_not_touched_would_not_change(batch: object) -> None:
    for repair in (Repair(), Repair(entities=True, quotes=True), Repair(line_ends=False)):
        touched = repair.touches(batch).to_pylist()
        for text, may_change in zip(batch.column("text").to_pylist(), touched, strict=True):
            if not may_change:
                assert repair.edit(text) == identity(text)


def test_what_is_repaired_and_what_is_kept() -> None:
    assert repaired("voil\u00c3\u00a0\r\nno\x00w e\u0301\x1b[0m") == "voil\u00e0\nnow \u00e9"
    kept = "\u201cquotes\u201d \ufb01 \uff21 &amp; tab\t\x0c"
    assert repaired(kept) == kept
    assert repaired(kept, quotes=True, ligatures=True, width=True, entities=True) == (
        '"quotes" fi A & tab\t\x0c'
    )
    assert repaired("a\rb\x07", line_ends=False, control_characters=False) == "a\rb\x07"
    assert repaired("e\u0301", normalization="none") == "e\u0301"
    with pytest.raises(UsageError, match="NFC"):
        Repair(normalization="NFCK")


def test_spans_follow_lines() -> None:
    batch = to_batch([Document(id="0" * 32, text="one\r\nna\u00c3\u00afve\nthree")])
    (made,) = from_batch(Repair().apply(batch))
    assert made.text == "one\nna\u00efve\nthree"
    assert made.spans == (
        Span(0, 3, 0, 3),
        Span(3, 6, 4, 7),
        Span(6, 8, 7, 11),
        Span(8, 16, 11, 19),
    )
