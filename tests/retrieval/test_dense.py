"""Dense search against brute force, the retriever contract, and its refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, UsageError
from tilth.lookup import construct
from tilth.retrieval import RETRIEVERS, vectors
from tilth.retrieval.dense import Dense, passage_spans
from tilth.retrieval.encoders import load_encoder
from tilth.retrieval.encoders.hashed import Hashed
from tilth.store.digest import digest_value
from tilth.testing import strategies
from tilth.testing.retrievers import check_retriever

SENTENCE = "The river runs past the old mill number {} and the fields beyond it. "


class Table:
    """An encoder whose vectors are chosen by the test: text -> vector, coarse, so that many tie."""

    name, dimensions, cut_tokens = "table", 4, 0

    def __init__(self, seed=0):
        self.seed, self.fingerprint = seed, digest_value(["table", seed])

    def encode(self, texts):
        seeds = [[self.seed, *text.encode()[:40]] for text in texts]
        rows = [np.random.default_rng(seed).integers(-2, 3, 4) for seed in seeds]
        return np.array(rows, np.float32).reshape(len(texts), 4)

    encode_queries = encode


def brute_force(encoder, documents, query, target):
    wanted = encoder.encode_queries([query])[0].astype(float)
    scores = {}
    for id, text in documents.items():
        passages = [text[a:b] for a, b in passage_spans(text, target)]
        rows = [row for row in encoder.encode(passages) if row.any()]
        if rows and wanted.any():
            scores[id] = max(float(row.astype(float) @ wanted) for row in rows)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def test_the_contract_of_retrievers():
    check_retriever(lambda: Dense(encoder={"name": "hashed", "dimensions": 64}))


@settings(max_examples=25, deadline=None)
@given(
    documents=st.dictionaries(st.text(max_size=6), strategies.texts(400), max_size=12),
    query=strategies.texts(30), k=st.integers(1, 15), block=st.sampled_from([1, 3, 1000]),
)  # fmt: skip
def test_equal_to_brute_force_with_ties_and_any_block(documents, query, k, block):
    encoder = Table()
    expected = brute_force(encoder, documents, query, 100)
    was, vectors.BLOCK = vectors.BLOCK, block
    try:
        index = Dense(encoder=encoder, target=100).fit(documents)
        assert index.search([query], k=k).rows["0"] == expected[:k]
    finally:
        vectors.BLOCK = was
    found = index.score([query], list(documents))[0]
    assert dict(zip(documents, found)) == {**dict.fromkeys(documents, -np.inf), **dict(expected)}


def test_near_ties_are_decided_by_exact_sums():
    chance = np.random.default_rng(0)

    class Near(Table):
        dimensions = 64

        def encode(self, texts):
            base = np.random.default_rng(1).normal(size=64)
            noise = [1e-7 * np.random.default_rng(len(t)).normal(size=64) for t in texts]
            return np.array([base + n for n in noise], np.float32).reshape(len(texts), 64)

        encode_queries = encode

    documents = {f"{chance.integers(10**9):09}": "x" * n for n in range(1, 60)}
    encoder = Near()
    index = Dense(encoder=encoder).fit(documents)
    found, expected = index.search(["y"], k=7).rows["0"], brute_force(encoder, documents, "y", 800)
    assert [id for id, _ in found] == [id for id, _ in expected[:7]]
    assert np.allclose([score for _, score in found], [score for _, score in expected[:7]])


def test_the_best_passage_stands_for_its_document():
    text = "".join(SENTENCE.format(n) for n in range(40))
    part = "Where the whale sang, a bell was heard under the ice. "
    documents = {"with": text + part + text, "without": text}
    index = Dense(encoder="hashed", target=200).fit(documents)
    assert index.search([part], k=2).rows["0"][0][0] == "with"
    (start, stop), other = index.best_passages(part, ["with", "without"])
    assert "whale" in documents["with"][start:stop] and stop - start <= 300
    assert other is not None and index.passages > 20


@settings(max_examples=30, deadline=None)
@given(strategies.texts(2000), st.integers(100, 400))
def test_passages_cover_a_text_but_for_blanks(text, target):
    spans = passage_spans(text, target)
    inside = np.zeros(len(text), bool)
    for start, stop in spans:
        assert start < stop and text[start:stop].strip() and not inside[start:stop].any()
        inside[start:stop] = True
    assert not "".join(c for c, there in zip(text, inside) if not there).strip()


def test_queries_of_another_space_are_refused(tmp_path):
    index = Dense(encoder="hashed").fit({"a": "some text"})
    found = index.search_vectors(Hashed().encode(["text"]), Hashed().fingerprint, 3)
    assert found[0] == index.search(["text"], k=3).rows["0"]
    with pytest.raises(UsageError, match="another space"):
        index.search_vectors(np.zeros((1, 256), np.float32), Table().fingerprint)
    with pytest.raises(UsageError, match=r"not \(any, 256\)"):
        index.search_vectors(np.zeros((1, 8), np.float32), Hashed().fingerprint)
    index.save(tmp_path)
    with pytest.raises(DataError, match="another encoder"):
        Dense.load(tmp_path, encoder=Hashed(dimensions=64))
    assert load_encoder(tmp_path / "encoder").fingerprint == Hashed().fingerprint


def test_damaged_and_unfinished_folders_are_refused(tmp_path):
    Dense(encoder="hashed").fit({"a": "some text", "b": "other"}).save(tmp_path)
    starts = np.load(tmp_path / "starts.npy")
    for broken in (starts[::-1].copy(), starts[:-1].copy(), starts.astype(np.int32)):
        data = (tmp_path / "starts.npy").read_bytes()
        np.save(tmp_path / "starts.npy", broken)
        with pytest.raises(DamagedError):
            Dense.load(tmp_path)
        (tmp_path / "starts.npy").write_bytes(data)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DamagedError, match="not a finished dense index"):
        Dense.load(tmp_path)


def test_wrong_options_are_named():
    with pytest.raises(UsageError, match="target is 5"):
        Dense(target=5)
    with pytest.raises(UsageError, match="did you mean 'hashed'"):
        construct("retriever", RETRIEVERS, "dense", {"encoder": "hashd"})
    with pytest.raises(UsageError, match="has weights"):
        Dense(encoder="static")
    with pytest.raises(UsageError, match="dimensions is 12"):
        Dense(encoder={"name": "hashed", "dimensions": 12})
