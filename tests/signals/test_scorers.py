"""Scorers: features against a plain count, a linear model that learns, saving, refusals."""

import json
import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, UsageError
from tilth.lookup import construct, load
from tilth.signals.calibration import area_under_curve
from tilth.signals.scorers import SCORERS, trained
from tilth.signals.scorers.centroid import Centroid
from tilth.signals.scorers.features import Features, inverse_frequency, joined, read_only, warm
from tilth.signals.scorers.linear import Linear
from tilth.signals.scorers.texts import read_training, source_digest
from tilth.store.manifest import verify
from tilth.types import Scorer

HOSTILE = ["", " ", "\x00", "שלום עולם", "a\u0301\u202eb", "\U0001f33e" * 3, "\ud800", "漢字" * 50]


def made(count=60, seed=0):
    """Texts about weather (True) and tax (False), and their labels."""
    rng = random.Random(seed)
    words = {True: "rain sun wind storm cloud snow", False: "tax vat income audit ledger fee"}
    common = "the a of is and to it was on".split()
    texts, labels = [], []
    for number in range(count):
        label = number % 2 == 0
        own = rng.choices(words[label].split(), k=4)
        spoken = own + rng.choices(common, k=8) + [f"w{rng.randrange(400)}"]
        rng.shuffle(spoken)
        texts.append(" ".join(spoken))
        labels.append(label)
    return texts, labels


def fitted(name):
    texts, labels = made()
    options = {"centroid": {"seeds": {"weather": ["rain", "sun"]}}, "linear": {"bits": 12}}
    scorer = construct("scorer", SCORERS, name, options.get(name, {"order": 3}))
    return scorer.fit(texts, None if name == "centroid" else labels)


def plain_features(text, words, shortest, longest):
    """What `Features` counts, by its description; ASCII letters only."""
    spoken = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    found = Counter()
    for number, word in enumerate(spoken):
        if words:
            found["word", word] += 1
        if words > 1 and number:
            found["pair", spoken[number - 1], word] += 1
        padded = f" {word} "
        for size in range(shortest, longest + 1 if longest else 0):
            for start in range(len(padded) - size + 1):
                found["gram", padded[start : start + size]] += 1
    return found


@given(
    st.lists(st.text("abcAB ,.9\n", max_size=40), max_size=6),
    st.sampled_from([(2, 3, 5), (1, 0, 0), (0, 2, 2), (2, 1, 4)]),
)
@settings(max_examples=60, deadline=None)
def test_features_are_those_of_a_plain_count(texts, shape):
    words, shortest, longest = shape
    features = Features(20, words, shortest, longest)
    sizes, hits = features.count(texts)
    plain = [plain_features(text, *shape) for text in texts]
    # At 2^20 buckets so few features do not collide.
    if shortest == 1:
        # The blank at an end of a word is a feature too, of no use and no harm.
        assert all(size <= len(one) for size, one in zip(sizes, plain))
        return
    assert sizes.tolist() == [len(one) for one in plain]
    assert sorted(hits[hits > 0]) == sorted(Counter(f for one in plain for f in one).values())
    rows = features.rows(texts, inverse_frequency(np.zeros(features.buckets), 0))
    for number, one in enumerate(plain):
        values = sorted(rows[number].data)
        expected = [1 + math.log(count) for count in one.values()]
        norm = math.sqrt(sum(value**2 for value in expected)) or 1.0
        np.testing.assert_allclose(values, sorted(value / norm for value in expected))


def test_project_is_the_product_with_the_rows():
    texts, _ = made(30)
    features = Features(bits=10)
    idf = inverse_frequency(features.count(texts)[1], len(texts))
    weights = read_only(np.random.default_rng(0).normal(size=(features.buckets, 3)))
    found = features.project([*texts, *HOSTILE], idf, weights)
    np.testing.assert_allclose(found[:30], features.rows(texts, idf) @ weights, rtol=1e-9)
    assert np.isfinite(found).all() and not found[30].any()
    warm()


