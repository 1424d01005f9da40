"""Sentence boundaries in several languages and scripts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tilth.corpus.sentences import sentence_spans, sentences
from tilth.testing import strategies
from tilth.testing.hostile import LONG_LINE, TEXTS

CASES = [
    ("en", "It rained.|We stayed in.|Nobody came!|Why?|Who knows..."),
    ("en", "Mr. Holmes met Dr. J. H. Watson at 3.14 p. m. near St. Paul's.|They left."),
    ("en", 'She said, "Stop!" and left.|"Stop!"|He stood still.'),
    ("en", '"Is it you?"|"It is I."|(He sat down.)|[Exit.]|Silence.'),
    ("en", "See e.g. Smith vs. Jones, i.e. the case of the U.S. Treasury.|It was 5 p.m.|We ate."),
    ("en", "He waited ... and waited.|Then \u2026 nothing\u2026|Then the end."),
    ("en", "1. Introduction\n\n|2. Methods and more.|A. First point.|IV. Fourth point."),
    ("en", "A heading\n\n|a paragraph without end\n \n|and one more"),
    ("en", "Open tilth.org or v1.2.3 now.|Costs $4.50.|In 1999.|Then more."),
    ("de", "Am 3. Mai kam Hr. May, z. B. mit Dr. Schulz usw. an.|Er blieb bis 1945.|Nun ja."),
    ("de", "\u00bbWer da?\u00ab|\u00bbIch.\u00ab|Stille."),
    ("fr", "M. Dupont et Mme. Durand arrivent.|\u00ab Vraiment ? \u00bb dit-il.|Oui."),
    ("es", "\u00bfQué dice Ud. ahora?|\u00a1Nada!|Vale."),
    ("zh", "中文\u3002|下一句\uff01\u300d|是吗\uff1f|结束"),
    ("hi", "यह ह\u0948\u0964 |वह ह\u0948\u0964"),
    ("ar", "ما هذا\u061f |كتاب."),
    ("ur", "یہ کتاب ہے\u06d4 |وہ"),
    ("ru", "Г. Иванов жил на ул. Мира.|Он ушёл."),
]  # fmt: skip


@pytest.mark.parametrize(("language", "marked"), CASES)
def test_known_boundaries(language: str, marked: str) -> None:
    expected = [part.strip() for part in marked.split("|")]
    glue = "" if language == "zh" else " "
    assert sentences(marked.replace("|", glue), language) == expected


def covers(text: str, language: str) -> None:
    spans = sentence_spans(text, language)
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert all(start < stop for start, stop in spans)


@settings(max_examples=100, deadline=None)
@given(strategies.texts())
def test_sentences_cover_the_text(text: str) -> None:
    for language in ("", "de", "xx"):
        covers(text, language)
    assert all(part and part == part.strip() for part in sentences(text))


def test_hostile_texts_and_a_long_line() -> None:
    for text in (*TEXTS, LONG_LINE, ". " * 20_000, "A. " * 20_000, "..." * 20_000, "\n" * 50_000):
        covers(text, "en")
