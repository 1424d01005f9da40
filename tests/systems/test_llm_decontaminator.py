"""The system llm-decontaminator: what is hidden, renamed, counted; its run at scale smoke."""

import ast
import random

import numpy as np
import pytest

from tilth.evaluation.rephrased_candidates import Candidates
from tilth.store.cache import data_folders
from tilth.systems import _rephrased_sets, llm_decontaminator
from tilth.systems._rephrased_mbpp import renamed
from tilth.systems._rephrased_sets import Hidden, K, best_cut, f1_of, hide, scores


def made(truth, places, similarities):
    """A Hidden whose candidates are these."""
    hidden = Hidden("maths", [f"test {n}" for n in range(len(truth))], ["row"] * 99, truth)
    hidden.candidates = Candidates(np.array(places), np.array(similarities))
    return hidden


def test_rephrasings_are_hidden_where_it_says():
    clean = [f"clean {number}" for number in range(30)]
    hidden = hide("maths", ["a", "b", "c"], ["x", "  ", "z"], clean, random.Random(1))
    assert hidden.truth[1] is None and len(hidden.training) == 32
    assert [hidden.training[hidden.truth[n]] for n in (0, 2)] == ["x", "z"]
    assert sorted(hidden.training) == sorted(["x", "z", *clean])


def test_f1_and_recall_are_those_of_all_pairs():
    hidden = hide("maths", ["a", "b", "c"], ["x", "", "z"], [], random.Random(1))
    first, third = hidden.truth[0], hidden.truth[2]
    f1, recall = scores(hidden, {(0, first), (0, third), (1, third)})
    # One right, two wrong, one missed.
    assert f1.numerators.sum() / f1.denominators.sum() == pytest.approx(2 / (2 + 2 + 1))
    assert recall.numerators.sum() / recall.denominators.sum() == 0.5
    assert f1_of(hidden, set()) == 0 and f1_of(hidden, {(0, first), (2, third)}) == 1


def test_the_best_cut_is_that_of_a_search_over_all():
    rng = np.random.default_rng(5)
    for _ in range(20):
        places = np.array([rng.permutation(30)[:K] for _ in range(12)])
        similarities = np.sort(rng.choice([0.1, 0.2, 0.3, 0.5, 0.8], (12, K)))[:, ::-1]
        truth = [int(rng.choice(row)) if rng.random() < 0.7 else None for row in places]
        hidden = made(truth, places, similarities)

        def f1(k, threshold, hidden=hidden):
            rows, ranks = np.nonzero(hidden.candidates.similarities[:, :k] >= threshold)
            flagged = hidden.candidates.places[rows, ranks]
            return f1_of(hidden, set(zip(rows.tolist(), flagged.tolist())))

        expected = max(f1(k, t) for k in (1, K) for t in (0.05, 0.15, 0.25, 0.4, 0.6))
        assert f1(*best_cut(hidden)) == pytest.approx(expected)


def test_renamed_code_does_the_same():
    code = (
        "import math\nLIMIT = 3\ndef helper(x):  # adds\n    return x + LIMIT\n"
        "def main(values, start=0):\n    '''Old.'''\n    total = start\n"
        "    for value in values:\n        total += helper(x=value)\n    return math.floor(total)\n"
    )
    words = [f"word{number}" for number in range(20)]
    other = renamed(code, words, random.Random(2), "New words.")
    before, after = {}, {}
    exec(code, before)
    exec(other, after)
    tree = ast.parse(other)
    last = tree.body[-1]
    assert ast.get_docstring(last) == "New words." and "adds" not in other and "Old" not in other
    assert not {"helper", "main", "values", "total", "LIMIT"} & set(other.replace("(", " ").split())
    assert after[last.name]([1.5, 2], 4) == before["main"]([1.5, 2], 4) == 13


def test_smoke(smoke):
    result = smoke("llm-decontaminator")
    assert result["verdict"] == "not judged" and len(result["invariants"]) == 8
    assert all(entry["holds"] for entry in result["invariants"])
    values = {(run["arm"], run["metric"]): run["value"] for run in result["runs"]}
    two = values["two stages", llm_decontaminator.MATHS]
    assert values["13-grams", llm_decontaminator.MATHS] < two == 1.0
    for metric in (llm_decontaminator.CODE, llm_decontaminator.MATHS):
        assert values["best threshold", metric] >= values["threshold", metric]
        assert values["best single stage", metric] >= values["threshold", metric]


def test_the_real_data_are_what_was_measured():
    folders = [folder for folder in data_folders() if (folder / "contamination_rephrased").is_dir()]
    if not folders:
        pytest.skip("contamination_rephrased is in none of the data folders")
    for name, (digest, licence) in _rephrased_sets.SOURCES.items():
        assert _rephrased_sets._folder(name).is_dir() and len(digest) == 32 and licence
