import numpy as np
import pytest

from tilth.testing.objectives import VOCABULARY
from tilth.tokens.documents import TokenDocuments


@pytest.fixture(scope="session")
def counting():
    """Documents that count up by a step of their own: easy to learn."""
    chance = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        start, step, size = chance.integers(1, 50), chance.integers(1, 4), chance.integers(20, 60)
        rows.append((1 + (start + step * np.arange(size)) % 60).astype(np.uint16))
    return TokenDocuments([str(number) for number in range(60)], rows, VOCABULARY)
