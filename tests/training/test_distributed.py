"""Two processes make the same steps as one, with weights split and with weights copied."""

import os
import subprocess
import sys

import pytest
import torch

from tilth.errors import UsageError
from tilth.objectives.causal import Causal
from tilth.testing.objectives import documents, tiny_model
from tilth.training.distributed import start
from tilth.training.loop import fit

OPTIONS = {"tokens": 10 * 128, "batch_tokens": 128, "micro_batch_tokens": 32, "threads": 1}

PROGRAM = """
import sys, torch
from tilth.objectives.causal import Causal
from tilth.testing.objectives import documents, tiny_model
from tilth.training.distributed import start, stop, whole_state
from tilth.training.loop import fit

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
stop()
"""


def test_two_processes_equal_one(tmp_path):
    expected = tiny_model()
    history = fit(expected, Causal(length=16), documents(), **OPTIONS)
    program = tmp_path / "train.py"
    program.write_text(PROGRAM)
    # A free port is found by torchrun itself; each process gets one thread.
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2",
            "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", str(program), str(tmp_path),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for mode in ("shard", "replicate"):
        found = torch.load(tmp_path / f"{mode}.pt", weights_only=True)
        losses = [point.loss for point in history.points]
        assert torch.allclose(torch.tensor(found["losses"]), torch.tensor(losses), atol=1e-5)
        for name, weight in expected.state_dict().items():
            difference = (found["state"][name] - weight).abs().max().item()
            assert difference < 1e-5, (mode, name, difference)


def test_workers_come_from_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UsageError, match="torchrun"):
        start()
    with pytest.raises(UsageError, match="no mode"):
        start("split")
