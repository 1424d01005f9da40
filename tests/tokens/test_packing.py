import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.tokens.packing import best_fit


@given(st.lists(st.integers(1, 20), max_size=40))
@settings(max_examples=60, deadline=None)
def test_every_piece_is_in_one_row_and_no_two_rows_could_be_one(sizes):
    rows = best_fit(sizes, 20)
    assert sorted(piece for row in rows for piece in row) == list(range(len(sizes)))
    filled = sorted(sum(sizes[piece] for piece in row) for row in rows)
    assert all(fill <= 20 for fill in filled)
    assert len(filled) < 2 or filled[0] + filled[1] > 20
    assert rows == best_fit(sizes, 20)


def test_a_piece_that_fits_nowhere_is_refused():
    with pytest.raises(UsageError):
        best_fit([3, 21], 20)
