"""Stripping Project Gutenberg's headers and footers, and what must never be stripped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.transforms import header_markers
from tilth.corpus.transforms.base import identity
from tilth.corpus.transforms.headers import StripHeaders, opening
from tilth.documents.document import Document, from_batch, to_batch
from tilth.errors import UsageError
from tilth.testing import strategies
from tilth.testing.transforms import check_spans

BODY = [f"Line {number} of the story." for number in range(150)]
START = "*** START OF THE PROJECT GUTENBERG EBOOK A STORY ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK A STORY ***"


def strip(lines: list[str], **options: object) -> tuple[list[str], dict[str, object]]:
    text = "\n".join(lines)
    (result,) = StripHeaders(**options).edit(text)
    check_spans("headers", result.text, text, result.spans)
    assert all(
        span.stop - span.start == span.parent_stop - span.parent_start for span in result.spans
    )
    return result.text.rstrip("\n").split("\n"), dict(result.metadata.get("headers", {}))


def test_modern_header_and_footer() -> None:
    book = [
        "\ufeffThe Project Gutenberg eBook of A Story", "", "Title: A Story", "", START, "",
        "Produced by Somebody", "", *BODY, "", END, "", "Updated editions will replace ...",
    ]  # fmt: skip
    for guard in (True, False):
        kept, metadata = strip(book, guard=guard)
        assert kept == BODY and metadata == {"removed_lines": len(book) - len(BODY)}
    kept, _ = strip(book, method="markers")
    assert kept == ["Produced by Somebody", "", *BODY]
    assert strip(book, method="none") == (book, {})


def test_small_print_of_the_first_years() -> None:
    book = [
        "Project Gutenberg Etext of A Story", "Please take a look at the header.",
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***", "Why is this here?",
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", "", *BODY, "",
        "End of the Project Gutenberg Etext of A Story",
    ]  # fmt: skip
    assert strip(book)[0] == BODY


def test_the_marker_may_run_over_two_lines() -> None:
    book = ["*** START OF THIS PROJECT GUTENBERG EBOOK A STORY", "OF LENGTH ***", *BODY, END]
    assert strip(book)[0] == BODY
    assert strip(book, method="markers")[0] == BODY


def test_short_books_lose_their_footer_with_the_guard_only() -> None:
    book = [START, *BODY[:20], END, *["licence"] * 30]
    assert strip(book)[0] == BODY[:20]
    assert strip(book, guard=False)[0][-1] == "licence"


def test_a_credit_inside_the_story_erases_nothing_with_the_guard() -> None:
    story = [*BODY, "Produced by chance, it stayed.", *BODY]
    assert strip([START, *story, END])[0] == story
    assert strip([START, *story, END], guard=False)[0] == BODY


def test_a_story_is_not_emptied() -> None:
    # Two volumes in one file: the footer of the first would take the second.
    volumes = [START, *BODY, END, *BODY * 10, END]
    kept, metadata = strip(volumes)
    assert kept == volumes and metadata == {"refused_lines": len(volumes) - len(BODY)}
    kept, metadata = strip([START, "", END])
    assert kept == [START, "", END] and metadata == {"refused_lines": 3}
    assert strip(volumes, most_lines=10_000)[0] == BODY
    assert strip(volumes, guard=False)[0] == BODY


def test_line_ends_of_windows_stay() -> None:
    book = [line + "\r" for line in (START, "", *BODY, "", END)]
    assert strip(book)[0] == [line + "\r" for line in BODY]


def test_repeated_notices_are_dropped() -> None:
    notice = [
        "<<THIS ELECTRONIC VERSION OF THE WORKS IS",
        "SERVICE THAT CHARGES FOR DOWNLOAD TIME OR FOR MEMBERSHIP.>>",
    ]
    assert strip([START, *BODY, *notice, *BODY, END])[0] == BODY * 2


@settings(max_examples=60, deadline=None)
@given(strategies.batches())
def test_other_texts_are_not_touched(batch: object) -> None:
    for method in ("spgc", "markers", "none"):
        transform = StripHeaders(method=method)
        touched = transform.touches(batch).to_pylist()
        for text, may_change in zip(batch.column("text").to_pylist(), touched, strict=True):
            assert may_change is False or "roject gutenberg" in text.lower()
            if not may_change:
                assert transform.edit(text) == identity(text)


def test_a_text_about_the_library_is_not_touched() -> None:
    text = "Project Gutenberg was founded in 1971.\nProduced by volunteers.\n" * 200
    batch = to_batch([Document(id="1" * 32, text=text)])
    (made,) = from_batch(StripHeaders().apply(batch))
    assert made.text == text and made.metadata == {}


PHRASES = sorted({*header_markers.STARTS, *header_markers.WEAK_STARTS, *header_markers.ENDS,
                  *header_markers.WEAK_ENDS, *header_markers.NOTICE_STARTS})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(PHRASES), st.sampled_from(["", "text", "\u212a\u017f"]))),
    st.booleans(), st.integers(0, 120), st.sampled_from(["", "*** ", "\ufeff", "\t* "]),
)  # fmt: skip
def test_whatever_the_phrases_spans_hold(
    lines: list[str], guard: bool, body: int, lead: str
) -> None:
    lines = [lead + line.upper() for line in lines] + BODY[:body] + lines
    for method in ("spgc", "markers"):
        kept, _ = strip(lines, method=method, guard=guard)
        if guard:
            assert any(kept) or not any(line.strip() for line in lines)
    (made,) = from_batch(
        StripHeaders(guard=guard).apply(to_batch([Document(id="2" * 32, text="\n".join(lines))]))
    )
    (result,) = StripHeaders(guard=guard).edit("\n".join(lines))
    assert made.text == result.text


def test_phrases_are_written_as_lines_open() -> None:
    for phrase in (*PHRASES, *header_markers.NOTICE_ENDS):
        assert opening("  *** " + phrase.upper()) == phrase


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(UsageError, match="markers"):
        StripHeaders(method="marker")
    with pytest.raises(UsageError, match="largest_share"):
        StripHeaders(largest_share=0.0)
