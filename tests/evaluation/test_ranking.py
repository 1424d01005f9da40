"""Measures against their formulas, known items against their promise, Cranfield where it is."""

from __future__ import annotations

import gzip
import json
import math
import random

import numpy as np
import pytest

from tilth.errors import DataError, UsageError
from tilth.evaluation.ranking import evaluate_queries, evaluate_run, known_item_queries
from tilth.retrieval.analyzer import Words
from tilth.retrieval.bm25 import BM25
from tilth.store.cache import data_folders
from tilth.types import Run


def plain_measures(ids, gains):
    """nDCG@10, R@100, RR@10 and AP of one query, as their papers write them."""
    ideal = sorted((gain for gain in gains.values() if gain > 0), reverse=True)
    relevant = [gains.get(id, 0) > 0 for id in ids]

    def dcg(values):
        return sum(max(value, 0) / math.log2(n + 2) for n, value in enumerate(values[:10]))

    found = [sum(relevant[: n + 1]) / (n + 1) for n, hit in enumerate(relevant) if hit]
    return {
        "nDCG@10": dcg([gains.get(id, 0) for id in ids]) / dcg(ideal) if ideal else 0,
        "R@100": sum(relevant[:100]) / len(ideal) if ideal else 0,
        "RR@10": max((1 / (n + 1) for n, hit in enumerate(relevant[:10]) if hit), default=0),
        "AP": sum(found) / len(ideal) if ideal else 0,
    }


@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_their_formulas(seed):
    chance = random.Random(seed)
    # Names and scores that trec_eval alone would not keep apart.
    names = [f"d\x00{number}" for number in range(150)] + ["\ud800", "a b"]
    rows, qrels = {}, {}
    for query in ("1", "two words", "3\x00", "3\x00x", "5"):
        ids = chance.sample(names, chance.choice([0, 5, 140]))
        rows[query] = [(id, 1.0 + 1e-12 * (len(ids) - n)) for n, id in enumerate(ids)]
        qrels[query] = {id: chance.choice([-1, 0, 1, 2, 3]) for id in chance.sample(names, 40)}
    del rows["5"]
    rows["without judgements"] = [("a b", 1.0)]
    values = evaluate_queries(Run(rows), qrels)
    for query, gains in qrels.items():
        expected = plain_measures([id for id, _ in rows.get(query, [])], gains)
        for name, value in expected.items():
            assert values[name][query] == pytest.approx(value, rel=1e-9), (query, name)
    means = evaluate_run(Run(rows), qrels)
    assert means == {n: pytest.approx(np.mean(list(v.values()))) for n, v in values.items()}


def test_tied_scores_stay_in_the_order_of_the_run():
    qrels = {"q": {"a": 1}}
    assert evaluate_run(Run({"q": [("a", 1.0), ("b", 1.0)]}), qrels, ["RR@10"]) == {"RR@10": 1.0}
    assert evaluate_run(Run({"q": [("b", 1.0), ("a", 1.0)]}), qrels, ["RR@10"]) == {"RR@10": 0.5}


def test_missing_answers_count():
    qrels = {"found": {"a": 1}, "missing": {"a": 1}, "empty": {"a": 1}, "no gains": {}}
    run = Run({"found": [("a", 1.0)], "empty": []})
    assert evaluate_run(run, qrels, ["AP", "MAP", "NumQ"]) == {"AP": 0.25, "MAP": 0.25, "NumQ": 3.0}


def test_mistakes():
    run = Run({"q": [("a", 1.0)]})
    with pytest.raises(UsageError, match="did you mean 'nDCG'"):
        evaluate_run(run, {"q": {"a": 1}}, ["nDGC@10"])
    for measures in (["nDCG@x"], ["nDCG(depth=3)"], "AP", ["alpha_nDCG@5"], [""]):
        with pytest.raises(UsageError):
            evaluate_run(run, {"q": {"a": 1}}, measures)
    with pytest.raises(DataError, match="no judgements"):
        evaluate_run(run, {})


def made_documents(count=60):
    """Documents of made words about something of their own, in sentences."""
    chance = random.Random(7)
    everyday = [f"common{number}" for number in range(20)]
    documents = {}
    for number in range(count):
        own = [f"topic{number}word{place}" for place in range(12)]
        sentences = [
            " ".join(chance.choices(everyday, k=6) + chance.choices(own, k=6)).capitalize() + "."
            for _ in range(chance.randrange(1, 12))
        ]
        documents[f"id{number}"] = " ".join(sentences)
    return documents


def test_known_items_are_what_they_promise():
    documents = made_documents()
    items = known_item_queries(documents, np.random.default_rng(0), 30)
    assert len(items) == 30 == len({item.id for item in items})
    frequency = {}
    for text in documents.values():
        for term in set(Words().terms(text)):
            frequency[term] = frequency.get(term, 0) + 1
    for query, id, text, sentence in items:
        assert sentence in documents[id] and sentence not in text
        words = query.split()
        assert 3 <= len(words) <= 6
        assert all(frequency[word.lower()] <= 0.1 * len(documents) for word in words)
        original = documents[id]
        start = next(n for n, pair in enumerate(zip(original, text + "\0")) if pair[0] != pair[1])
        size = len(original) - len(text)
        # The first difference may come late where the next sentence begins alike.
        cuts = [
            original[n : n + size]
            for n in range(start + 1)
            if text == original[:n] + original[n + size :]
        ]
        assert any(all(word in cut for word in words) for cut in cuts)
        assert not any(cut.strip() in text for cut in cuts)
        assert len(Words().terms(text)) >= 30


def test_known_items_are_found_by_their_subject_and_not_by_a_copy():
    documents = made_documents()
    items = known_item_queries(documents, np.random.default_rng(1), 30)
    index = BM25().fit({**documents, **{item.id: item.text for item in items}})
    run = index.search([item.query for item in items])
    qrels = {str(number): {item.id: 1} for number, item in enumerate(items)}
    assert evaluate_run(run, qrels, ["RR@10"])["RR@10"] > 0.9


def test_known_items_depend_on_documents_and_seed_alone():
    documents = made_documents()
    items = known_item_queries(documents, np.random.default_rng(5), 10)
    turned = dict(reversed(documents.items()))
    assert known_item_queries(turned, np.random.default_rng(5), 10) == items
    assert known_item_queries(documents, np.random.default_rng(6), 10) != items
    assert known_item_queries({}, np.random.default_rng(0)) == []
    assert known_item_queries({"a": "Too short.", "b": ""}, np.random.default_rng(0)) == []


def cranfield():
    for folder in data_folders():
        if (folder / "ir_cranfield" / "qrels.tsv").is_file():
            return folder / "ir_cranfield"
    return None


@pytest.mark.skipif(cranfield() is None, reason="no folder of data_folders() holds ir_cranfield")
def test_cranfield():
    def texts(name):
        with gzip.open(cranfield() / name, "rt", encoding="utf-8") as file:
            return {record["_id"]: record["text"] for record in map(json.loads, file)}

    qrels = {}
    for line in (cranfield() / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, code = line.split("\t")
        # The file has Cleverdon's codes: 1 a complete answer ... 4 of least interest, -1 of none.
        gain = 5 - int(code) if int(code) > 0 else 0
        qrels.setdefault(query, {})[document] = gain
    run = BM25().fit(texts("corpus.jsonl.gz")).search(texts("queries.jsonl.gz"), k=100)
    measured = evaluate_run(run, qrels)
    # Measured when this was written: nDCG@10 0.334, R@100 0.696, RR@10 0.494, AP 0.263.
    assert measured["nDCG@10"] > 0.32
    assert measured["R@100"] > 0.68
