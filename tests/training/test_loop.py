import json
import math

import numpy as np
import pytest
import torch

from tilth.errors import DataError, LimitError, UsageError
from tilth.models.packed import forward, row_segments
from tilth.objectives.causal import Causal
from tilth.testing.objectives import VOCABULARY, tiny_model
from tilth.tokens.documents import TokenDocuments
from tilth.training.curve import draw, live, smooth, write_curve
from tilth.training.loop import fit, plan
from tilth.training.order import RowOrder
from tilth.training.schedules import cosine


@pytest.fixture(scope="module")
def data(counting):
    return counting


OPTIONS = {"tokens": 20 * 256, "batch_tokens": 256, "threads": 2, "learning_rate": 1e-2}


def trained(data, **options):
    model = tiny_model()
    history = fit(model, Causal(length=32), data, **{**OPTIONS, **options})
    return model, history


@pytest.fixture(scope="module")
def first(data):
    return trained(data)


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))


def test_it_learns_and_says_what_it_did(first):
    model, history = first
    assert [point.tokens for point in history.points] == [256 * step for step in range(1, 21)]
    assert abs(history.points[0].loss - math.log(VOCABULARY)) < 0.3
    assert history.loss < 4.6
    assert history.plan["steps"] == 20 and history.plan["tokens"] == 20 * 256
    assert history.dropped_tokens > 0
    assert not model.training and all(p.grad is None for p in model.parameters())
    json.dumps(history.to_dict(), allow_nan=False)


def test_the_same_options_give_the_same_bits(data, first):
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    again, history = trained(data)
    assert equal(first[0], again) and history == first[1]
    other, _ = trained(data, seed=1)
    assert not equal(first[0], other)
    assert torch.get_num_threads() == threads and torch.equal(before, torch.get_rng_state())


def test_micro_batches_change_only_the_rounding(data, first):
    one, history = trained(data, micro_batch_tokens=96)
    assert history.plan["micro_batch_rows"] == 3
    for a, b in zip(first[0].parameters(), one.parameters()):
        assert torch.allclose(a, b, atol=2e-3)
    assert math.isclose(history.loss, first[1].loss, rel_tol=1e-3)


def test_the_loop_equals_a_naive_one(data, first):
    """Mean loss over the whole batch by the model class itself, clipped, plain AdamW."""
    model = tiny_model()
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))
    order = RowOrder(Causal(length=32), data, 0)
    for step in range(20):
        rows = torch.from_numpy(order.take(8)["tokens"].astype(np.int64))
        logits = forward(model, rows[:, :-1], row_segments(rows[:, :-1], data.end))
        torch.nn.functional.cross_entropy(logits.transpose(1, 2), rows[:, 1:]).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        point = first[1].points[step]
        assert math.isclose(point.gradient_norm, norm, rel_tol=1e-2)
        rate = 1e-2 * cosine((step + 0.5) * 256, 20 * 256, 0.05 * 20 * 256)
        assert math.isclose(point.learning_rate, rate, rel_tol=1e-9)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    for a, b in zip(first[0].parameters(), model.parameters()):
        assert torch.allclose(a, b, atol=2e-3)


def test_progress_and_steps_are_told(data):
    told, seen = [], []
    model = tiny_model()
    frozen = model.model.embed_tokens.weight
    frozen.requires_grad_(False)
    kept = frozen.clone()
    fit(
        model, Causal(length=32), data, **{**OPTIONS, "schedule": "wsd", "tokens": 2600},
        progress=lambda *a: told.append(a), on_step=seen.append,
    )  # fmt: skip
    assert told[-1] == ("train", 2560, 2560) and len(told) == 10
    assert [point.step for point in seen] == list(range(1, 11))
    assert torch.equal(frozen, kept), "what does not require a gradient must not move"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"tokens": 2000}, UsageError, r"2,000 tokens are 7 steps of 256 .* at least 10"),
        ({"batch_tokens": 31}, UsageError, "holds no row"),
        ({"schedule": "cosin"}, UsageError, "cosine"),
        ({"warmup": 1.0}, UsageError, "warmup"),
        ({"learning_rate": 0.0}, UsageError, "learning_rate"),
        ({"learning_rate": 1e30, "clip": 1e30}, LimitError, "no number at step"),
    ],
)
def test_what_cannot_work_is_refused(data, options, kind, message):
    with pytest.raises(kind, match=message):
        trained(data, **options)


def test_data_and_model_must_fit(data):
    with pytest.raises(UsageError, match="context is 64"):
        fit(tiny_model(), Causal(length=65), data, **OPTIONS)
    large = TokenDocuments(data.ids, data.tokens, VOCABULARY + 1)
    with pytest.raises(DataError, match="vocabulary of 301"):
        fit(tiny_model(), Causal(length=32), large, **OPTIONS)
    few = data.select([])
    with pytest.raises(DataError, match="too few"):
        fit(tiny_model(), Causal(length=32), few, **OPTIONS)
    frozen = tiny_model().requires_grad_(False)
    with pytest.raises(UsageError, match="trainable"):
        fit(frozen, Causal(length=32), data, **OPTIONS)


def test_the_plan_says_what_will_be(data):
    model = tiny_model()
    made = plan(model, Causal(length=32), data, tokens=20_000, batch_tokens=1000)
    assert made["rows_per_step"] == 31 and made["steps"] == 20
    assert made["tokens"] == 20 * 31 * 32
    assert made["flops"] > 6 * made["parameters"] * made["tokens"]


def test_the_curve_is_the_same_bytes_each_time(first, tmp_path):
    for name in ("a", "b"):
        write_curve(tmp_path / name, first[1], name="model")
    for name in ("curve.json", "curve.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    made = json.loads((tmp_path / "a" / "curve.json").read_text())
    assert made["name"] == "model" and len(made["points"]) == 20
    svg = draw(first[1], title="A title").decode()
    assert svg.lstrip().startswith("<?xml") and "A title" in svg and "<dc:date>" not in svg


def test_a_curve_can_be_looked_at_on_the_way(first, tmp_path):
    points = first[1].points
    for part in (points[:12], points[9:20]):
        on_step = live(tmp_path, every=5, name="model")
        for point in part:
            on_step(point)
    made = json.loads((tmp_path / "curve.json").read_text())
    assert [point["step"] for point in made["points"]] == list(range(1, 21))
    assert made["name"] == "model" and (tmp_path / "curve.svg").is_file()


def test_smoothing_keeps_constants_and_follows_changes():
    assert np.allclose(smooth([2.0] * 30), 2.0)
    moved = smooth([0.0] * 100 + [1.0] * 10, half_life=10)
    assert math.isclose(moved[-1], 0.5, abs_tol=0.01)
