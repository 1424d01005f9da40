"""Fusion: its formulas, what it says of its inputs, and weights chosen on other queries."""

import numpy as np
import pytest

from tilth.errors import UsageError
from tilth.retrieval.bm25 import BM25
from tilth.retrieval.dense import Dense
from tilth.retrieval.fusion import Fused, cross_fitted, judge, reciprocal_rank, weighted
from tilth.types import Run

DOCUMENTS = {
    "a": "how to limit the memory of a child process",
    "b": "the memory of a child",
    "c": "a process asks for memory",
    "d": "the flow past a plate",
    "e": "",
}


def both():
    return {"lexical": BM25().fit(DOCUMENTS), "dense": Dense(encoder="hashed").fit(DOCUMENTS)}


def test_reciprocal_ranks_add_up_and_ties_go_by_id():
    one = Run({"q": [("b", 9.0), ("a", 1.0)], "r": []})
    two = Run({"q": [("a", 0.2), ("b", 0.1), ("c", 0.0)], "r": [("z", 1.0)]})
    found = reciprocal_rank({"one": one, "two": two}, k=3)
    assert found.rows["q"] == [
        ("a", 1 / 62 + 1 / 61), ("b", 1 / 61 + 1 / 62), ("c", 1 / 63),
    ]  # fmt: skip
    assert found.rows["r"] == [("z", 1 / 61)]
    assert reciprocal_rank({"two": two, "one": one}, k=3) == found


def test_weighted_scores_are_standardised_and_what_is_missing_counts_as_lowest():
    scores = {"x": np.array([1.0, 3.0, -np.inf]), "y": np.array([5.0, 5.0, 5.0])}
    found = weighted(scores, {"x": 0.5, "y": 0.5})
    assert found[1] > found[0] == found[2] and np.isclose(found.sum(), 0)
    assert not weighted({"x": np.full(2, -np.inf)}, {"x": 1.0}).any()


@pytest.mark.parametrize("method", ["reciprocal_rank", "weighted"])
def test_the_ends_of_the_weights_are_the_inputs(method):
    parts = both()
    queries = {"first": "limit memory of a child", "second": "flow", "none": ""}
    found = Fused(parts, method=method).search(queries, k=3)
    assert found.rows["first"][0][0] == "a" and found.rows["none"] == []
    assert found == Fused(parts, method=method).search(queries, k=3)
    if method == "weighted":
        for name in parts:
            weights = {other: float(other == name) for other in parts}
            alone = Fused(parts, method=method, weights=weights).search(queries, k=1)
            for query in ("first", "second"):
                expected = parts[name].search(queries, k=1).rows[query][0][0]
                assert alone.rows[query][0][0] == expected


def test_the_best_input_is_named_and_the_difference_is_paired():
    chance = np.random.default_rng(0)
    good, poor = chance.random(200), chance.random(200) * 0.5
    found = judge({"lexical": good, "dense": poor}, good + 0.1)
    assert found["best"] == "lexical" and found["verdict"] == "yes"
    assert np.isclose(found["difference"], 0.1) and np.isclose(found["ci_low"], 0.1)
    assert judge({"lexical": good, "dense": poor}, good - 0.1)["verdict"] == "no"
    assert judge({"lexical": good, "dense": poor}, chance.permutation(good))["verdict"] == (
        "undecided"
    )


def test_a_weight_is_judged_on_other_queries_than_it_was_chosen_on():
    # Each setting is right for one query alone: chosen honestly, none of them helps.
    values = np.eye(10)
    chosen, _ = cross_fitted(values, folds=10)
    assert values[chosen, np.arange(10)].sum() == 0
    better = np.stack([np.zeros(30), np.ones(30)])
    chosen, best = cross_fitted(better)
    assert best == 1 and chosen.all()
    assert cross_fitted(np.array([[0.0], [1.0]]))[1] == 1


def test_wrong_names_are_refused():
    with pytest.raises(UsageError, match="did you mean 'weighted'"):
        Fused(both(), method="weigthed")
    with pytest.raises(UsageError, match="weights of"):
        Fused(both(), weights={"lexical": 1.0})
