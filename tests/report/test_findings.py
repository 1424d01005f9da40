import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.report.findings import FARTHEST, crossing, judge, reaching, verdict

FIRST = 4096


def curve(model, ngram, points=6):
    """Two straight lines (at the first point, change for each doubling) over the log of tokens."""
    return [
        {
            "tokens": FIRST * 2**n,
            "model": model[0] + model[1] * n,
            "ngram": ngram[0] + ngram[1] * n,
        }
        for n in range(points)
    ]


@settings(max_examples=60, deadline=None)
@given(
    behind=st.floats(0.01, 5), faster=st.floats(0.001, 1), points=st.integers(3, 12),
    start=st.floats(1, 8), slope=st.floats(-0.2, 0.2),
)  # fmt: skip
def test_straight_lines_cross_where_they_must(behind, faster, points, start, slope):
    found = crossing(curve((start + behind, slope - faster), (start, slope), points))
    doublings = min(behind / faster, 900.0)
    true = FIRST * 2.0**doublings
    last = FIRST * 2 ** (points - 1)
    if true <= last * (1 - 1e-9):
        assert found["state"] == "crossed"
    elif last * (1 + 1e-6) < true < FARTHEST * last * (1 - 1e-6):
        assert found["state"] == "estimated"
    elif true > FARTHEST * last * (1 + 1e-6):
        assert found["state"] == "too far" and found["tokens"] is None
    if found["tokens"] is not None:
        assert math.isclose(found["tokens"], true, rel_tol=1e-5)


def test_a_distance_that_does_not_shrink_never_crosses():
    assert crossing(curve((3, -0.1), (2, -0.1)))["state"] == "not in sight"
    assert crossing(curve((3, -0.1), (2, -0.2)))["state"] == "not in sight"


def test_a_model_that_was_better_from_the_start_and_one_that_fell_back():
    assert crossing(curve((2, -0.1), (3, -0.1))) == {"state": "crossed", "tokens": None}
    up_and_down = curve((3, 0), (3, 0), 4)
    for point, difference in zip(up_and_down, (1, -0.5, 0.5, -0.5)):
        point["model"] += difference
    found = crossing(up_and_down)
    assert found["state"] == "crossed"
    assert math.isclose(found["tokens"], FIRST * 2**2.5)


def test_early_points_do_not_decide_where_the_curves_go():
    bent = curve((9, -3), (1, 0), 3) + [
        {"tokens": FIRST * 2**n, "model": 2.8, "ngram": 1.0} for n in (3, 4, 5)
    ]
    assert crossing(bent)["state"] == "not in sight"


@pytest.mark.parametrize(
    "broken", [None, {}, [], [{}], [{"tokens": -1, "model": 1, "ngram": 1}], "x"]
)
def test_no_curve_is_unknown(broken):
    assert crossing(broken) == {"state": "unknown", "tokens": None}
    assert crossing(curve((3, -0.1), (2, 0), 2))["state"] == "unknown"


@pytest.mark.parametrize(
    ("model", "seen", "whole", "word"),
    [
        (1.5, 2.0, 1.8, "Yes"),
        (1.9, 2.0, 1.8, "Partly"),
        (2.5, 2.0, 1.8, "Not yet"),
        (2.004, 2.0, 1.8, "About even"),
        (1.5, None, 1.8, "Yes"),
        (2.0, None, 1.8, "Not yet"),
        (1.5, 2.0, None, "Yes"),
    ],
)
def test_verdicts(model, seen, whole, word):
    assert verdict(model, seen, whole) == word


def report(kept=5000, **evaluation):
    return {
        "documents": {"read": 6000, "bytes": 100, "kept": kept, "kept_bytes": 90},
        "duplicates": None,
        "not_read": {"total": 0, "reasons": []},
        "damage": {
            "encodings": [],
            "documents_with_replaced_characters": 0,
            "documents_with_damaged_characters": 0,
        },
        "licences": {"documents": 0},
        "licence_texts": None,
        "personal_data": None,
        "languages": None,
        "evaluation": evaluation,
    }


def answers(**evaluation):
    return {e["link"]: e for e in judge(report(**evaluation))["questions"]}


