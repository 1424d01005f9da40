import numpy as np
import pytest
import torch

from tilth.errors import DataError, LimitError, UsageError
from tilth.models import decoder
from tilth.objectives.causal import Causal, rows_of
from tilth.tokens import bpe
from tilth.tokens.blocks import write_blocks
from tilth.training.loop import fit, row_order
from tilth.training.schedules import SCHEDULES, factor

TEXTS = [f"one two three four five six seven eight {i % 7}\n" * 6 for i in range(60)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    tokenizer = bpe.train(TEXTS, 300)
    folder = tmp_path_factory.mktemp("tokens")
    return write_blocks(folder, [("a", [str(i) for i in range(60)], TEXTS)], tokenizer)


def small():
    return decoder.build("20k", vocabulary=300, context=64)


def train(data, model, **options):
    options = {"tokens": 20 * 512, "batch_tokens": 512, "threads": 1, **options}
    return fit(model, Causal(64), data, **options)


def test_the_loss_falls_far_below_chance(data):
    model = small()
    history = train(data, model, tokens=60 * 512)
    assert history.points[0]["loss"] == pytest.approx(np.log(300), rel=0.05)
    assert history.points[-1]["loss"] < 0.5 * history.points[0]["loss"]
    assert history.tokens == 60 * 512 and len(history.points) == 60


def test_the_same_seed_gives_the_same_weights_bit_for_bit(data):
    models = [small(), small(), small()]
    for model, seed in zip(models, (0, 0, 1)):
        train(data, model, seed=seed)
    first, same, other = (list(model.parameters()) for model in models)
    assert all(torch.equal(a, b) for a, b in zip(first, same))
    assert not all(torch.equal(a, b) for a, b in zip(first, other))


def test_accumulated_batches_have_the_gradient_of_the_whole(data):
    model, rows = small(), Causal(64).rows(data).tokens
    from tilth.training.loop import _step

    gradients = []
    for micro_rows in (8, 3):
        model.zero_grad()
        loss = _step(model, Causal(64), rows, list(range(8)), micro_rows)
        gradients.append([p.grad.clone() for p in model.parameters()])
    for whole, parts in zip(*gradients):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)
    expected = model(
        input_ids=torch.from_numpy(rows[:8].astype(np.int64)),
        labels=torch.from_numpy(rows[:8].astype(np.int64)),
    ).loss
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_too_short_a_training_and_a_broken_loss_are_one_line(data):
    with pytest.raises(DataError, match="at least 10"):
        train(data, small(), tokens=512)
    with pytest.raises(LimitError, match="the loss is nan"):
        model = small()
        with torch.no_grad():
            model.model.norm.weight.fill_(float("nan"))
        train(data, model)
    with pytest.raises(UsageError, match="cosine"):
        train(data, small(), schedule="cosin")
    with pytest.raises(DataError, match="do not fill one row"):
        Causal(100_000).rows(data)


def test_rows_hold_every_document_and_count_what_is_left():
    flat, offsets = np.array([5, 6, 7, 8, 9]), np.array([0, 2, 2, 5])
    rows = rows_of(flat, offsets, 3, 0)
    assert rows.tokens.tolist() == [[5, 6, 0], [0, 7, 8]] and rows.left_out == 2


def test_every_epoch_sees_every_row_once_in_another_order():
    order = row_order(10, seed=3)
    first, second = ([next(order) for _ in range(10)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second


def test_schedules_rise_and_fall():
    for name in SCHEDULES:
        assert factor(name, 0, 1000, 0.1) == 0.0
        assert factor(name, 100, 1000, 0.1) > 0.9
        assert 0 <= factor(name, 1000, 1000, 0.1) <= factor(name, 500, 1000, 0.1) <= 1
    assert factor("wsd", 799, 1000, 0.1) == 1.0 and factor("linear", 500, 1000, 0) == 0.5
