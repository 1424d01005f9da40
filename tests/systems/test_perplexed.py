"""The system perplexed: pieces of equal length, no text on both sides, unseen genres; its smoke."""

import numpy as np
import pytest

from tilth.data.readers import read_classify
from tilth.errors import DataError, UsageError
from tilth.evaluation.runner import run_system
from tilth.signals.calibration import area_under_curve
from tilth.systems import _perplexed_texts, perplexed
from tilth.systems._perplexed_judged import AUC, arm, runs
from tilth.systems._perplexed_texts import Inputs, fold, pieces


def test_fold_leaves_words():
    text = "RT @User_1: Don't &amp; won't!! See http://t.co/a1B in 2015 #Tag"
    assert fold(text) == "don t won t see in 0000 tag".split()


def test_pieces_are_of_one_length_and_told_once():
    seen: set = set()
    words = " ".join(f"w{chr(97 + n)}" for n in range(26))
    found = pieces([words, words.upper(), words[3:]], 8, 5, seen)
    assert [len(piece.split()) for piece in found] == [8, 8, 8]
    assert pieces([f"before {words}"], 8, 5, seen) == []
    assert len(pieces([words], 8, 2, set())) == 2


def inputs():
    return perplexed.prepare("smoke", None, None, 0).inputs


def test_training_and_test_are_apart_and_even():
    found = inputs()
    sizes = {len(texts) for texts in (found.harmful_train, *found.train.values())}
    assert len(sizes) == 1 and len({len(texts) for texts in found.test.values()}) == 1
    assert not runs(found.harmful_train) & runs(found.harmful_test)
    for genre, texts in found.train.items():
        assert not set(texts) & set(found.test[genre])
    assert found == inputs()
    assert perplexed.prepare("smoke", None, None, 1).inputs.harmful_test != found.harmful_test


def test_only_unseen_genres_count():
    """An arm whose scorer knows nothing but the genre that it was given."""
    texts = {genre: [f"{genre} {n}" for n in range(20)] for genre in ("a", "b", "c")}
    made = Inputs(["h"], [f"h {n}" for n in range(30)], ["bad"] * 30, texts, texts, [], 2)

    def make(_, known):
        return lambda some: np.array([text[0] != known for text in some], float)

    found = arm(make, 1, each=True)(made, 0)
    # Harmful and unseen texts look alike to it; only its own genre, which does not count, differs.
    assert found.metrics[AUC] == [0.5] * 3
    assert found.metrics["flagged: bad"] == 1.0 and found.metrics["flagged: a"] == 1.0
    assert found.tokens == 2

    def knows(_, known):
        return lambda some: np.array([text[0] == "h" for text in some], float)

    found = arm(knows, 1, each=False)(made, 0)
    assert found.metrics[AUC] == [1.0] * 3 and found.metrics["flagged: a"] == 0.0
    assert found.metrics["flagged: bad"] == 1.0


def test_directions():
    """The harmful model finds harmful text easy; the clean one finds it hard; list and labels."""
    found = inputs()
    genre = next(iter(found.test))
    texts = found.harmful_train[:60] + found.train["laws"][:60]
    labels = [n < 60 for n in range(120)]
    for make in (perplexed.harmful_model, perplexed.difference, perplexed.classifier):
        assert area_under_curve(make(found, genre)(texts), labels) > 0.9
    clean = perplexed.clean_model(found, "laws")
    assert area_under_curve(clean(texts), labels) > 0.9
    listed = perplexed.word_list(found, genre)
    assert listed(["a xxa b xxbo", "xxab", "xxa"]).tolist() == [2.0, 0.0, 1.0]


def test_smoke_has_every_group(smoke):
    result = smoke("perplexed")
    assert result["verdict"] == "not judged" and len(result["invariants"]) == 6
    assert all(entry["holds"] for entry in result["invariants"])
    metrics = {run["metric"] for run in result["runs"]}
    assert {"flagged: harmful", "flagged: laws", "two hills are seen"} < metrics
    primary = [claim for claim in perplexed.CLAIMS if claim.primary]
    assert [(c.method, c.baseline, c.margin) for c in primary] == [("harmful LM", "clean LM", 0.1)]


def test_own_data(tmp_path):
    groups = _perplexed_texts._made(12)
    lines = ["text,label"] + [f"{t},{g}" for g, some in groups.items() for t in some]
    (tmp_path / "mine.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "words.txt").write_text("xxa\n\nXXBO!\n")
    task = read_classify(tmp_path / "mine.csv")
    settings = {"harmful": "harmful", "bad_words": str(tmp_path / "words.txt"), "seeds": 1}
    result = run_system(perplexed, scale="own", data=task, settings=settings)
    assert result["data"][0]["name"] == "mine"
    values = {(r["arm"], r["metric"]): r["value"] for r in result["runs"]}
    assert values["harmful LM", AUC] > 0.6 and values["word list", AUC] > 0.6
    with pytest.raises(DataError, match="--set harmful"):
        run_system(perplexed, scale="own", data=task, settings={**settings, "harmful": "rude"})
    with pytest.raises(DataError, match="no list of words"):
        run_system(perplexed, scale="own", data=task, settings={**settings, "bad_words": "no.txt"})
    with pytest.raises(UsageError, match="no setting"):
        run_system(perplexed, scale="own", data=task, settings={"genre": "x"})
