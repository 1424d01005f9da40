"""Two processes make the same steps as one, with weights split and with weights copied."""

import os
import subprocess
import sys

import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.causal import Causal
from tilth.objectives.masked import Masked
from tilth.objectives.replaced import Replaced
from tilth.testing.objectives import VOCABULARY, documents, tiny_model
from tilth.training.distributed import start
from tilth.training.loop import fit
from tilth.training.policy import modules_of

OPTIONS = {"tokens": 10 * 128, "batch_tokens": 128, "micro_batch_tokens": 32, "threads": 1}

PROGRAM = """
import sys, torch
from tilth.objectives.causal import Causal
from tilth.objectives.masked import Masked
from tilth.objectives.replaced import Replaced
from tilth.testing.objectives import VOCABULARY, documents, tiny_model
from tilth.training.distributed import start, stop, whole_state
from tilth.training.loop import fit
from tilth.training.policy import modules_of

class Stopped(Exception): pass
def on_step(point):
    if point.step == 7: raise Stopped

folder = sys.argv[1]
options = dict(tokens=10 * 128, batch_tokens=128, micro_batch_tokens=32, threads=1)
for mode in ("shard", "replicate"):
    workers = start(mode)
    kept = f"{folder}/{mode}"
    for stop_at in (on_step, None) if mode == "shard" else (None,):
        model = tiny_model(seed=workers.rank)
        try:
            history = fit(model, Causal(length=16), documents(), workers=workers, checkpoint=kept,
                          checkpoint_every=4, on_step=stop_at, **options)
        except Stopped:
            workers.wait()
    state = whole_state(model)
    if workers.rank == 0:
        losses = [point.loss for point in history.points]
        torch.save({"state": state, "losses": losses}, f"{folder}/{mode}.pt")

for kind, mode in (("bert", "replicate"), ("electra", "replicate"), ("electra", "shard")):
    workers = start(mode)
    # Begun with other weights in each process, the objective's own too.
    model, objective = tiny_model(seed=workers.rank, kind=kind), Masked(length=16)
    if kind == "electra":
        objective = Replaced(length=16, vocabulary=VOCABULARY + 1, seed=workers.rank)
    history = fit(model, objective, documents(), workers=workers, **options)
    losses = [point.loss for point in history.points]
    state = {prefix: whole_state(part) for prefix, part in modules_of(model, objective).items()}
    torch.save({"state": state, "losses": losses}, f"{folder}/{kind}-{mode}-{workers.rank}.pt")
stop()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What two processes left: starting them is what costs, so they train all there is."""
    folder = tmp_path_factory.mktemp("two")
    program = folder / "train.py"
    program.write_text(PROGRAM)
    # A free port is found by torchrun itself; each process gets one thread.
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2",
            "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(program), str(folder),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone():
    """(the model, its losses) of one process."""
    model = tiny_model()
    history = fit(model, Causal(length=16), documents(), **OPTIONS)
    return model, [point.loss for point in history.points]


@pytest.mark.parametrize("mode", ["shard", "replicate"])
def test_two_processes_equal_one(mode, folder, alone):
    model, losses = alone
    found = torch.load(folder / f"{mode}.pt", weights_only=True)
    assert torch.allclose(torch.tensor(found["losses"]), torch.tensor(losses), atol=1e-5)
    near(found["state"], model.state_dict())


@pytest.mark.parametrize(
    ("kind", "mode"), [("bert", "replicate"), ("electra", "replicate"), ("electra", "shard")]
)
def test_two_processes_equal_one_with_an_objective_of_masks(kind, mode, folder):
    """Masked, and replaced with the generator that it owns, copied or split as the model is."""
    model, objective = tiny_model(kind=kind), Masked(length=16)
    if kind == "electra":
        objective = Replaced(length=16, vocabulary=VOCABULARY + 1)
    history = fit(model, objective, documents(), **OPTIONS)
    losses = torch.tensor([point.loss for point in history.points])
    parts = modules_of(model, objective)
    assert len(parts) == (2 if kind == "electra" else 1)
    for rank in (0, 1):
        found = torch.load(folder / f"{kind}-{mode}-{rank}.pt", weights_only=True)
        torch.testing.assert_close(torch.tensor(found["losses"]), losses, atol=1e-5, rtol=1e-6)
        for prefix, part in parts.items():
            near(found["state"][prefix], part.state_dict())


def near(found, expected):
    """Equal within 1e-5, tensor by tensor."""
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        difference = (found[name] - weight).abs().max().item()
        assert difference < 1e-5, (name, difference)


def test_workers_come_from_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="torchrun"):
        start()
    with pytest.raises(UsageError, match="no mode"):
        start("split")
