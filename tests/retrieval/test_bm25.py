"""BM25 against a plain one, against rebuilds after random changes, and byte for byte."""

from __future__ import annotations

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, UsageError
from tilth.lookup import construct
from tilth.retrieval import RETRIEVERS, bm25, texts
from tilth.retrieval.analyzer import Words
from tilth.retrieval.bm25 import BM25
from tilth.store.write import read_json, write_json
from tilth.testing import strategies
from tilth.testing.faults import tree
from tilth.testing.retrievers import check_retriever

TERMS = Words().terms


def plain_scores(documents, query, k1=1.2, b=0.75):
    """The formula as it is written, with dictionaries; another order of sums."""
    bags = {id: Counter(TERMS(text)) for id, text in documents.items()}
    average = sum(bag.total() for bag in bags.values()) / len(bags)
    scores = {}
    for id, bag in bags.items():
        score = 0.0
        for term in TERMS(query):
            if term in bag:
                n = sum(term in other for other in bags.values())
                idf = math.log1p((len(bags) - n + 0.5) / (n + 0.5))
                norm = k1 * (1 - b + b * bag.total() / average)
                score += idf * bag[term] / (bag[term] + norm)
        if score > 0:
            scores[id] = score
    return scores


def collection(seed, count=60, vocabulary=40):
    chance = random.Random(seed)
    words = [f"word{number}" for number in range(vocabulary)]
    weights = [1 / (number + 1) for number in range(vocabulary)]
    documents = {
        f"{chance.randrange(10**6):06}": " ".join(
            chance.choices(words, weights, k=chance.randrange(25))
        )
        for _ in range(count)
    }
    queries = [" ".join(chance.choices(words, k=size)) for size in (1, 2, 3, 8)]
    return documents, [*queries, "unknown", "word0 word0 word1 unknown"]


def bits(retriever, queries, ids):
    """All that can be asked, exactly."""
    return (
        retriever.search(queries, k=7).rows,
        retriever.score(queries, ids).tobytes(),
        [retriever.explain(query, id) for query in queries for id in ids[:1]],
        len(retriever),
        retriever.ids,
    )


@pytest.mark.parametrize("options", [{}, {"k1": 0.9, "b": 0.4}, {"k1": 0.0}, {"b": 0.0}, {"b": 1}])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_a_plain_one(seed, options):
    documents, queries = collection(seed)
    retriever = BM25(**options).fit(documents)
    run = retriever.search(queries, k=1000)
    ids = sorted(documents)
    scores = retriever.score(queries, ids)
    for number, query in enumerate(queries):
        expected = plain_scores(documents, query, **options)
        found = dict(run.rows[str(number)])
        assert found.keys() == expected.keys()
        for place, id in enumerate(ids):
            assert found.get(id, 0.0) == scores[number, place]
            assert math.isclose(found.get(id, 0.0), expected.get(id, 0.0), rel_tol=1e-12)
        for k in (1, 2, 10, 59):
            answers = retriever.search([query], k=k).rows["0"]
            assert answers == sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def test_a_query_worked_out_by_hand():
    retriever = BM25().fit({"a": "cat sat", "b": "cat cat dog dog", "c": "sun"})
    # cat: N = 3, n = 2; length 2 of an average of 7 / 3.
    expected = math.log(1 + 1.5 / 2.5) / (1 + 1.2 * (0.25 + 0.75 * 2 / (7 / 3)))
    assert retriever.score(["cat"], ["a"])[0, 0] == pytest.approx(expected, rel=1e-14)
    assert retriever.score(["cat cat"], ["a"])[0, 0] == pytest.approx(2 * expected, rel=1e-14)


def test_ties_are_in_the_order_of_ids_whatever_the_order_of_adding():
    ids = ["b", "a", "10", "9", "\U0001f600", "\uff5e", "\ud800", "B"]
    retriever = BM25()
    for id in ids:
        retriever.add({id: "same words"})
    for k in range(1, 9):
        run = retriever.search(["words"], k=k)
        assert [id for id, _ in run.rows["0"]] == sorted(ids)[:k]
    lines = retriever.search({"q": "words"}, k=2).to_trec().splitlines()
    assert [line.split()[:4] for line in lines] == [["q", "Q0", "10", "1"], ["q", "Q0", "9", "2"]]


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove", "save"]),
        st.dictionaries(st.sampled_from("abcdefgh"), strategies.texts(30), max_size=4),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(CHANGES)
def test_any_changes_give_what_a_rebuild_gives(tmp_path_factory, changes):
    folder = tmp_path_factory.mktemp("changes")
    retriever, live = BM25(), {}
    for kind, documents in changes:
        if kind == "add":
            retriever.add(documents)
            live.update(documents)
        elif kind == "remove":
            gone = [id for id in documents if id in live]
            retriever.remove(gone)
            live = {id: text for id, text in live.items() if id not in gone}
        else:
            retriever.save(folder / "between")
            retriever = BM25.load(folder / "between")
        rebuilt = BM25().fit(live)
        queries = ["the der 7 a", "a", *list(live.values())[:2], *list(documents.values())[:2]]
        assert bits(retriever, queries, sorted(live)) == bits(rebuilt, queries, sorted(live))
    retriever.save(folder / "changed")
    rebuilt = BM25().fit(dict(reversed(live.items())))
    rebuilt.save(folder / "rebuilt")
    assert tree(folder / "changed") == tree(folder / "rebuilt")