def test_texts_are_read_in_lower_case():
    offsets, data = joined(["Ab", "", "Ü"])
    assert offsets.tolist() == [0, 2, 2, 4] and bytes(data) == "abü".encode()


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_a_scorer_keeps_the_contract(name, tmp_path):
    scorer = fitted(name)
    assert isinstance(scorer, Scorer) and scorer.name == name and scorer.direction in (1, -1)
    assert json.loads(json.dumps(scorer.parameters())) == scorer.parameters()
    texts, labels = made(80, seed=1)
    area = area_under_curve(scorer.direction * scorer.score(texts), labels)
    assert area > 0.9
    every = [*texts, *HOSTILE]
    together = scorer.score(every)
    assert together.shape == (len(every),) and np.isfinite(together).all()
    np.testing.assert_array_equal(together, [scorer.score([text])[0] for text in every])
    assert scorer.score([]).shape == (0,)
    for folder in ("one", "two", "two"):
        fitted(name).save(tmp_path / folder)
    assert verify(tmp_path / "one") == verify(tmp_path / "two")
    again = load("scorer", SCORERS, name).load(tmp_path / "one")
    np.testing.assert_array_equal(again.score(every), together)
    assert again.parameters() == scorer.parameters()
    next((tmp_path / "one").glob("*.npy" if name != "ngram" else "model/backoff.npy")).unlink()
    with pytest.raises(DamagedError):
        type(scorer).load(tmp_path / "one")


@pytest.mark.parametrize("name", ["linear", "ngram"])
def test_the_order_of_training_texts_changes_little(name):
    texts, labels = made()
    scorer = fitted(name)
    before = scorer.score(texts)
    scorer.fit(texts[::-1], labels[::-1])
    np.testing.assert_allclose(scorer.score(texts), before, rtol=1e-2, atol=1e-2)


def test_a_fit_that_is_damaged_is_refused(tmp_path):
    linear = fitted("linear")
    linear.save(tmp_path)
    weights = np.load(tmp_path / "weights.npy")
    np.save(tmp_path / "weights.npy", weights.astype(np.int32))
    with pytest.raises(DamagedError, match="float32"):
        Linear.load(tmp_path)


def test_linear_refuses():
    with pytest.raises(UsageError, match="labels"):
        Linear().fit(["a"])
    with pytest.raises(DataError, match="both classes"):
        Linear().fit(["a", "b"], [1, 1])
    with pytest.raises(DataError, match="pair"):
        Linear().fit(["a", "b"], [1])
    with pytest.raises(UsageError, match="nothing yet"):
        Linear().score(["a"])
    for options in ({"bits": 3}, {"words": 3}, {"shortest": 4, "longest": 3}, {"cost": 0.0}):
        with pytest.raises(UsageError):
            Linear(**options)
    with pytest.raises(UsageError, match="neither"):
        Linear(words=0, shortest=0, longest=0)


def test_centroid_topics():
    texts, labels = made()
    seeds = {"weather": ["rain", "sun", "hail"], "money": ["tax", "income"]}
    scorer = Centroid(seeds=seeds).fit(texts)
    assert scorer.missing == {"weather": ["hail"]} and scorer.topics == ["money", "weather"]
    found = scorer.scores(texts)
    assert ((found >= 0) & (found <= 1)).all()
    assert (found.argmax(axis=1) == np.array(labels)).mean() > 0.95
    np.testing.assert_array_equal(scorer.score(texts), found.max(axis=1))
    other = Centroid(seeds={"money": ["income", "tax"], "weather": ["sun", "hail", "rain"]})
    np.testing.assert_array_equal(other.fit(texts).scores(texts), found)
    one = Centroid(seeds=seeds, topic="weather").fit(texts)
    np.testing.assert_array_equal(one.score(texts), found[:, 1])
    assert (one.score(["nothing known"]) == 0).all()
    # Without a text that joins them, the seeds are the topic.
    alone = Centroid(seeds={"w": ["rain"]}, candidates=0).fit(texts)
    assert alone.score(["rain"])[0] == pytest.approx(1.0)
    # Texts near the seeds lend their words: "storm" is near no seed word by itself.
    assert one.score(["storm storm"])[0] > 0 == alone.score(["storm storm"])[0]


def test_centroid_refuses():
    with pytest.raises(DataError, match="'w': zzz"):
        Centroid(seeds={"w": ["zzz"]}).fit(["rain"])
    with pytest.raises(UsageError, match="seed words"):
        Centroid(seeds={"w": []})
    with pytest.raises(UsageError, match="did you mean 'weather'"):
        Centroid(seeds={"weather": ["rain"]}, topic="wether")
    with pytest.raises(DataError, match="no text"):
        Centroid(seeds={"w": ["rain"]}).fit([])


