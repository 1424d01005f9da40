"""Terms against what they should be, and the array path against the plain one."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings

from tilth.errors import DataError, UsageError
from tilth.retrieval.analyzer import Words, fold, normalized
from tilth.testing import hostile, strategies

WORDS = Words()


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The cat, the CAT.", "the cat the cat"),
        ("snake_case __init__ _x", "snake case snake_case init x"),
        ("camelCase HTTPServer", "camel case camelcase http server httpserver"),
        ("getURLs utf8Decode", "get urls geturls utf8 decode utf8decode"),
        ("PDFs 2D H2O sha256 USA", "pdfs 2d h2o sha256 usa"),
        ("parse_HTMLPage", "parse html page parse_htmlpage"),
        ("os.path.join don't 3.14 x-y", "os path join don t 3 14 x y"),
        ("STRASSE Stra\u00dfe STRA\u1e9eE", "strasse strasse strasse"),
        ("e\u0301t\u00e9 \u00c9T\u00c9", "\u00e9t\u00e9 \u00e9t\u00e9"),
        ("\uff21\uff22 \ufb01n \u212a", "ab fin k"),
        ("co\u00adop \u0645\u06cc\u200c\u062e\u0648", "coop \u0645\u06cc\u062e\u0648"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947", "\u0928\u092e\u0938\u094d\u0924\u0947"),
        ("\u4e2d\u6587\u5b57\u3002\u4e0b", "\u4e2d\u6587 \u6587\u5b57 \u4e0b"),
        ("Python\u4e2d\u6587", "python \u4e2d\u6587"),
        ("\uff76\uff9e\uff77\uff9e", "\u30ac\u30ae"),
        ("\ud55c\uad6d\uc5b4 \uc5b4", "\ud55c\uad6d \uad6d\uc5b4 \uc5b4"),
        # Thai: each mark stays with its letter.
        ("\u0e17\u0e35\u0e19\u0e31\u0e48", "\u0e17\u0e35\u0e19\u0e31\u0e48"),
        ("\u0e19\u0e31\u0e48\u0e19\u0e01", "\u0e19\u0e31\u0e48\u0e19 \u0e19\u0e01"),
        ("... \u2014 \U0001f600 \u200d\u0301 __ \ud800 \x00", ""),
    ],
)  # fmt: skip
def test_terms(text, terms):
    assert WORDS.terms(text) == terms.split()


@settings(max_examples=60, deadline=None)
@given(strategies.texts())
def test_terms_do_not_depend_on_the_normal_form(text):
    expected = WORDS.terms(text)
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert WORDS.terms(unicodedata.normalize(form, text)) == expected


@settings(max_examples=60, deadline=None)
@given(strategies.texts())
def test_spans_are_where_the_terms_stand(text):
    for term, start, stop in WORDS.spans(text):
        assert 0 <= start < stop <= len(text)
        assert fold(text[start:stop]) == term
    if normalized(text) == text:
        assert [term for term, _, _ in WORDS.spans(text)] == WORDS.terms(text)


def test_only_leaves_out_other_terms():
    text = "limit_memory of the child Memory"
    found = WORDS.spans(text, {"memory", "limit_memory"})
    assert found == [span for span in WORDS.spans(text) if span[0] in {"memory", "limit_memory"}]
    assert found == [("memory", 6, 12), ("limit_memory", 0, 12), ("memory", 26, 32)]


def counters(counted):
    found = [Counter() for _ in counted.lengths]
    for term, text, count in zip(counted.term, counted.text, counted.count):
        found[text][counted.terms[term]] = int(count)
    return found


@settings(max_examples=30, deadline=None)
@given(strategies.batches())
def test_counts_equal_those_of_a_counter(batch):
    texts = batch.column("text").to_pylist()
    for analyzer in (WORDS, Words(stop_words=["the", "7"])):
        counted = analyzer.count(texts)
        assert counters(counted) == [Counter(analyzer.terms(text)) for text in texts]
        assert counted.lengths.tolist() == [len(analyzer.terms(text)) for text in texts]
        assert counted.terms == sorted(set(counted.terms))
        pairs = list(zip(counted.term.tolist(), counted.text.tolist()))
        assert pairs == sorted(set(pairs))


def test_hostile_texts_are_counted():
    texts = [document.text for document in hostile.documents()]
    assert counters(WORDS.count(texts)) == [Counter(WORDS.terms(text)) for text in texts]


def test_what_is_no_text_is_refused():
    with pytest.raises(DataError, match="text 1 is int"):
        WORDS.count(["a", 7])


def test_stop_words():
    analyzer = Words(stop_words=["THE", "of"])
    assert analyzer.terms("The end of the_end") == ["end", "end", "the_end"]
    assert analyzer.parameters() == {"stop_words": ["of", "the"]}
    assert Words(**analyzer.parameters()).digest == analyzer.digest != WORDS.digest
    with pytest.raises(UsageError, match="2 terms"):
        Words(stop_words=["two words"])
    with pytest.raises(UsageError, match="one text"):
        Words(stop_words="the")
