"""The n-gram model beside a plain dictionary version of the same definition, and beside KenLM."""

import math
import shutil
import subprocess
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError, LimitError
from tilth.models.ngram import FALLBACK, NGram, discounts
from tilth.store.manifest import verify

BEGIN, END = "<s>", "</s>"


class Dictionaries:
    """Modified Kneser-Ney from its definition: sets and recursion, no trie, no links."""

    def __init__(self, sequences, vocabulary, order):
        self.order = order
        self.events = [*range(vocabulary), END]
        raw, before = Counter(), defaultdict(set)
        for sequence in sequences:
            padded = (BEGIN, *sequence, END)
            for length in range(1, order + 1):
                for start in range(len(padded) - length + 1):
                    gram = padded[start : start + length]
                    raw[gram] += 1
                    if start:
                        before[gram].add(padded[start - 1])
        raw.pop((BEGIN,))
        self.adjusted = {
            gram: count if len(gram) == order or gram[0] == BEGIN else len(before[gram])
            for gram, count in raw.items()
        }
        self.distinct = [sum(len(gram) == k for gram in raw) for k in range(1, order + 1)]
        self.discounts = []
        for k in range(1, order + 1):
            n = Counter(count for gram, count in self.adjusted.items() if len(gram) == k)
            self.discounts.append(self.discount(n))

    @staticmethod
    def discount(n):
        if not (n[1] and n[2] and n[3]):
            return FALLBACK
        y = n[1] / (n[1] + 2 * n[2])
        values = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        return values if all(value > 0 for value in values) else FALLBACK

    def probability(self, context, event):
        if context is None:
            return 1 / len(self.events)
        shorter = context[1:] if context else None
        counts = {e: self.adjusted.get((*context, e), 0) for e in self.events}
        total = sum(counts.values())
        if total == 0:
            return self.probability(shorter, event)
        d1, d2, d3 = self.discounts[len(context)]
        cut = {e: (0, d1, d2, d3)[min(count, 3)] for e, count in counts.items()}
        rest = sum(cut.values()) / total
        return (counts[event] - cut[event]) / total + rest * self.probability(shorter, event)

    def context(self, history):
        return tuple(history[max(0, len(history) - self.order + 1) :])