def test_two_classes_of_the_ngram_scorer_are_a_difference():
    texts, labels = made()
    two = fitted("ngram")
    assert two.classes == 2
    one = load("scorer", SCORERS, "ngram")(order=3).fit([t for t, y in zip(texts, labels) if y])
    rest = load("scorer", SCORERS, "ngram")(order=3).fit(
        [t for t, y in zip(texts, labels) if not y]
    )
    np.testing.assert_allclose(two.score(texts), one.score(texts) - rest.score(texts))
    np.testing.assert_array_equal(two.perplexity(texts), one.perplexity(texts))
    events = np.array([len(text) + 1 for text in texts])
    np.testing.assert_allclose(np.log2(one.perplexity(texts)) * events, one.total_bits(texts))
    with pytest.raises(DataError, match="both classes"):
        one.fit(texts, [True] * len(texts))
    with pytest.raises(DataError, match="pair"):
        one.fit(texts, [True])


def test_folded_text():
    kind = load("scorer", SCORERS, "ngram")
    scorer = kind(unit="characters", order=2, fold=True).fit(["In 1984  it\n rained"])
    np.testing.assert_array_equal(
        scorer.score(["in 0000 it rained"]), scorer.score(["IN 1984 it\trained"])
    )


def test_training_is_calibrated_on_held_out_texts(tmp_path):
    texts, labels = made(400)
    # Labels that are wrong one time in five: no probability may be near 0 or 1.
    noisy = [label ^ (number % 5 == 3) for number, label in enumerate(labels)]
    result = trained.train("linear", {"bits": 12}, texts, noisy)
    assert 0.6 < result.report["area_under_curve"] < 0.95
    assert result.report["texts"] + result.report["held_out"] == 400
    assert 0.0 <= result.report["expected_calibration_error"] < 0.2
    probabilities = result.calibration(result.scorer.score(texts))
    assert probabilities.min() > 0.05 and probabilities.max() < 0.95
    trained.save(tmp_path / "one", result, source="made")
    trained.save(tmp_path / "two", result, source="made")
    assert verify(tmp_path / "one") == verify(tmp_path / "two")
    again = trained.load(tmp_path / "one")
    np.testing.assert_array_equal(again.calibration(again.scorer.score(texts)), probabilities)
    assert again.report == result.report
    with pytest.raises(DamagedError):
        trained.load(tmp_path)


def test_training_says_what_it_lacks():
    texts, labels = made(40)
    with pytest.raises(DataError, match="too few"):
        trained.train("linear", {}, texts[:6], labels[:6])
    with pytest.raises(DataError, match="too few"):
        trained.train("linear", {}, texts, [n == 0 for n in range(40)])
    few = trained.train("ngram", {"order": 2}, texts[:3])
    assert few.calibration is None and few.report == {"scorer": "ngram", "texts": 3}
    one_class = trained.train("ngram", {"order": 2}, texts)
    quantiles = list(one_class.report["quantiles"]["positive"].values())
    assert quantiles == sorted(quantiles) and one_class.calibration is None


def test_training_text_from_files(tmp_path):
    rows = [{"text": f"text {n}", "label": "bad" if n % 2 else "good"} for n in range(6)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_training(str(path), ["bad"])
    assert found.labels == [False, True] * 3 and found.texts[1] == "text 1"
    assert read_training(str(path), None).labels is None
    with pytest.raises(UsageError, match="say which"):
        read_training(str(path))
    with pytest.raises(UsageError, match=r"no label 'baad'.*did you mean 'bad'"):
        read_training(str(path), ["baad"])
    plain = tmp_path / "texts"
    plain.mkdir()
    for n in range(5):
        (plain / f"{n}.txt").write_text(f"some words of text {n}\n")
    found = read_training(str(plain))
    assert len(found.texts) == 5 and found.labels is None and found.left_out == 0
    with pytest.raises(UsageError, match="no column 'label'"):
        read_training(str(plain), ["bad"])
    few = read_training(str(plain), limit=45)
    assert len(few.texts) == 2 and few.left_out == 3 and set(few.texts) < set(found.texts)
    before = source_digest(str(plain))
    (plain / "0.txt").write_text("other words\n")
    assert source_digest(str(plain)) != before
    with pytest.raises(UsageError, match="neither a path nor a named set"):
        source_digest(str(tmp_path / "nowhere"))
