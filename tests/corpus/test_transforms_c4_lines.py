"""C4's lines: what stays, where it comes from, and that the signal counts the same."""

from __future__ import annotations

import runpy
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.corpus.transforms.c4_lines import C4Lines
from tilth.signals.web_rules import WebRules

HARD = Path(__file__).parents[1] / "signals" / "hard_documents.py"
PAGE = (
    "\u00a0Home | About\n  The caf\u00e9 [1] was open [edit].\r\nToo short.\n"
    'He said: "Yes!"\nWe use Cookies on this site.\nIt ends here...\n[2] And so it went on.\n'
)


def left(text: str) -> str:
    (child,) = C4Lines().edit(text)
    raw, parent = child.text.encode(), text.encode()
    for span in child.spans:
        assert raw[span.start : span.stop] == parent[span.parent_start : span.parent_stop]
    covered = sum(span.stop - span.start for span in child.spans)
    assert covered == len(raw) - child.text.count("\n")
    return child.text


def test_a_page() -> None:
    assert left(PAGE) == 'The caf\u00e9  was open .\nHe said: "Yes!"\n And so it went on.'
    (child,) = C4Lines().edit(PAGE)
    assert child.metadata == {"c4_lines": {"removed_lines": 4}}
    (child,) = C4Lines(citations=False, least_words=2).edit(PAGE)
    assert child.text.startswith("The caf\u00e9 [1] was open [edit].\nToo short.\n")
    assert C4Lines().edit("No mark") == [("", [], {"c4_lines": {"removed_lines": 1}})]


def counted(texts: list[str]) -> list[tuple[int, int]]:
    batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.large_string())], ["text"])
    measured = WebRules().measure(batch)
    names = ("c4_characters", "c4_lines")
    return list(zip(*(measured.column(name).to_pylist() for name in names), strict=True))


def check(texts: list[str]) -> None:
    for text, (characters, lines) in zip(texts, counted(texts), strict=True):
        child = left(text)
        assert (len(child), len(child.split("\n")) if child else 0) == (characters, lines)


def test_the_signal_counts_what_stays() -> None:
    check(runpy.run_path(str(HARD))["hard_documents"]()[:200])


@pytest.mark.parametrize("text", ["", "\n", " [1]", "[1] a b c.", "a b [edit][2] c."])
def test_small_texts(text: str) -> None:
    check([text])


@settings(max_examples=150, deadline=None)
@given(st.text('ab .!"[1]{\u00e9\u00a0\n\r\u2028', max_size=60))
def test_any_lines(text: str) -> None:
    check([text])