def test_a_good_model_and_search_are_not_called_weak():
    found = answers(
        bits={"model": 1.2, "ngram_seen": 1.9, "ngram_all": 1.6, "held_out_documents": 300},
        training={"tokens": 5e7, "parameters": 1e6, "corpus_tokens": 5e7},
        curve=curve((3, -0.4), (2.5, -0.1)),
        search={
            "queries": 500,
            "lexical": {"nDCG@10": 0.7, "R@10": 0.9, "ci_low": 0.67, "ci_high": 0.73},
            "dense": {"nDCG@10": 0.75, "R@10": 0.91, "ci_low": 0.72, "ci_high": 0.78},
            "fused": {"nDCG@10": 0.8, "R@10": 0.95, "ci_low": 0.77, "ci_high": 0.83},
            "fusion": {
                "best": "dense",
                "difference": 0.05,
                "ci_low": 0.02,
                "ci_high": 0.08,
                "verdict": "yes",
            },
            "dense_minus_lexical": {"difference": 0.05, "ci_low": -0.01, "ci_high": 0.11},
        },
        curation={"verdict": "yes", "difference": -0.04, "ci_low": -0.05, "ci_high": -0.03},
    )
    assert not any(entry["weak"] for entry in found.values())
    assert all(entry["measured"] for entry in found.values())
    assert found["training"]["sentence"].startswith("Yes: after 50 M tokens the model needs 1.20")
    assert "passed the n-gram model at about" in found["training"]["sentence"]
    said = found["search"]["sentence"]
    assert said.startswith("Fused. Measured: fused with nDCG@10 0.80 (0.77 to 0.83)")
    assert "Best single input: dense; fusion beats it (+0.050, +0.020 to +0.080)" in said
    assert said.endswith("dense minus lexical +0.050, -0.010 to +0.110.")
    assert found["curation"]["sentence"].startswith("Yes: -0.040 bits per byte (-0.050 to -0.030)")
    assert judge(report())["weak"] == [] and judge(report(kept=999))["weak"]


@pytest.mark.parametrize(
    ("verdict", "begins", "says"),
    [
        ("no", "Lexical. Measured: lexical", "fusion is worse"),
        ("undecided", "Lexical. Measured: lexical", "whether fusion beats it is undecided"),
    ],
)
def test_a_fusion_that_does_not_beat_its_best_input_is_not_advised(verdict, begins, says):
    search = {
        "queries": 500,
        "lexical": {"nDCG@10": 0.7, "R@10": 0.9},
        "dense": {"nDCG@10": 0.4, "R@10": 0.6},
        "fused": {"nDCG@10": 0.69, "R@10": 0.9},
        "fusion": {"best": "lexical", "difference": -0.01, "verdict": verdict},
    }
    sentence = answers(search=search)["search"]["sentence"]
    assert sentence.startswith(begins) and f"{says} (-0.010)" in sentence


def test_why_there_is_no_dense_search_is_said():
    search = {"queries": 99, "lexical": {"nDCG@10": 0.7}, "missing": "the plan leaves it out"}
    sentence = answers(search=search)["search"]["sentence"]
    assert sentence.startswith("Lexical. Measured: lexical with nDCG@10 0.70")
    assert sentence.endswith("dense and fused not measured yet (the plan leaves it out).")


def test_where_the_ngram_model_over_all_tokens_is_reached():
    straight = curve((3.0, -0.1), (2.0, 0.0))
    found = reaching(straight, 2.3)
    assert found["state"] == "estimated"
    assert math.isclose(found["tokens"], FIRST * 2**7, rel_tol=1e-6)
    assert reaching(straight, 0.1)["state"] == "too far"
    assert reaching(curve((3.0, 0.0), (2.0, 0.0)), 2.3)["state"] == "not in sight"
    assert reaching(None, 2.3)["state"] == "unknown"


def test_a_crossing_beyond_the_corpus_says_so():
    bits = {"model": 2.5, "ngram_seen": 2.0, "ngram_all": 1.8}
    found = answers(
        bits=bits,
        training={"tokens": 131_072, "corpus_tokens": 140_000},
        curve=curve((3.0, -0.2), (2.0, -0.1)),
    )["training"]
    assert "cross at about 4.2 M tokens, more than the 140 k in this corpus" in found["sentence"]
    assert "worse" in found["weak"][0]
