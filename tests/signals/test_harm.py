"""Harm is what the named training text says, and is not measured without any."""

import json

import numpy as np
import pytest

from tilth.build.plan import from_mapping
from tilth.data.sets import find_set
from tilth.documents.document import Document, to_batch
from tilth.errors import DataError, PlanError, UsageError
from tilth.signals.harm import NOT_MEASURED, Harm
from tilth.testing.signals import check_signal

BAD = [f"you are a zorp and a wug, go and gloomp house {n}" for n in range(80)]
GOOD = [f"the baker of house {n} bakes bread in street {n % 7} for us" for n in range(80)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))


@pytest.fixture
def files(tmp_path):
    """A file of harmful texts, one of clean ones, and one with labels."""
    rows = {
        "bad": [{"text": text} for text in BAD],
        "good": [{"text": text} for text in GOOD],
        "both": [{"text": t, "label": "bad"} for t in BAD]
        + [{"text": t, "label": "fine"} for t in GOOD],
    }
    for name, some in rows.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in some))
    return {name: str(tmp_path / f"{name}.jsonl") for name in rows}


def measured(signal, texts):
    batch = to_batch([Document(str(n), text) for n, text in enumerate(texts)])
    return signal.measure(batch).to_pydict()


def test_without_training_text_there_is_no_harm_signal():
    with pytest.raises(UsageError, match=NOT_MEASURED):
        Harm()
    with pytest.raises(PlanError, match=NOT_MEASURED):
        from_mapping({"signals": {"harm": {}}}, "plan")


def test_one_class(files):
    signal = Harm(train=files["bad"])
    found = measured(signal, ["a zorp and a wug, you gloomp all day", GOOD[0], "zorp"])
    assert found["harm"][0] > found["harm"][1] and found["harm"][2] is None
    assert found["harm_probability"] == [None] * 3
    assert signal.columns == {"harm": -1, "harm_probability": -1}
    check_signal(signal)


@pytest.mark.parametrize("scorer", ["ngram", "linear"])
def test_two_classes(files, scorer):
    labelled = Harm(train=files["both"], harmful=("bad",), scorer=scorer)
    two = Harm(train=files["bad"], clean=files["good"], scorer=scorer)
    texts = ["a zorp and a wug, you gloomp all day", "the baker bakes bread for all of us"]
    for signal in (labelled, two):
        found = measured(signal, texts)
        assert found["harm_probability"][0] > 0.5 > found["harm_probability"][1]
        assert signal.report()["area_under_curve"] > 0.99
    np.testing.assert_allclose(*(measured(signal, BAD)["harm"] for signal in (labelled, two)))
    assert labelled.digest != two.digest
    check_signal(two)


def test_isotonic(files):
    signal = Harm(train=files["bad"], clean=files["good"], calibration="isotonic")
    found = measured(signal, [BAD[0], GOOD[0]])
    assert found["harm_probability"] == [1.0, 0.0]


def test_parameters_name_the_training_text(files):
    signal = Harm(train=files["bad"], clean=files["good"])
    assert Harm(**signal.parameters()).parameters() == signal.parameters()
    with open(files["good"], "a") as file:
        file.write(json.dumps({"text": "one more clean text"}) + "\n")
    assert Harm(train=files["bad"], clean=files["good"]).digest != signal.digest
    with pytest.raises(UsageError, match="is not the one"):
        Harm(**signal.parameters())


def test_a_plan_names_it(files):
    plan = from_mapping(
        {"signals": {"length": {}, "harm": {"train": files["both"], "harmful": ["bad"]}},
         "rule": {"conditions": {"no harm": "harm_probability < 0.5"}}},
        "plan",
    )  # fmt: skip
    assert list(plan.signals["harm"]["harmful"]) == ["bad"]


def test_mistakes_are_refused(files):
    for options, words in [
        ({"train": files["bad"], "scorer": "linear"}, "needs clean text"),
        ({"train": files["bad"], "scorer": "ngrams"}, "did you mean 'ngram'"),
        ({"train": files["bad"], "calibration": "magic"}, "platt or isotonic"),
        ({"train": files["both"], "clean": files["good"], "harmful": ("bad",)}, "beside harmful"),
        ({"train": "no such set"}, "neither a path nor a named set"),
        ({"train": files["bad"], "train_bytes": 0}, "train_bytes"),
    ]:
        with pytest.raises(UsageError, match=words):
            Harm(**options)
    with pytest.raises(UsageError, match="say which"):
        measured(Harm(train=files["both"]), ["a"])
    with pytest.raises(UsageError, match="no label 'mean'"):
        measured(Harm(train=files["both"], harmful=("mean",)), ["a"])
    (empty := files["bad"] + ".txt", open(empty, "w").close())
    with pytest.raises(DataError, match="no text"):
        measured(Harm(train=empty), ["a"])


def test_on_real_tweets():
    try:
        find_set("tox_davidson")
    except DataError as error:
        pytest.skip(str(error))
    signal = Harm(train="tox_davidson", harmful=("hate", "offensive"), train_bytes=300_000)
    report = signal.report()
    assert report["area_under_curve"] > 0.8
    assert report["expected_calibration_error"] < 0.1
    assert report["texts"] + report["held_out"] > 1000