def test_many_single_changes_keep_few_segments(tmp_path):
    documents, queries = collection(3, count=400)
    chance = random.Random(0)
    retriever, live = BM25().fit({}), {}
    for id, text in documents.items():
        retriever.add({id: text})
        live[id] = text
        if chance.random() < 0.3:
            gone = chance.choice(list(live))
            retriever.remove([gone])
            del live[gone]
    assert len(retriever._postings.segments) <= 10
    assert bits(retriever, queries, sorted(live)) == bits(BM25().fit(live), queries, sorted(live))
    retriever.save(tmp_path / "a")
    BM25().fit(live).save(tmp_path / "b")
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_batches_and_chunks_change_nothing(tmp_path, monkeypatch):
    documents, queries = collection(4)
    whole = BM25().fit(documents)
    whole.save(tmp_path / "whole")
    pairs = list(documents.items())
    first, second = dict(pairs[:50]), dict(pairs[40:])
    monkeypatch.setattr(texts, "CHUNK", 500)
    monkeypatch.setattr(bm25, "ANSWERS", 3)
    stream = ((list(part), list(part.values())) for part in ({pairs[45][0]: "old"}, first, second))
    streamed = BM25().fit_batches(stream)
    streamed.save(tmp_path / "streamed")
    assert tree(tmp_path / "whole") == tree(tmp_path / "streamed")
    assert bits(streamed, queries, sorted(documents)) == bits(whole, queries, sorted(documents))


@pytest.mark.parametrize("name", sorted(RETRIEVERS))
def test_contract(name):
    check_retriever(lambda: construct("retriever", RETRIEVERS, name, {}))


def test_contract_with_options():
    analyzer = {"name": "words", "stop_words": ["the"]}
    check_retriever(lambda: BM25(k1=0, b=1, analyzer=analyzer))


def test_shares_add_up_to_the_score():
    documents, queries = collection(5)
    retriever = BM25().fit(documents)
    for id, score in retriever.search([queries[3]], k=20).rows["0"]:
        shares = retriever.explain(queries[3], id)
        assert shares == sorted(shares, key=lambda pair: (-pair[1], pair[0]))
        assert {term for term, _ in shares} == set(TERMS(queries[3])) & set(TERMS(documents[id]))
        total = 0.0
        for _, share in sorted(shares):
            total += share
        assert total == score


def test_idf_of_terms():
    retriever = BM25().fit({"a": "x y", "b": "x", "c": "x z"})
    retriever.remove(["c"])
    assert retriever.idf(["x", "z"]) == {"x": math.log1p(0.5 / 2.5), "z": math.log1p(2.5 / 0.5)}


def test_user_mistakes(tmp_path):
    retriever = BM25().fit({"report-2023": "x", "report-2024": "x"})
    with pytest.raises(UsageError, match="did you mean 'report-202"):
        retriever.remove(["report-2023", "report-2022"])
    assert len(retriever) == 2
    with pytest.raises(UsageError, match="no document has the id 'q'"):
        retriever.score(["x"], ["q"])
    for mistake in ({"k1": -1}, {"b": 2}, {"k1": math.nan}, {"analyzer": "wrods"}):
        with pytest.raises(UsageError):
            BM25(**mistake)
    for call in (
        lambda: retriever.search("x"),
        lambda: retriever.search(["x"], k=0),
        lambda: retriever.remove("report-2023"),
    ):
        with pytest.raises(UsageError):
            call()
    for bad in ({"new": None}, {7: "text"}):
        with pytest.raises(DataError):
            retriever.add({"also new": "x", **bad})
        with pytest.raises(DataError):
            retriever.fit(bad)
    with pytest.raises(DataError, match="1 ids and 2 texts"):
        retriever.fit_batches([(["a"], ["b", "c"])])
    assert retriever.ids == ["report-2023", "report-2024"]


def test_damaged_folders_are_refused(tmp_path):
    documents, _ = collection(6)
    BM25().fit(documents).save(tmp_path)
    manifest = read_json(tmp_path / "manifest.json")
    for name, wrong in (
        ("documents", lambda a: a + 1000),
        ("starts", lambda a: a[::-1].copy()),
        ("starts", lambda a: np.append(a[:-1], a[-1] + 1)),
        ("lengths", lambda a: a[1:]),
        ("counts", lambda a: a.astype(np.float32)),
    ):
        whole = (tmp_path / f"{name}.npy").read_bytes()
        np.save(tmp_path / f"{name}.npy", wrong(np.load(tmp_path / f"{name}.npy")))
        manifest["files"][f"{name}.npy"]["bytes"] = (tmp_path / f"{name}.npy").stat().st_size
        write_json(tmp_path / "manifest.json", manifest)
        with pytest.raises(DamagedError):
            BM25.load(tmp_path)
        (tmp_path / f"{name}.npy").write_bytes(whole)
        manifest["files"][f"{name}.npy"]["bytes"] = len(whole)
        write_json(tmp_path / "manifest.json", manifest)
    assert len(BM25.load(tmp_path)) == len(documents)
    write_json(tmp_path / "manifest.json", {**manifest, "fingerprint": "another"})
    with pytest.raises(DataError, match="another version"):
        BM25.load(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DamagedError, match="not a finished"):
        BM25.load(tmp_path)
