import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import UsageError
from tilth.objectives.batch import Draws
from tilth.objectives.corruption import Corruption, choose, corrupt
from tilth.objectives.masked import NO_TARGET, Masked
from tilth.testing.objectives import check_objective, documents, tiny_model
from tilth.tokens.documents import TokenDocuments
from tilth.tokens.words import FIRST

SIZE, MASK = 40, 40
# Of 40 ids the multiples of 3 begin a word, others go on with it.
TABLE = "".join(chr(FIRST + (0 if id % 3 == 0 else 64)) for id in range(SIZE + 1))
WORDS = [((3,), 3.0), ((6,), 1.0), ((9, 10), 2.0), ((12, 13), 5.0)]
ALLOWED = np.arange(SIZE) > 0
OPTIONS = {
    "token": {},
    "word": {"unit": "word", "words": TABLE},
    "span": {"unit": "span", "words": TABLE},
    "tfidf": {"unit": "tfidf", "words": TABLE, "informative": WORDS},
    "put": {"unit": "word", "words": TABLE, "informative": WORDS, "replacement": "tfidf"},
}


def text(seed: int, size: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, SIZE, size).astype(np.uint16)


@pytest.mark.parametrize("unit", OPTIONS)
@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_share_that_is_chosen_is_the_rate_within_3_sigma(unit, rate):
    how = Corruption(**{"rate": rate, **OPTIONS[unit]})
    shares = []
    for seed in range(60):
        ids = text(seed, 300)
        shares.append(choose(ids, how, Draws(seed).at("a"))[1].mean())
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - rate) < 3 * error + 1e-9
    assert np.std(shares, ddof=1) < 0.1


@pytest.mark.parametrize("unit", OPTIONS)
def test_whole_units_are_masked_replaced_or_kept_and_nothing_else_changes(unit):
    how = Corruption(**{"rate": 0.3, **OPTIONS[unit]})
    ids = text(1)
    before = ids.copy()
    made, chosen = corrupt(ids, how, Draws(1).at("a"), MASK, ALLOWED)
    assert np.array_equal(ids, before)
    assert np.array_equal(made[~chosen], ids[~chosen])
    starts = np.flatnonzero(choose(ids, how, Draws(1).at("a"))[0])
    fates = {"masked": 0, "kept": 0, "replaced": 0}
    for start, stop in zip(starts, [*starts[1:], len(ids)]):
        part, old = made[start:stop], ids[start:stop]
        assert len(set(chosen[start:stop].tolist())) == 1
        if not chosen[start]:
            continue
        fate = "masked" if (part == MASK).all() else "kept" if (part == old).all() else "replaced"
        fates[fate] += 1
        if fate == "replaced" and unit != "put":
            assert (part != old).all()
        assert (part == MASK).all() or not (part == MASK).any()
        assert not (part == 0).any()
    total = sum(fates.values())
    for fate, share in (("masked", 0.8), ("kept", 0.1)):
        assert abs(fates[fate] / total - share) < 3 * math.sqrt(share * (1 - share) / total) + 0.01


def test_no_corruption_leaves_no_chosen_token_in_sight():
    how = Corruption(rate=0.2, split=(1.0, 0.0, 0.0), unit="word", words=TABLE)
    made, chosen = corrupt(text(3), how, Draws(3).at("a"), MASK, ALLOWED)
    assert chosen.any() and (made[chosen] == MASK).all()


def test_replacements_are_uniform_over_all_other_ordinary_tokens():
    how = Corruption(rate=0.9, split=(0.0, 1.0, 0.0))
    ids = np.full(40_000, 7, dtype=np.uint16)
    allowed = np.isin(np.arange(SIZE), [2, 5, 7, 9, 30])
    made, chosen = corrupt(ids, how, Draws(0).at("a"), MASK, allowed)
    found, counts = np.unique(made[chosen], return_counts=True)
    assert found.tolist() == [2, 5, 9, 30]
    assert np.abs(counts / chosen.sum() - 0.25).max() < 0.01


def test_informative_words_are_put_in_by_their_weight():
    how = Corruption(
        rate=0.9, split=(0, 1, 0), unit="word", words=TABLE, replacement="tfidf",
        informative=WORDS,
    )  # fmt: skip
    ids = np.tile(np.array([15, 16], dtype=np.uint16), 20_000)
    made, chosen = corrupt(ids, how, Draws(0).at("a"), MASK, ALLOWED)
    pairs = made.reshape(-1, 2)[chosen.reshape(-1, 2)[:, 0]]
    assert {tuple(pair) for pair in pairs.tolist()} == {(9, 10), (12, 13)}
    assert abs((pairs[:, 0] == 12).mean() - 5 / 7) < 0.02


