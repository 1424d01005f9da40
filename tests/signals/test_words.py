"""Words: what they keep, where they are cut, and that hostile chunks stay cheap."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.signals.english import exceptions
from tilth.signals.words_affixes import LONGEST
from tilth.signals.words_characters import TABLE_SIZE, character_flags
from tilth.signals.words_table import exception_table, words_of
from tilth.testing import strategies
from tilth.testing.hostile import TEXTS

CUTS = {
    "A plain sentence, with marks.": "A | plain | sentence | , | with | marks | .",
    "Don't; she\u2019d\u2019ve cannot.": "Do | n't | ; | she | \u2019d | \u2019ve | can | not | .",
    "(Dr. J. R. Smith, of N.Y.)": "( | Dr. | J. | R. | Smith | , | of | N.Y. | )",
    "the dog's 'tail' wags...": "the | dog | 's | ' | tail | ' | wags | ...",
    "at 10am, for $5 and 12km": "at | 10 | am | , | for | $ | 5 | and | 12 | km",
    "end.Begin one,two 3,4": "end | . | Begin | one | , | two | 3,4",
    "so-called 1990-95 a--b a---- b": "so | - | called | 1990 | - | 95 | a | -- | b | a---- | b",
    "see https://example.org/a-b?c=d.": "see | https://example.org/a-b?c=d | .",
    "see [it](https://example.org/a-b)": "see | [ | it](https://example.org | / | a | - | b | )",
    "me@example.org a/b and/or yes/no": "me@example.org | a | / | b | and/or | yes | / | no",
    "nice:) ;-) x=y 25\u00b0C.": "nice | :) | ;-) | x | = | y | 25 | \u00b0 | C | .",
    "vitamin-c. USA. Q. it's": "vitamin | - | c. | USA | . | Q. | it | 's",
    "caf\u00e9\u00a0na\u00efve\u2014\u6771\u4eac": "caf\u00e9 | na\u00efve | \u2014 | \u6771\u4eac",
}


@pytest.mark.parametrize("text", CUTS)
def test_known_cuts(text: str) -> None:
    assert " | ".join(words_of(text)) == CUTS[text]


def test_every_exception_stands_alone_in_brackets_and_quotes() -> None:
    for string, words in exceptions().items():
        if string.split() == [string]:
            assert words_of(f"so {string} then") == ["so", *words, "then"]
        if string.isalpha():
            assert words_of(f'("{string}")') == ["(", '"', *words, '"', ")"]


def check(text: str) -> None:
    found = words_of(text)
    assert "".join(found) == "".join(text.split())
    assert all(found)
    assert words_of(text, simple=True) == text.split()


@settings(max_examples=150, deadline=None)
@given(strategies.texts())
def test_nothing_is_lost_from_any_text(text: str) -> None:
    check(text)


@settings(max_examples=150, deadline=None)
@given(st.text("a.B'\"-,:/@ 1$\u2026\u2019\u2014(8)=\u00b0C+km", max_size=40))
def test_nothing_is_lost_from_marks_and_letters(text: str) -> None:
    check(text)


def test_nothing_is_lost_from_hostile_texts() -> None:
    for text in TEXTS:
        check(text[:20_000])


def test_words_of_a_text_are_those_of_its_chunks() -> None:
    text = "Mr. X. (aged 8) said: \u201cI'm at www.example.com/a-b!\u201d ... 5km."
    assert words_of(text) == [word for chunk in text.split() for word in words_of(chunk)]


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "'" * (size // 100) + "a" * size + "'" * (size // 100),
        lambda size: "(" * size,
        lambda size: "." * size + "x",
        lambda size: "a-" * (size // 2),
        lambda size: "a@" * (size // 2) + "-b",
        lambda size: "x://" * (size // 4) + "-b",
        lambda size: "8)" * (size // 2),
        lambda size: "a." * (size // 2),
        lambda size: "1" * size + "km" * (size // 2),
    ],
    ids=["quotes", "brackets", "dots", "hyphens", "at", "scheme", "faces", "stops", "units"],
)
def test_hostile_chunks_take_linear_time(make) -> None:
    def seconds(size: int) -> float:
        text = make(size)
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            words_of(text)
            best = min(best, time.process_time() - start)
        return best

    words_of("a")
    small, large = seconds(25_000), seconds(200_000)
    # Eight times the text: far from the 64 times of anything quadratic.
    assert large < 30 * max(small, 0.001)


def test_flags() -> None:
    flags = character_flags()
    assert flags.shape == (TABLE_SIZE,) and not flags.flags.writeable
    for character, like in pairwise("\u00e9\u00e8\u00ea"):
        assert flags[ord(character)] == flags[ord(like)]
    letters = np.flatnonzero(flags & 4)
    assert all(chr(code).isalpha() for code in letters[::97])


def test_exceptions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no exception"):
        exception_table({"ab": ["a", "c"]})
    with pytest.raises(ValueError, match="no exception"):
        exception_table({"a" * (LONGEST + 1): ["a" * (LONGEST + 1)]})
