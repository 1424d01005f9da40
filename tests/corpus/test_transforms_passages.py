"""Passages: they cover their parent, keep to their lengths, and break where a sentence ends."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.sentences import sentence_spans
from tilth.corpus.transforms.passages import Passages, size_of
from tilth.documents.document import Document, from_batch, to_batch
from tilth.errors import UsageError
from tilth.testing import hostile
from tilth.testing.transforms import check_transform

WORDS = st.sampled_from(
    ["a", "Dr.", "word", "Straße", "end.", "Next", "stop!", "\n\n", "\n", "  ", "x" * 40, "e.g.",
     "# Head\n\n", "## Sub\n", "Title\n=====\n", "中文。"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=60).map(" ".join)
PROSE = "# One\n\n" + "A sentence of six words here. " * 5 + "\n\n## Two\n\nShort one. Another."


def passages(text: str, **options: object) -> list[Document]:
    document = Document(id="0" * 32, text=text)
    return from_batch(Passages(**options).apply(to_batch([document])))


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(5, 60), st.sampled_from(["characters", "words"]))
def test_passages_join_to_the_text_and_keep_to_the_longest(text, target, unit) -> None:
    found = passages(text, target=target, longest=target * 2, unit=unit)
    assert "".join(passage.text for passage in found) == text
    parts = [(span.parent_start, span.parent_stop) for p in found for span in p.spans]
    assert [start for start, _ in parts] == [0, *(stop for _, stop in parts)][: len(parts)]
    assert sum(stop - start for start, stop in parts) == len(text.encode())
    for passage in found:
        # Only blanks before the first word of a text are never divided.
        assert size_of(passage.text.strip(), unit) <= target * 2


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(5, 60), st.integers(0, 4))
def test_borders_are_ends_of_sentences_unless_counted(text, target, overlap) -> None:
    ends = {0, *(stop for _, stop in sentence_spans(text))}
    at = 0
    found = passages(text, target=target, longest=target * 2, overlap=overlap)
    for passage in found:
        assert all(text.encode()[s.parent_start : s.parent_stop] == passage.text.encode()
                   for s in passage.spans)  # fmt: skip
        stop = len(text.encode()[: passage.spans[0].parent_stop].decode()) if passage.spans else 0
        start = stop - len(passage.text)
        assert at - overlap <= start <= at
        at = stop
        line_end = text[:stop].rstrip(" \t").endswith("\n") or stop == len(text)
        cut = passage.metadata.get("passage", {}).get("cut", 0)
        assert stop in ends or line_end or cut
    assert at == len(text)


def test_headings_begin_passages_and_are_named() -> None:
    found = passages(PROSE, target=60, longest=100)
    heads = [passage.metadata["passage"].get("headings") for passage in found]
    assert heads == [["One"]] * (len(found) - 1) + [["One", "Two"]]
    assert found[0].text.startswith("# One\n\nA sentence")
    assert found[-1].text == "## Two\n\nShort one. Another."
    numbers = [json.loads(json.dumps(p.metadata["passage"]))["number"] for p in found]
    assert numbers == list(range(len(found)))


def test_a_paragraph_stays_whole_up_to_the_longest() -> None:
    text = "Begin here now. " * 7 + "\n\n" + "End of it all. " * 3
    first, _ = passages(text, target=100, longest=120)
    assert first.text == text[: text.index("End")]
    first, _ = passages(text, target=100, longest=105)
    assert first.text == "Begin here now. " * 6


def test_overlap_repeats_whole_sentences() -> None:
    text = "".join(f"Sentence number {n} stands here. " for n in range(20))
    found = passages(text, target=100, longest=120, overlap=40)
    for one, two in pairwise(found):
        first = two.text.index(". ") + 2
        assert one.text.endswith(two.text[:first])
    assert len(found) > len(passages(text, target=100, longest=120))


def test_long_sentences_are_divided_and_counted() -> None:
    found = passages("word " * 100 + "y" * 500, target=50, longest=60)
    assert all(passage.metadata["passage"]["cut"] for passage in found)
    assert all(len(passage.text.rstrip()) <= 60 for passage in found)


def test_options_are_checked() -> None:
    for wrong in ({"unit": "pages"}, {"target": 0}, {"overlap": 1000}, {"longest": 10}):
        with pytest.raises(UsageError):
            Passages(**wrong)


def test_contract_with_options() -> None:
    documents = hostile.documents()[:-1]
    check_transform(Passages(target=20, longest=40, overlap=10), documents)
    check_transform(Passages(target=5, longest=8, unit="words", language="de"), documents)
