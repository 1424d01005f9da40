import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DataError
from tilth.objectives.causal import Causal
from tilth.tokens.documents import TokenDocuments
from tilth.training.order import Cursor, RowOrder, tokens_seen


def numbered(lengths):
    """Documents whose tokens are all different, so that a row says where it comes from."""
    ends = np.cumsum(lengths)
    rows = [np.arange(end - size, end) + 1 for end, size in zip(ends, lengths)]
    return TokenDocuments([str(i) for i in range(len(rows))], rows, vocabulary=100_000)


DATA = numbered([30, 0, 41, 7, 100, 1, 64, 13])


def rows_of(order, count):
    return [tuple(order.take(1)["tokens"][0].tolist()) for _ in range(count)]


@pytest.mark.parametrize("group_tokens", [60, 10_000])
def test_an_epoch_has_each_token_once_less_what_is_dropped(group_tokens):
    order = RowOrder(Causal(length=8), DATA, 0, group_tokens=group_tokens)
    rows = []
    while order.cursor.epoch == 0:
        cursor, dropped = order.cursor, order.dropped
        row = order.take(1)["tokens"][0]
        if order.cursor.epoch == 0:
            rows.append(row)
        else:
            assert dropped + len(rows) * 8 == DATA.total_tokens + len(DATA)
    targets = Counter(np.concatenate([row[1:] for row in rows]).tolist())
    assert max(count for token, count in targets.items() if token) == 1
    assert cursor.epoch == 0


def test_the_order_is_a_function_of_the_seed_and_the_epoch():
    def rows(seed, epoch=0):
        return rows_of(RowOrder(Causal(length=8), DATA, seed, Cursor(epoch)), 20)

    assert rows(0) == rows(0)
    assert rows(0) != rows(1)
    assert rows(0, epoch=1) != rows(0)


@given(st.lists(st.integers(1, 40), max_size=6), st.integers(0, 30), st.sampled_from([60, 10_000]))
@settings(max_examples=40, deadline=None)
def test_a_cursor_goes_on_where_it_was(takes, extra, group_tokens):
    whole = RowOrder(Causal(length=8), DATA, 3, group_tokens=group_tokens)
    first = RowOrder(Causal(length=8), DATA, 3, group_tokens=group_tokens)
    for count in takes:
        assert first.take(count)["tokens"].tolist() == whole.take(count)["tokens"].tolist()
    restarted = RowOrder(Causal(length=8), DATA, 3, first.cursor, group_tokens)
    expected = rows_of(whole, extra)
    assert rows_of(restarted, extra) == expected


def test_one_take_is_many_small_ones():
    one, many = (RowOrder(Causal(length=8), DATA, 0, group_tokens=60) for _ in range(2))
    assert one.take(90)["tokens"].tolist() == [list(row) for row in rows_of(many, 90)]


@pytest.mark.parametrize("lengths", [[], [0, 0], [3, 3]])
def test_too_little_text_is_refused(lengths):
    with pytest.raises(DataError, match="too few for one row"):
        RowOrder(Causal(length=16), numbered(lengths), 0).take(1)


def test_tokens_seen_are_those_of_the_rows():
    objective = Causal(length=8)
    tokens, offsets = tokens_seen(objective, DATA, rows=9, seed=5)
    rows = rows_of(RowOrder(objective, DATA, 5), 9)
    assert tokens.tolist() == [token for row in rows for token in row[1:] if token != DATA.end]
    assert offsets[0] == 0 and offsets[-1] == len(tokens) and (np.diff(offsets) > 0).all()
    # No piece goes on beyond a document: within one, the tokens are neighbours.
    for start, stop in itertools.pairwise(offsets):
        assert (np.diff(tokens[start:stop].astype(int)) == 1).all()


def test_after_an_epoch_all_has_been_seen():
    tokens, offsets = tokens_seen(Causal(length=8), DATA, rows=500, seed=5)
    assert sorted(tokens.tolist()) == list(range(1, DATA.total_tokens + 1))
    assert np.diff(offsets).tolist() == DATA.lengths.tolist()
