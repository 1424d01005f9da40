"""Passages against a search over all windows, and their form for any text."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.retrieval.analyzer import Words
from tilth.retrieval.highlight import best_passage
from tilth.testing import hostile, strategies

FILLER = "Nothing is said here at all. " * 30
ANSWER = "To limit the memory of a child, call setrlimit before it starts."


def test_takes_the_sentence_that_covers_the_query():
    text = f"Memory is dear. {FILLER}{ANSWER} {FILLER}A child plays."
    start, stop, matches = best_passage(text, "limit child memory")
    assert text[start:stop].startswith(ANSWER)
    assert [text[a:b] for a, b in matches] == ["limit", "memory", "child"]


def test_begins_at_a_line_where_one_is_near():
    text = f"{FILLER}\n\n   - item: memory\n{FILLER}"
    start, stop, matches = best_passage(text, "memory")
    assert text[start:stop].startswith("- item: memory")
    assert len(matches) == 1 and stop - start <= 240


def test_begins_at_a_word_where_nothing_else_is_near():
    text = "alpha beta gamma delta " * 40 + "memory " + "alpha beta gamma delta " * 40
    start, stop, _ = best_passage(text, "memory", width=100)
    assert text[start - 1] == text[stop] == " " and text[start] != " " != text[stop - 1]
    assert start < text.index("memory") < stop


def test_weights_decide():
    text = f"the of and {FILLER}setrlimit"
    start, stop, _ = best_passage(text, "the of and setrlimit", idf={"setrlimit": 9.0})
    assert "setrlimit" in text[start:stop]
    start, stop, _ = best_passage(text, "the of and setrlimit")
    assert "setrlimit" not in text[start:stop]


def test_identifiers_and_bigrams_are_marked_once():
    text = "see memory_limit and \u6f22\u5b57\u4eee\u540d"
    _, _, matches = best_passage(text, "memory_limit \u6f22\u5b57\u4eee")
    assert [text[a:b] for a, b in matches] == ["memory_limit", "\u6f22\u5b57\u4eee"]
    _, _, matches = best_passage(text, "limit")
    assert [text[a:b] for a, b in matches] == ["limit"]


def test_nothing_found_gives_the_beginning():
    start, stop, matches = best_passage(FILLER, "zebra", width=40)
    assert (FILLER[start:stop], matches) == ("Nothing is said here at all. Nothing is", [])
    assert best_passage("", "zebra") == (0, 0, [])


@pytest.mark.parametrize("seed", range(20))
def test_no_window_covers_more(seed):
    chance = random.Random(seed)
    words = ["one", "two", "three", "four", *["other"] * 12]
    text = " ".join(chance.choices(words, k=120))
    weights = {"one": 1.0, "two": 0.5, "three": 2.0, "four": 0.25}
    _, _, matches = best_passage(text, "one two three four", width=60, idf=weights)
    pieces = Words().spans(text, weights)
    most = 0.0
    for _, first, _ in pieces:
        inside = {term for term, a, b in pieces if a >= first and b <= first + 60}
        most = max(most, sum(weights[term] for term in inside))
    assert sum(weights[term] for term in {text[a:b] for a, b in matches}) == most


@settings(max_examples=60, deadline=None)
@given(strategies.texts(), strategies.texts(20), st.sampled_from([1, 2, 7, 40, 240]))
def test_form(text, query, width):
    check_form(text, query, width)


def test_form_of_hostile_texts():
    for document in hostile.documents():
        check_form(document.text, document.text[:100], 60)


def check_form(text, query, width):
    start, stop, matches = best_passage(text, query, width=width)
    assert 0 <= start <= stop <= len(text) and stop - start <= width
    reached = start
    for first, last in matches:
        assert reached <= first < last <= stop
        reached = last
    if text.strip():
        assert text[start:stop].strip()
    assert best_passage(text, query, Words(), width) == (start, stop, matches)
