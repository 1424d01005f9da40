"""Strings in two arrays against a plain list."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.retrieval.strings import SortedStrings

ANYTHING = st.text(max_size=4) | st.sampled_from(
    ["", "a", "ab", "b", "\uffff", "\U00010000", "\ud800"]
)


@settings(max_examples=100, deadline=None)
@given(st.sets(ANYTHING, max_size=12), st.lists(ANYTHING, max_size=6))
def test_finds_what_a_list_finds(strings, wanted):
    plain = sorted(strings)
    table = SortedStrings.of(plain)
    assert table.to_list() == [table[place] for place in range(len(table))] == plain
    wanted = [*wanted, *plain]
    found = [plain.index(string) if string in strings else -1 for string in wanted]
    assert table.find(wanted).tolist() == found
    for string in wanted:
        assert table.insertion_place(string) == bisect_left(plain, string)


def test_places_outside_are_refused():
    table = SortedStrings.of(["a"])
    for place in (-1, 1):
        with pytest.raises(IndexError):
            table[place]