def flat(sequences):
    lengths = [len(sequence) for sequence in sequences]
    tokens = np.array([token for sequence in sequences for token in sequence], np.int64)
    return tokens, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def structured(seed=0, sequences=60, length=40, vocabulary=12):
    """Sequences in which the token two before mostly says the next one."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(sequences):
        row = list(rng.integers(0, vocabulary, 2))
        while len(row) < length:
            usual = (3 * row[-2] + row[-1]) % vocabulary
            row.append(usual if rng.random() < 0.7 else int(rng.integers(vocabulary)))
        rows.append([int(token) for token in row])
    return rows


corpora = st.integers(1, 6).flatmap(
    lambda vocabulary: st.tuples(
        st.just(vocabulary),
        st.lists(st.lists(st.integers(0, vocabulary - 1), max_size=14), min_size=1, max_size=8),
    )
)


def assert_equal_to_dictionaries(model, plain, contexts):
    np.testing.assert_allclose(model.discounts, plain.discounts, rtol=1e-12)
    assert list(model.counts) == plain.distinct
    for begins, context in contexts:
        history = (BEGIN, *context) if begins else tuple(context)
        expected = [plain.probability(plain.context(history), event) for event in plain.events]
        got = model.next_distribution(context, begins=begins)
        np.testing.assert_allclose(got, expected, rtol=2e-6)
        assert abs(got.sum() - 1) < 1e-6
        assert got.min() > 0


@settings(max_examples=40, deadline=None)
@given(corpora, st.integers(1, 5), st.data())
def test_equals_dictionaries_on_small_corpora(corpus, order, data):
    vocabulary, sequences = corpus
    model = NGram.train(*flat(sequences), vocabulary=vocabulary, order=order)
    plain = Dictionaries(sequences, vocabulary, order)
    # Contexts from anywhere: most of the longer ones were never seen.
    made = data.draw(st.lists(st.lists(st.integers(0, vocabulary - 1), max_size=6), max_size=4))
    contexts = [(begins, context) for context in [[], *made] for begins in (True, False)]
    assert_equal_to_dictionaries(model, plain, contexts)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_equals_dictionaries_with_true_discounts(order):
    sequences = structured()
    model = NGram.train(*flat(sequences), vocabulary=13, order=order)
    plain = Dictionaries(sequences, 13, order)
    assert order not in model.fallbacks or order == 1
    contexts = [(i == 0, sequences[0][i : i + order]) for i in range(6)]
    assert_equal_to_dictionaries(model, plain, [*contexts, (True, []), (False, [12, 0])])

    held_out = [structured(seed=1, sequences=1, length=15)[0], [], [12]]
    expected = []
    for sequence in held_out:
        history = [BEGIN]
        for event in [*sequence, END]:
            expected.append(math.log(plain.probability(plain.context(history), event)))
            history.append(event)
    np.testing.assert_allclose(model.score(*flat(held_out)), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(corpora, st.integers(1, 4))
def test_scores_are_the_distributions(corpus, order):
    vocabulary, sequences = corpus
    model = NGram.train(
        *flat(sequences[: len(sequences) // 2 + 1]), vocabulary=vocabulary, order=order
    )
    tokens, offsets = flat(sequences)
    scores = model.score(tokens, offsets)
    assert scores.shape == (len(tokens) + len(sequences),)
    for number, sequence in enumerate(sequences):
        own = scores[offsets[number] + number : offsets[number + 1] + number + 1]
        for i, event in enumerate([*sequence, vocabulary]):
            expected = model.next_distribution(sequence[:i])[event]
            assert own[i] == pytest.approx(math.log(expected), rel=1e-12)


def test_discounts_by_hand():
    # y = 4 / (4 + 2 * 2) = 1/2
    assert discounts([4, 2, 1, 1]) == pytest.approx((0.5, 2 - 0.75, 3 - 2))
    assert discounts([4, 2, 1, 0]) == pytest.approx((0.5, 1.25, 3.0))
    assert discounts([4, 0, 1, 0]) is None
    assert discounts([1, 1, 9, 1]) is None  # D(2) would be negative
    assert discounts([2, 3, 8, 1]) is None  # D(2) would be 0: an event could become impossible


@pytest.mark.parametrize("sequences", [[[]], [[0]], [[], [], [1]], [[0], [1], [0]]])
@pytest.mark.parametrize("order", [1, 2, 5])
def test_shortest_sequences(sequences, order):
    model = NGram.train(*flat(sequences), vocabulary=2, order=order)
    contexts = [(begins, context) for begins in (True, False) for context in ([], [0], [1, 0])]
    assert_equal_to_dictionaries(model, Dictionaries(sequences, 2, order), contexts)
    assert len(model.score(*flat([]))) == 0


def test_longer_context_helps_on_structured_text():
    perplexities = []
    for order in (1, 2, 3, 5):
        model = NGram.train(*flat(structured()), vocabulary=12, order=order)
        scores = model.score(*flat(structured(seed=5)))
        perplexities.append(np.exp(-scores.mean()))
    assert perplexities[0] > perplexities[1] > perplexities[2]
    assert perplexities[3] < 0.7 * perplexities[0]


@pytest.mark.parametrize("order", [1, 4])
def test_save_and_load(tmp_path, order):
    data = flat(structured())
    for folder in ("one", "two", "two"):  # the second time over a finished folder
        NGram.train(*data, vocabulary=12, order=order).save(tmp_path / folder)
    manifest = verify(tmp_path / "one")
    assert manifest == verify(tmp_path / "two")
    model, loaded = NGram.train(*data, vocabulary=12, order=order), NGram.load(tmp_path / "one")
    assert (loaded.vocabulary, loaded.order, loaded.counts) == (12, order, model.counts)
    assert loaded.fallbacks == model.fallbacks
    np.testing.assert_array_equal(loaded.discounts, model.discounts)
    held_out = flat(structured(seed=2))
    np.testing.assert_array_equal(loaded.score(*held_out), model.score(*held_out))
    np.testing.assert_array_equal(loaded.next_distribution([1, 2]), model.next_distribution([1, 2]))


def test_the_dtype_of_the_input_changes_nothing(tmp_path):
    tokens, offsets = flat(structured())
    NGram.train(tokens, offsets, vocabulary=12, order=3).save(tmp_path / "a")
    small = tokens.astype(np.uint8)
    NGram.train(small, offsets.astype(np.int32), vocabulary=12, order=3).save(tmp_path / "b")
    assert verify(tmp_path / "a") == verify(tmp_path / "b")


def test_wide_node_numbers_change_no_score(monkeypatch, tmp_path):
    data, held_out = flat(structured()), flat(structured(seed=2))
    narrow = NGram.train(*data, vocabulary=12, order=3)
    monkeypatch.setattr("tilth.models.ngram.WIDE", 0)
    wide = NGram.train(*data, vocabulary=12, order=3)
    np.testing.assert_array_equal(narrow.score(*held_out), wide.score(*held_out))
    wide.save(tmp_path)
    assert np.load(tmp_path / "suffix.npy").dtype == np.int64


def test_load_refuses_what_is_not_whole(tmp_path):
    with pytest.raises(DamagedError):
        NGram.load(tmp_path)
    NGram.train(*flat([[0, 1]]), vocabulary=2, order=2).save(tmp_path)
    path = tmp_path / "tokens.npy"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError):
        NGram.load(tmp_path)


def test_samples_follow_the_distribution():
    model = NGram.train(*flat(structured()), vocabulary=12, order=3)
    expected = model.next_distribution([4, 5])
    rng = np.random.default_rng(0)
    drawn = [tuple(model.sample(rng, 1, [4, 5])) for _ in range(4000)]
    share = np.array([drawn.count((token,)) for token in range(12)] + [drawn.count(())]) / 4000
    # Five standard errors of the largest entry.
    assert np.abs(share - expected).max() < 5 * 0.5 / np.sqrt(4000)
    assert share.argmax() == expected.argmax()
    again = [model.sample(np.random.default_rng(3), 30) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    assert len(again[0]) <= 30 and len(model.sample(rng, 0)) == 0


@pytest.mark.parametrize(
    ("tokens", "offsets", "options", "says"),
    [
        ([0, 5], [0, 2], {}, "token 1 has the id 5"),
        ([0, -1], [0, 2], {}, "outside 0..4"),
        ([0, 1], [0, 2], {"order": 0}, "order"),
        ([0, 1], [0, 2], {"vocabulary": 0}, "vocabulary"),
        ([], [0], {}, "no sequence"),
        ([], [], {}, "offsets"),
        ([0, 1], [0, 1], {}, "offsets"),
        ([0, 1], [1, 2], {}, "offsets"),
        ([0, 1, 2], [0, 2, 1, 3], {}, "offsets"),
        ([0.5], [0, 1], {}, "integers"),
        ([[0]], [0, 1], {}, "integers"),
    ],
)
def test_bad_input_is_refused(tokens, offsets, options, says):
    options = {"vocabulary": 5, "order": 2, **options}
    with pytest.raises(DataError, match=says):
        NGram.train(np.array(tokens), np.array(offsets), **options)


def test_numbers_that_do_not_fit_are_refused():
    with pytest.raises(LimitError):
        NGram.train(*flat([[0, 1]]), vocabulary=2**31, order=2)


def test_unknown_tokens_are_refused_in_use():
    model = NGram.train(*flat([[0, 1]]), vocabulary=2, order=2)
    with pytest.raises(DataError):
        model.score(np.array([2]), np.array([0, 1]))
    with pytest.raises(DataError):
        model.next_distribution([2])


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="KenLM's lmplz is not installed")
@pytest.mark.parametrize("order", [2, 3, 5])
def test_equals_kenlm(tmp_path, order):
    # lmplz takes the last n-gram of each order, by its numbers for words, into the discounts with
    # its plain count. A word that comes last and once makes that count the right one.
    sequences = [*structured(), [], [3], [3, 4, 5, 12, 6]]
    text = "\n".join(" ".join(f"w{token}" for token in sequence) for sequence in sequences)
    command = ["lmplz", "-o", str(order), "-S", "50M", "-T", str(tmp_path), "--discount_fallback"]
    done = subprocess.run(command, input=text + "\n", capture_output=True, text=True, check=True)
    # The id 13 never occurs: it is KenLM's unknown word.
    model = NGram.train(*flat(sequences), vocabulary=14, order=order)
    compared = 0
    for line in done.stdout.splitlines():
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] == BEGIN:
            continue
        *context, word = fields[1].split(" ")
        number = {END: 14, "<unk>": 13}.get(word)
        number = int(word[1:]) if number is None else number
        begins = bool(context) and context[0] == BEGIN
        ids = [int(name[1:]) for name in context[begins:]]
        got = model.next_distribution(ids, begins=begins)[number]
        assert math.log10(got) == pytest.approx(float(fields[0]), abs=2e-5)
        compared += 1
    assert compared == sum(model.counts) + 1
