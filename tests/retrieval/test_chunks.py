"""The chunk database: chunks and continuations, what is left out, look-ups."""

import numpy as np
import pytest

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.retrieved import Retrieved
from tilth.retrieval.chunks import ChunkDatabase, Lookups, searcher, shuffled, without
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

TEXTS = {
    "harbour": "The old harbour of Brenmoor lies empty since the ferry to Quill left for good.",
    "ferry": "A ferry to Quill used to call at Brenmoor twice a week, says the harbour master.",
    "bread": "Knead flour, water and salt; let the dough rest; bake it in a very hot oven.",
    "copy": "The old harbour of Brenmoor lies empty since the ferry to Quill left for good!",
}
CHUNK = 8


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(list(TEXTS.values()), 320)


@pytest.fixture(scope="module")
def data(tokenizer):
    return TokenDocuments.of(list(TEXTS), list(TEXTS.values()), tokenizer)


@pytest.fixture(scope="module")
def database(data, tokenizer):
    return ChunkDatabase(data, tokenizer, chunk=CHUNK)


def test_values_are_chunks_with_what_follows(database, data):
    place = 0
    for number, row in enumerate(data.tokens):
        for start in range(0, len(row), CHUNK):
            value = database.values[place]
            expected = row[start : start + 2 * CHUNK]
            assert value[: len(expected)].tolist() == expected.tolist()
            assert (value[len(expected) :] == -1).all() and database.owners[place] == number
            place += 1
    assert place == len(database)
    empty = ChunkDatabase(data.select([]), database.tokenizer, chunk=CHUNK)
    assert len(empty) == 0


def test_same_document_and_copies_are_left_out(database, data):
    counts = Lookups()
    found = database.neighbours(data, k=2, counts=counts)
    owners = {database.values[n].tobytes(): database.owners[n] for n in range(len(database))}
    of_harbour = [
        owners[value.tobytes()] for chunk in found.extra["neighbours"][0] for value in chunk
        if (value >= 0).any()
    ]  # fmt: skip
    assert 0 not in of_harbour, "its own chunks"
    assert counts.near_duplicates > 0 and counts.same_document > 0
    assert counts.chunks == sum(len(row) // CHUNK for row in data.tokens)
    kept = database.neighbours(data.select([0]), k=2, shared=0).extra["neighbours"][0]
    first = [owners[chunk[0].tobytes()] for chunk in kept if (chunk[0] >= 0).any()]
    assert 3 in first, "with shared=0 the copy is the best neighbour"


def test_only_whole_chunks_ask(database, data):
    found = database.neighbours(data, k=3)
    for row, near in zip(data.tokens, found.extra["neighbours"]):
        assert near.shape == (-(-len(row) // CHUNK), 3, 2 * CHUNK)
        assert len(row) % CHUNK == 0 or (near[-1] == -1).all()
    batch = Retrieved(length=2 * CHUNK, chunk=CHUNK, most=3, tokens=2 * CHUNK).prepare(
        found, Draws()
    )
    assert (batch["neighbours"][0, 0] == found.extra["neighbours"][0][0]).all()
    assert found.select([1]).extra["neighbours"][0] is found.extra["neighbours"][1]
    assert data.extra == {}


def test_a_chunk_finds_what_speaks_of_the_same(database, tokenizer):
    asked = np.array(bpe.encode(tokenizer, ["the ferry to Quill and"])[0])
    found = searcher(database, 1)(asked)
    assert "Quill" in database.text(found[0])
    nothing = database.lookup(np.array([database.tokenizer.token_to_id("!")]))
    assert (nothing == -1).all()


def test_controls_keep_the_count(database, data):
    found = database.neighbours(data)
    mixed, none = shuffled(found, 1), without(found)
    rows = [sorted(map(bytes, np.concatenate(one.extra["neighbours"]))) for one in (found, mixed)]
    assert rows[0] == rows[1]
    assert not all(
        np.array_equal(a, b) for a, b in zip(found.extra["neighbours"], mixed.extra["neighbours"])
    )
    assert all((one == -1).all() for one in none.extra["neighbours"])


def test_a_chunk_has_two_tokens(data, tokenizer):
    with pytest.raises(UsageError):
        ChunkDatabase(data, tokenizer, chunk=1)
