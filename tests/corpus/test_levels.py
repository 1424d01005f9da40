"""Text, tokens and counts: definitions, files, resume."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from tilth.corpus.levels import counts, counts_text, read_tokens, tokens, words, write_levels
from tilth.documents.document import Document
from tilth.errors import DataError
from tilth.store.manifest import verify
from tilth.testing import faults, hostile, strategies

BOOKS = [
    Document(
        id=f"PG{number}",
        text=text,
        source=f"books/{number}.txt",
        metadata={"title": f"T, {number}", "author": "A", "headers": {"removed_lines": number}},
    )
    for number, text in enumerate(
        ["", "One two. Two three!\n", "Zwei Straßen,\r\nzwei Äpfel.\n", "a b\nb c\nc d"]
    )
]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("They can't, won\u2019t or cannot.", "They ca n't , wo n\u2019t or can not ."),
        ("Mr. Smith's dogs' 3,000 bones (and $4.50): gone...",
         "Mr. Smith 's dogs ' 3,000 bones ( and $ 4.50 ) : gone ..."),
        ('"Stop!" he said--"I\'ve \'nothing\' well-known."',
         '" Stop ! " he said -- " I \'ve \' nothing \' well-known . "'),
        ("'Tis gonna rain\u2014'twas so.", "'T is gon na rain \u2014 't was so ."),
        ("at 3:45, in the U.S.", "at 3:45 , in the U.S ."),
        ("", ""),
    ],
)  # fmt: skip
def test_words(sentence: str, expected: str) -> None:
    assert words(sentence) == expected.split()


def test_tokens_are_letters_only() -> None:
    text = "Mr. O'Neil saw 2 well-known cafés. He didn't stay."
    assert tokens(text, "en") == ["saw", "cafés", "he", "did", "stay"]
    assert tokens("İstanbul.") == ["istanbul"]


@settings(max_examples=100, deadline=None)
@given(strategies.texts())
def test_invariants_of_tokens_and_counts(text: str) -> None:
    found = tokens(text)
    assert all(token == token.lower() and token.isalpha() for token in found)
    table = counts(found)
    assert sum(count for _, count in table) == len(found)
    assert dict(table) == Counter(found)
    assert table == sorted(table, key=lambda entry: (-entry[1], entry[0]))
    # Counts are a function of the file of tokens.
    assert counts_text("".join(f"{t}\n" for t in found).split("\n")[:-1]) == counts_text(found)


def test_files_of_a_book(tmp_path: Path) -> None:
    manifest = write_levels(BOOKS, tmp_path, languages={"PG2": "de"})
    assert verify(tmp_path) == manifest and manifest["books"] == 4
    assert (tmp_path / "text/PG2.txt").read_bytes() == "Zwei Straßen,\nzwei Äpfel.\n".encode()
    assert (tmp_path / "tokens/PG1.txt").read_bytes() == b"one\ntwo\ntwo\nthree\n"
    assert (tmp_path / "counts/PG1.txt").read_bytes() == b"two\t2\none\t1\nthree\t1\n"
    assert list(read_tokens(tmp_path, "PG3")) == ["a", "b", "b", "c", "c", "d"]
    with open(tmp_path / "metadata.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["PG0", "PG1", "PG2", "PG3"]
    assert rows[2] == {
        "id": "PG2", "source": "books/2.txt", "author": "A", "title": "T, 2", "language": "de",
        "raw_lines": "4", "lines": "2", "tokens": "4", "types": "3",
    }  # fmt: skip


def test_the_same_again_whatever_the_order(tmp_path: Path) -> None:
    write_levels(BOOKS, tmp_path / "a")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("PG*")}
    write_levels(reversed(BOOKS), tmp_path / "a")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("PG*")}
    write_levels(reversed(BOOKS), tmp_path / "b")
    assert faults.tree(tmp_path / "a") == faults.tree(tmp_path / "b")


def test_changed_damaged_and_removed_books(tmp_path: Path) -> None:
    write_levels(BOOKS, tmp_path / "a")
    (tmp_path / "a/tokens/PG1.txt").write_text("damaged")
    (tmp_path / "a/text/mine.txt").write_text("not a book of ours")
    changed = [BOOKS[1], replace(BOOKS[2], text="new"), BOOKS[3]]
    write_levels(changed, tmp_path / "a")
    verify(tmp_path / "a")
    assert (tmp_path / "a/text/mine.txt").exists()
    (tmp_path / "a/text/mine.txt").unlink()
    write_levels(changed, tmp_path / "b")
    assert faults.tree(tmp_path / "a") == faults.tree(tmp_path / "b")


def test_killed_at_every_write(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    moments = faults.count_moments(lambda: write_levels(BOOKS[1:2], whole))
    for strike in range(len(moments)):
        folder = tmp_path / str(strike)
        # A finished folder of other books is changed, so that each moment must unfinish it.
        write_levels(BOOKS[3:], folder)
        assert faults.run_until(lambda folder=folder: write_levels(BOOKS[1:2], folder), strike)
        if (folder / "manifest.json").exists():
            verify(folder)
        write_levels(BOOKS[1:2], folder)
        left = {name for name in faults.tree(folder) if ".tmp-" not in name}
        assert left == set(faults.tree(whole))
        verify(folder)
        assert json.loads((folder / "manifest.json").read_text()) == verify(whole)


def test_hostile_books_and_wrong_ids(tmp_path: Path) -> None:
    documents = hostile.documents()
    manifest = write_levels(documents, tmp_path / "a")
    assert manifest["books"] == len(documents)
    with pytest.raises(DataError, match="two documents"):
        write_levels([BOOKS[0], BOOKS[0]], tmp_path / "b")
    with pytest.raises(DataError, match="no file name"):
        write_levels([Document(id="../up", text="")], tmp_path / "b")
