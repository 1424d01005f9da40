"""Which search to use, on records whose answers are known."""

import json
import random

import numpy as np
import pytest

from tilth.build.searching import WEIGHTS, compared, known_items
from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.rules import Rule
from tilth.retrieval.bm25 import BM25
from tilth.retrieval.dense import Dense
from tilth.signals.length import Length


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """60 records of one file, each about things of its own, said in several sentences."""
    folder, chance = tmp_path_factory.mktemp("searched"), random.Random(0)
    lines = []
    for number in range(60):
        things = [f"thing{number}x{letter}" for letter in "abcdefgh"]
        sentences = [
            f"The {' and the '.join(chance.sample(things, 5))} are told of here again."
            for _ in range(12)
        ]
        lines.append(json.dumps({"text": " ".join(sentences)}))
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    corpus = Corpus(folder / "corpus", executor=LocalExecutor(1))
    corpus.add([folder / "records.jsonl"])
    corpus.measure([Length()])
    corpus.select(Rule({"has words": "words >= 5"}))
    return corpus


@pytest.fixture(scope="module")
def items(searched):
    return known_items(searched, 40, 0, held_out=False)


def retrievers(corpus):
    texts = {document.id: document.text for document in corpus.documents()}
    return {"lexical": BM25().fit(texts), "dense": Dense(encoder="hashed").fit(texts)}


def test_a_document_is_found_by_a_sentence_that_was_taken_out(searched, items):
    found = compared(items, {"lexical": retrievers(searched)["lexical"]}, "reciprocal_rank", 0)
    assert found["queries"] == 40 and found["lexical"]["R@10"] >= 0.95
    lexical = found["lexical"]
    assert lexical["ci_low"] <= lexical["nDCG@10"] <= lexical["ci_high"]
    assert found["dense"] is None and found["fused"] is None and "fusion" not in found


@pytest.mark.parametrize("method", ["reciprocal_rank", "weighted"])
def test_both_and_their_fusion_are_told_apart(searched, items, method):
    found = compared(items, retrievers(searched), method, 0)
    assert found["dense"]["R@10"] >= 0.9 and found["fused"]["R@10"] >= 0.9
    best = max(("dense", "lexical"), key=lambda name: (found[name]["nDCG@10"], name))
    fusion, other = found["fusion"], found["dense_minus_lexical"]
    assert fusion["best"] == best and fusion["method"] == method
    assert np.isclose(fusion["difference"], found["fused"]["nDCG@10"] - found[best]["nDCG@10"])
    minus = found["dense"]["nDCG@10"] - found["lexical"]["nDCG@10"]
    assert np.isclose(other["difference"], minus)
    assert (fusion.get("dense_weight") in WEIGHTS) == (method == "weighted")


def test_without_an_item_nothing_is_scored(searched):
    empty = known_items(searched, 0, 0, held_out=False)
    found = compared(empty, retrievers(searched), "weighted", 0)
    assert found == {"queries": 0, "lexical": None, "dense": None, "fused": None}
