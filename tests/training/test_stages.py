"""Stages: one lineage, resumable, with surgery and moments; epochs; what is refused at once."""

import copy

import pytest
import torch

from tilth.errors import DataError, UsageError
from tilth.models.checkpoint import Checkpoint
from tilth.objectives.causal import Causal
from tilth.testing.objectives import tiny_model
from tilth.training.epochs import (
    rows_of_epoch,
    tokens_for_epochs,
    tokens_for_flops,
    tokens_for_seconds,
)
from tilth.training.flops import flops_per_token
from tilth.training.loop import fit
from tilth.training.stages import Stage, run_stages


def smaller(checkpoint):
    """A surgery: every weight a little smaller."""
    return checkpoint.with_({name: 0.9 * t for name, t in checkpoint.tensors.items()})


def stages(counting, **second):
    return [
        Stage("base", Causal(length=16), counting, 10 * 64, batch_tokens=64, minimum=0.2),
        Stage(
            "anneal", Causal(length=32), counting, 10 * 64, batch_tokens=64, schedule="linear",
            learning_rate=None, warmup=0.0, **second,
        ),
    ]  # fmt: skip


class Stopped(Exception):
    pass


def test_a_stage_goes_on_from_where_the_one_before_stopped(counting):
    model = tiny_model()
    byhand = copy.deepcopy(model)
    out, histories = run_stages(model, stages(counting, keep_moments=True), threads=1)
    assert out is model and [len(history.points) for history in histories] == [10, 10]
    moments = {}
    first = fit(
        byhand, Causal(length=16), counting, tokens=640, batch_tokens=64, minimum=0.2,
        threads=1, moments=moments,
    )  # fmt: skip
    assert first == histories[0]
    last = first.points[-1].learning_rate
    second = fit(
        byhand, Causal(length=32), counting, tokens=640, batch_tokens=64, schedule="linear",
        learning_rate=last, warmup=0.0, threads=1, moments=moments,
    )  # fmt: skip
    assert second == histories[1] and second.points[0].learning_rate < last
    assert all(torch.equal(a, b) for a, b in zip(byhand.parameters(), model.parameters()))


@pytest.mark.parametrize("stop", [4, 17])
def test_a_killed_run_goes_on_in_its_stage(counting, tmp_path, stop):
    made = stages(counting, surgery=smaller)
    expected, histories = run_stages(tiny_model(), made, threads=1)
    steps = 0

    def on_step(point):
        nonlocal steps
        steps += 1
        if steps == stop:
            raise Stopped

    options = {"threads": 1, "checkpoint": tmp_path, "checkpoint_every": 3}
    with pytest.raises(Stopped):
        run_stages(tiny_model(), made, on_step=on_step, **options)
    found, again = run_stages(tiny_model(), made, **options)
    assert again == histories
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), found.parameters()))
    assert (tmp_path / "02-anneal" / "step-00000010").is_dir()
    assert "anneal" in (tmp_path / "stages.json").read_text()


def test_surgery_comes_before_learning(counting):
    seen = []

    def record(checkpoint):
        seen.append(checkpoint.tensors["model.norm.weight"].clone())
        return smaller(checkpoint)

    model = tiny_model()
    before = model.model.norm.weight.clone()
    made = stages(counting)[0]
    made = Stage("only", made.objective, made.data, made.tokens, batch_tokens=64, surgery=record)
    out, _ = run_stages(model, [made], threads=1)
    assert torch.equal(seen[0], before) and torch.equal(model.model.norm.weight, before)
    assert out is not model and isinstance(Checkpoint.of(out), Checkpoint)


def test_what_cannot_work_is_refused_before_anything_is_trained(counting):
    first, second = stages(counting)
    trained = []
    for wrong, message in (
        ([second], "no stage lies before"),
        ([], "no stage"),
        ([first, first], "names of their own"),
        ([Stage("A/b", Causal(length=16), counting, 640)], "no name for a stage"),
        ([first, Stage("next", Causal(length=16), counting, 640)], "0 steps"),
    ):
        with pytest.raises(UsageError, match=message):
            run_stages(tiny_model(), wrong, on_step=trained.append)
    assert trained == []


def test_epochs_as_tokens(counting):
    objective = Causal(length=16)
    rows = rows_of_epoch(objective, counting)
    assert rows == (counting.total_tokens + len(counting)) // 16
    tokens = tokens_for_epochs(objective, counting, 3, batch_tokens=64)
    assert tokens % 64 == 0 and rows * 3 * 16 <= tokens < rows * 3 * 16 + 64
    for epochs, data, batch in ((0, counting, 64), (1, counting.select([]), 64), (1, counting, 8)):
        with pytest.raises((UsageError, DataError)):
            tokens_for_epochs(objective, data, epochs, batch_tokens=batch)


def test_operations_and_seconds_as_tokens(counting):
    model, objective = tiny_model(), Causal(length=16)
    assert tokens_for_flops(model, objective, 100.5 * flops_per_token(model, 16)) == 100
    assert tokens_for_seconds(model, objective, counting, 1.0, repeats=1) > 16
