"""Old text among the new: how much, which, and none."""

import numpy as np
import pytest

from tilth.errors import DataError, UsageError
from tilth.tokens.documents import TokenDocuments
from tilth.training.replay import replayed


def numbered(count, size, first):
    rows = [np.full(size, first + n, dtype=np.uint16) for n in range(count)]
    return TokenDocuments([str(n) for n in range(count)], rows, 500, sizes=[size] * count)


def test_a_share_of_the_tokens_is_old():
    new, old = numbered(95, 10, 1), numbered(60, 7, 200)
    made = replayed(new, old, 0.05)
    assert len(made.ids) == len(set(made.ids)) == len(made.sizes)
    added = made.total_tokens - new.total_tokens
    assert 50 <= added < 57 and made.tokens[:95] == new.tokens
    assert len({int(row[0]) for row in made.tokens}) == len(made)
    assert replayed(new, old, 0.05).ids == made.ids != replayed(new, old, 0.05, seed=1).ids
    assert replayed(new, old, 0.0).ids == new.ids


def test_what_cannot_be_is_refused():
    new = numbered(95, 10, 1)
    with pytest.raises(DataError, match="old text"):
        replayed(new, numbered(2, 5, 200), 0.1)
    with pytest.raises(UsageError):
        replayed(new, new, 1.0)
    other = TokenDocuments(["a"], [np.array([1], dtype=np.uint16)], 499)
    with pytest.raises(DataError, match="vocabularies"):
        replayed(new, other, 0.1)
