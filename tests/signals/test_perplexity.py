"""Perplexity and any scorer as a signal: the numbers, their side, their names, no second fit."""

import json
import pickle

import numpy as np
import pytest

from tilth.corpus.corpus import Corpus
from tilth.documents.document import Document, to_batch
from tilth.errors import DamagedError, UsageError
from tilth.models.ngram_scorer import NGramScorer
from tilth.signals.perplexity import Perplexity
from tilth.signals.score import Score
from tilth.signals.scorers import trained
from tilth.signals.scorers.centroid import Centroid
from tilth.testing.signals import check_signal

TEXTS = [
    f"The miller of house {n} ground the corn, and the baker of street {n % 7} baked the bread."
    for n in range(60)
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return str(path)


def batch_of(*texts):
    return to_batch([Document(str(n), text) for n, text in enumerate(texts)])


def test_the_numbers_are_the_scorers(source, tmp_path):
    scorer = NGramScorer(unit="characters", order=4).fit(TEXTS)
    scorer.save(tmp_path / "model")
    signal = Perplexity(model=str(tmp_path / "model"), least_characters=5)
    texts = [TEXTS[0], TEXTS[0][::-1], "tiny", ""]
    found = signal.measure(batch_of(*texts)).to_pydict()
    assert found["perplexity"][2:] == [None, None]
    np.testing.assert_allclose(found["perplexity"][:2], scorer.perplexity(texts[:2]))
    np.testing.assert_allclose(found["bits_per_byte"][:2], scorer.score(texts[:2]))
    # From the model's own distributions, token by token.
    ids = scorer.encode(texts[:1]).tokens.tolist()
    events = [*ids, scorer.model.vocabulary]
    logs = [np.log10(scorer.model.next_distribution(ids[:n])[e]) for n, e in enumerate(events)]
    assert np.log10(found["perplexity"][0]) == pytest.approx(-np.mean(logs), abs=1e-5)


def test_contract(source, tmp_path):
    NGramScorer(unit="words", order=2).fit(TEXTS).save(tmp_path / "model")
    check_signal(Perplexity(train=source, least_characters=0))
    check_signal(Perplexity(model=str(tmp_path / "model")))


def test_the_good_side_is_said(source):
    assert Perplexity(train=source).columns == {"perplexity": -1, "bits_per_byte": -1}
    assert Perplexity(train=source, good="high").columns["perplexity"] == 1


def test_another_training_text_has_another_name(source, tmp_path):
    first = Perplexity(train=source)
    again = Perplexity(**first.parameters())
    assert again.parameters() == first.parameters()
    with open(source, "a") as file:
        file.write(json.dumps({"text": "Something else."}) + "\n")
    assert Perplexity(train=source).parameters()["digest"] != first.digest
    with pytest.raises(UsageError, match=r"train\.jsonl is not the one"):
        Perplexity(**first.parameters())


def test_it_is_cheap_to_send_and_fitted_once(source, home):
    signal = Perplexity(train=source)
    assert not home.exists()
    before = signal.measure(batch_of(*TEXTS)).to_pydict()
    assert len(pickle.dumps(signal)) < 2000
    (kept,) = (home / "scorers").iterdir()
    stamp = (kept / "manifest.json").stat().st_mtime_ns
    again = pickle.loads(pickle.dumps(signal))
    assert again.measure(batch_of(*TEXTS)).to_pydict() == before
    assert (kept / "manifest.json").stat().st_mtime_ns == stamp


def test_in_a_corpus_of_two_workers(source, tmp_path):
    from tilth.corpus.executors import LocalExecutor

    folder = tmp_path / "documents"
    folder.mkdir()
    for n, text in enumerate(TEXTS[:8]):
        (folder / f"{n}.txt").write_text(text)
    found = []
    for workers in (1, 2):
        place = tmp_path / f"corpus{workers}"
        corpus = Corpus(place, executor=LocalExecutor(workers), block_bytes=150)
        corpus.add([folder])
        corpus.measure([Perplexity(train=source)])
        found.append(corpus.columns().sort_by("id").column("perplexity").to_pylist())
    assert found[0] == found[1] and None not in found[0]


def test_settings_without_effect_are_refused(source, tmp_path):
    NGramScorer(order=2).fit(TEXTS).save(tmp_path / "model")
    model = str(tmp_path / "model")
    for options, words in [
        ({}, "needs a model or a text"),
        ({"model": model, "train": source}, "not both"),
        ({"model": model, "order": 3}, "no effect"),
        ({"train": source, "good": "middle"}, "low or high"),
        ({"train": source, "unit": "tokens"}, "no unit"),
        ({"train": source, "order": 9}, "from 1 to 8"),
        ({"train": source, "train_bytes": 0}, "train_bytes"),
        ({"train": source, "least_characters": -1}, "least_characters"),
    ]:
        with pytest.raises(UsageError, match=words):
            Perplexity(**options)
    with pytest.raises(DamagedError, match="no finished scorer"):
        Perplexity(model=str(tmp_path))


def test_score_takes_any_scorer(tmp_path):
    Centroid(seeds={"corn": ["miller", "corn"]}).fit(TEXTS).save(tmp_path / "topic")
    signal = Score(scorer=str(tmp_path / "topic"), column="topic_corn")
    assert signal.columns == {"topic_corn": 1, "topic_corn_probability": 1}
    found = signal.measure(batch_of(TEXTS[0], "Nothing here!", "")).to_pydict()
    assert found["topic_corn"][0] > 0.3 and found["topic_corn"][1:] == [0.0, None]
    assert found["topic_corn_probability"] == [None] * 3
    check_signal(signal)
    unwanted = Score(scorer=str(tmp_path / "topic"), wanted=False)
    assert unwanted.columns == {"score": -1, "score_probability": -1}
    labels = [n % 2 == 0 for n in range(60)]
    texts = [text + (" rye" if label else " oats") for text, label in zip(TEXTS, labels)]
    made = trained.train("linear", {"bits": 12}, texts, labels)
    trained.save(tmp_path / "rye", made)
    rye = Score(scorer=str(tmp_path / "rye"), column="rye")
    found = rye.measure(batch_of(*texts)).to_pydict()
    assert (np.array(found["rye_probability"]) > 0.5).tolist() == labels
    check_signal(rye)
    with pytest.raises(UsageError, match="no name for a column"):
        Score(scorer=str(tmp_path / "rye"), column="Rye; --")
    with pytest.raises(UsageError, match="folder of a scorer"):
        Score()
    with pytest.raises(UsageError, match="no n-gram scorer"):
        Perplexity(model=str(tmp_path / "rye")).measure(batch_of("a"))
