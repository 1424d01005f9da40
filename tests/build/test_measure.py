"""What a build measures, on data whose answers are known."""

import json
import random

import numpy as np
import pytest

from tilth.build.measure import curve_points, lexical_search, spread, token_budget
from tilth.build.plan import Plan
from tilth.corpus.corpus import Corpus
from tilth.corpus.executors import LocalExecutor
from tilth.corpus.rules import Rule
from tilth.retrieval.bm25 import BM25
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


def index_of(corpus, texts):
    folder = corpus.folder / "index"
    BM25().fit(texts).save(folder)
    return folder


def test_a_document_is_found_by_a_sentence_that_was_taken_out(searched):
    texts = {document.id: document.text for document in searched.documents()}
    found = lexical_search(index_of(searched, texts), searched, 40, seed=0)
    assert found["queries"] == 40 and found["R@10"] >= 0.95
    assert found["ci_low"] <= found["nDCG@10"] <= found["ci_high"]


def test_budgets_and_points_of_the_curve():
    plan = Plan()
    step = plan.train.batch_tokens
    assert token_budget(plan, 500_000, 10**8) >= 2 * 500_000
    assert token_budget(plan, 500_000, 10**8) % step == 0
    assert token_budget(plan, 500_000, 10_000) == 4 * 10_000 // step * step + step
    assert token_budget(plan.with_settings(["train.tokens=7"]), 1, 1) == 7
    assert curve_points(1000) == {1000, 500, 250, 125, 62, 31}
    assert curve_points(1) == {1}


def test_spread_is_bounded_order_free_and_never_empty():
    class Documents:
        def __init__(self, numbers):
            self.ids = [f"id{n}" for n in numbers]
            self.text_bytes = np.array([10 + n for n in numbers])

    forward, backward = Documents(range(50)), Documents(range(49, -1, -1))
    chosen = spread(forward, 300)
    assert 200 < forward.text_bytes[chosen].sum() <= 300
    assert {forward.ids[n] for n in chosen} == {backward.ids[n] for n in spread(backward, 300)}
    assert len(spread(forward, 1)) == 1