def test_informative_words_are_chosen_more_often():
    how = Corruption(rate=0.15, unit="tfidf", words=TABLE, informative=WORDS)
    ids = np.tile(np.array([12, 13, 6, 3], dtype=np.uint16), 5000)
    _, chosen = choose(ids, how, Draws(0).at("a"))
    shares = chosen.reshape(-1, 4).mean(0)
    assert shares[0] > 4 * shares[2] and shares[3] > 2 * shares[2]


@given(st.lists(st.lists(st.integers(1, SIZE - 1), max_size=14), max_size=6), st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_rows_are_the_joined_documents_and_targets_what_stood_there(rows, length):
    tokens = [np.array(row, dtype=np.uint16) for row in rows]
    data = TokenDocuments([str(i) for i in range(len(rows))], tokens, vocabulary=SIZE, end=0)
    batch = Masked(length=length, rate=0.4, special=[5]).prepare(data, Draws())
    stream = [0, *[token for row in rows for token in [*row, 0]]] if rows else []
    hidden = batch["targets"] != NO_TARGET
    back = np.where(hidden, batch["targets"], batch["ids"]).ravel().tolist()
    assert back == stream[: len(back)]
    assert len(back) + batch.dropped == len(stream)
    assert not np.isin(batch["targets"], [0, 5]).any()


def test_masks_change_with_the_epoch_and_not_with_the_neighbours():
    data, objective = documents(), Masked(length=16)
    first, same = (objective.prepare(data, Draws(0, 0)) for _ in range(2))
    other = objective.prepare(data, Draws(0, 1))
    assert np.array_equal(first["ids"], same["ids"])
    assert not np.array_equal(first["ids"], other["ids"])
    place, one = 5, Masked(length=2)
    alone = one.prepare(data.select([place]), Draws(0))
    among = one.prepare(data.select([2, place, 7]), Draws(0))
    start = len(data.document(2)) + 1
    size = (len(data.document(place)) - 1) // 2 * 2
    assert alone["ids"].ravel()[1 : size - 1].tolist() == (
        among["ids"].ravel()[start + 1 : start + size - 1].tolist()
    )


def test_the_loss_is_that_of_the_model_class():
    model, objective = tiny_model(kind="bert"), Masked(length=16)
    data = documents().select([3])
    batch = objective.prepare(data, Draws())
    # One document a row only where it does not go on: take its first row, alone.
    row = batch.take([0])
    made = objective.loss(model, row)
    labels = torch.from_numpy(np.where(row["targets"] == NO_TARGET, -100, row["targets"])).long()
    theirs = model(input_ids=torch.from_numpy(row["ids"].astype(np.int64)), labels=labels).loss
    assert math.isclose(made.total.item() / made.n_targets, theirs.item(), rel_tol=1e-5)


def test_phases():
    first = Masked(length=16, words=TABLE * 8)
    last = first.changed(unit="word", rate=0.2, split=(1, 0, 0))
    assert last.parameters() == {
        **first.parameters(), "unit": "word", "rate": 0.2, "split": [1.0, 0.0, 0.0],
    }  # fmt: skip


@pytest.mark.parametrize("unit", [unit for unit in OPTIONS if unit != "token"])
def test_the_contract_with_words(unit):
    """Of which a part: an interrupted training ends as one that was not, bit for bit."""
    # At a low rate some step of 64 tokens would have no target.
    check_objective(Masked(length=16, rate=0.4, **{**OPTIONS[unit], "words": TABLE * 8}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "rate"),
        ({"unit": "words"}, "unit"),
        ({"unit": "word"}, "where words begin"),
        ({"split": (0.5, 0.5, 0.5)}, "split"),
        ({"replacement": "tfidf", "words": TABLE}, "informative"),
        ({"replacement": "other"}, "replacement"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Masked(**options)


def test_a_model_without_a_row_for_the_mask_is_refused():
    objective = Masked(length=16, mask=301)
    batch = objective.prepare(documents(), Draws())
    with pytest.raises(UsageError, match="id 301"):
        objective.loss(tiny_model(kind="bert"), batch)
