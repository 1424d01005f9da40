"""Bits per byte: equal to the model underneath, defined for every text, comparable by unit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models.ngram import NGram
from tilth.models.ngram_scorer import NGramScorer
from tilth.models.ngram_units import CHARACTERS, WORD, batches
from tilth.store.manifest import verify
from tilth.types import Scorer

TEXTS = [
    "The miller ground the corn, and the baker baked the bread.",
    "The baker ground no corn; the miller baked no bread.\n\nSo they traded.",
    "Die Müllerin mahlte das Korn, der Bäcker backte das Brot.",
    "",
]
HOSTILE = [
    "\x00",
    "",
    "שלום עולם",
    "a\u0301\u202eb",
    "\U0001f33e" * 3,
    "\r\n\t ",
    "\ufeffx",
    "\ud800",
]
UNITS = ["bytes", "characters", "words", "tokens"]


@pytest.fixture(scope="module")
def tokenizer():
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    return made


def fitted(unit, tokenizer, order=3):
    given_tokenizer = tokenizer if unit == "tokens" else None
    return NGramScorer(unit=unit, order=order, tokenizer=given_tokenizer).fit(TEXTS)


def test_bytes_are_the_model_itself():
    scorer = NGramScorer(unit="bytes", order=4).fit(TEXTS)
    raw = [np.frombuffer(text.encode(), np.uint8) for text in TEXTS]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in raw])])
    model = NGram.train(np.concatenate(raw), offsets, vocabulary=256, order=4)
    text = "Das Brot und the bread"
    logarithms = model.score(np.frombuffer(text.encode(), np.uint8), np.array([0, len(text)]))
    assert scorer.total_bits([text])[0] == pytest.approx(-logarithms.sum() / math.log(2))
    assert scorer.score([text])[0] == pytest.approx(-logarithms.sum() / math.log(2) / 22)


@pytest.mark.parametrize("unit", UNITS)
def test_every_text_has_a_finite_value(unit, tokenizer):
    scorer = fitted(unit, tokenizer)
    assert isinstance(scorer, Scorer)
    scores = scorer.score(HOSTILE)
    assert scores.shape == (len(HOSTILE),) and np.isfinite(scores).all() and (scores > 0).all()
    assert scorer.score([""]) == scorer.total_bits([""])
    assert scorer.score([]).shape == (0,)
    assert (scorer.score(["\ud800"]) == scorer.score(["\ufffd"])).all()


@pytest.mark.parametrize("unit", UNITS)
def test_the_same_in_one_batch_or_alone(unit, tokenizer, monkeypatch):
    scorer, texts = fitted(unit, tokenizer), [*TEXTS, *HOSTILE, TEXTS[0][::-1]]
    together = scorer.score(texts)
    np.testing.assert_array_equal(together, [scorer.score([text])[0] for text in texts])
    monkeypatch.setattr("tilth.models.ngram_scorer.SCORED_AT_ONCE", 50)
    np.testing.assert_array_equal(together, scorer.score(texts))
    assert scorer.score([TEXTS[0]])[0] < scorer.score([TEXTS[0][::-1]])[0]


@pytest.mark.parametrize("unit", UNITS)
def test_save_and_load(unit, tokenizer, tmp_path):
    for folder in ("one", "two", "two"):
        fitted(unit, tokenizer).save(tmp_path / folder)
    manifest = verify(tmp_path / "one")
    assert manifest == verify(tmp_path / "two")
    scorer, loaded = fitted(unit, tokenizer), NGramScorer.load(tmp_path / "one")
    assert loaded.parameters() == scorer.parameters()
    texts = [*TEXTS, *HOSTILE]
    np.testing.assert_array_equal(loaded.score(texts), scorer.score(texts))
    (tmp_path / "one" / "model" / "backoff.npy").unlink()
    with pytest.raises(DamagedError):
        NGramScorer.load(tmp_path / "one")


def test_an_unknown_character_costs_its_spelling():
    scorer = NGramScorer(unit="characters", order=1).fit(["abba", "cab"])
    # 7 characters and 2 ends; the discounts fall back, the three letters have counts 3, 3, 1.
    counts = {"a": 3, "b": 3, "c": 1, "end": 2}
    cut = {1: 0.5, 2: 1.0, 3: 1.5}
    rest = sum(cut[count] for count in counts.values()) / 9
    unknown, end = rest / 5, (2 - 1) / 9 + rest / 5
    expected = -math.log2(unknown) - math.log2(end) + math.log2(CHARACTERS - 3)
    assert scorer.total_bits(["x"])[0] == pytest.approx(expected, rel=1e-6)


def test_an_unknown_word_costs_more_the_longer_it_is():
    scorer = NGramScorer(unit="words", order=2).fit(TEXTS)
    short, long = scorer.total_bits(["The hen", "The henhouse"])
    assert long - short == pytest.approx(5 * math.log2(257))


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_words_put_together_are_the_text(text):
    assert "".join(WORD.findall(text)) == text


@given(st.lists(st.text(max_size=9), max_size=9), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_batches_keep_every_text_in_order(texts, characters):
    parts = list(batches(texts, characters))
    assert [text for part in parts for text in part] == texts
    assert all(sum(map(len, part[:-1])) < characters for part in parts)


def test_a_second_fit_forgets_the_first():
    scorer = NGramScorer(unit="characters", order=2).fit(["xyz"]).fit(TEXTS)
    np.testing.assert_array_equal(scorer.score(TEXTS), fitted("characters", None, 2).score(TEXTS))


def test_mistakes_are_refused(tokenizer):
    with pytest.raises(UsageError, match="no model yet"):
        NGramScorer().score(["a"])
    with pytest.raises(UsageError, match="did you mean 'words'"):
        NGramScorer(unit="word").fit(TEXTS)
    with pytest.raises(UsageError, match="needs a tokenizer"):
        NGramScorer(unit="tokens").fit(TEXTS)
    with pytest.raises(UsageError, match="takes no tokenizer"):
        NGramScorer(unit="bytes", tokenizer=tokenizer).fit(TEXTS)
    with pytest.raises(DataError, match="no sequence"):
        NGramScorer().fit([])
    with pytest.raises(DataError, match="order"):
        NGramScorer(order=0).fit(TEXTS)
