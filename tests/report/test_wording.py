import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.histograms import histogram
from tilth.report import markup, wording


def test_numbers_for_people():
    assert [wording.short(n) for n in (0, 12, 999, 1234, 12_345, 999_900, 2.5e9, 3e15)] == [
        "0", "12", "1.0 k", "1.2 k", "12 k", "1.0 M", "2.5 G", "3.0e+15",
    ]  # fmt: skip
    assert wording.size(9_000_000) == "9.0 MB" and wording.size(7) == "7 bytes"
    assert wording.share(1, 1000) == "under 1 %" and wording.share(9999, 10000) == "over 99 %"
    assert wording.share(0, 0) == "0 %" and wording.share(1, 2) == "50 %"
    assert wording.count(1, "document") == "1 document"
    assert wording.count(1234, "family", "families") == "1,234 families"
    assert wording.figure(None) == wording.figure(float("inf")) == wording.figure(True) == "–"
    assert wording.figure(0.123456) == "0.1235" and wording.figure(12345.678) == "12,345.7"


def test_addresses_in_texts_and_in_paths():
    assert wording.mask("to a.b+c@d-e.org, b@c!") == "to [e-mail], [e-mail]!"
    assert wording.place("icons/logo@2x.png") == "icons/logo@2x.png"
    assert wording.place("mail/jane@host.org/1.txt") == "mail/[e-mail]/1.txt"


def test_an_excerpt_never_shows_half_an_address():
    for before in range(120, 4100, 37):
        text = "x " * (before // 2) + "jane.doe@mail.example.org and more"
        assert "jane" not in wording.excerpt(text) and len(wording.excerpt(text)) <= 162


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_can_be_written_and_shown(text):
    from lxml import html

    clean = wording.excerpt(text)
    clean.encode("utf-8")
    assert "\n" not in clean and "\x1b" not in clean
    shown = markup.tag("p", clean, title=clean)
    element = html.fragment_fromstring(str(shown))
    assert element.text_content() == clean and element.get("title", "") == clean
    json.dumps(wording.plain_json({text: [text, float("nan")]}), allow_nan=False).encode("utf-8")


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-1e6, 1e9) | st.integers(0, 10**7).map(float), min_size=1))
def test_histograms_count_every_value(values):
    import numpy as np

    found = histogram(np.array(values))
    assert sum(found["counts"]) == len(values)
    assert len(found["edges"]) == len(found["counts"]) + 1
