"""A few documents with known answers, indexed in memory."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import leases

from tilth.retrieval.bm25 import BM25
from tilth.retrieval.dense import Dense
from tilth.retrieval.fusion import Fused


@pytest.fixture(scope="session")
def texts():
    return leases.Texts(leases.TEXTS)


@pytest.fixture(scope="session")
def lexical(texts):
    return BM25().fit(texts)


@pytest.fixture(scope="session")
def dense(texts):
    return Dense(encoder="hashed", target=100).fit(texts)


@pytest.fixture(scope="session")
def fused(lexical, dense):
    return Fused({"lexical": lexical, "dense": dense})
