"""Interrupted equals uninterrupted; what is not the same training is refused."""

import copy
import json

import pytest
import torch

from tilth.errors import DamagedError, LockedError, UsageError
from tilth.objectives.batch import Loss
from tilth.objectives.causal import Causal
from tilth.store import write
from tilth.store.lock import lock
from tilth.testing.objectives import tiny_model
from tilth.testing.resume import check_resume
from tilth.training import checkpoint as kept
from tilth.training.guard import StepGuard
from tilth.training.loop import fit
from tilth.training.policy import Policy, PolicyRule

OPTIONS = {"tokens": 12 * 64, "batch_tokens": 64, "threads": 1, "checkpoint_every": 4}


class Noisy(Causal):
    """Causal with a module of its own and noise from torch's generator (2020)."""

    def __init__(self, *, length=16):
        super().__init__(length=length)
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.modules = {"scale": torch.nn.Linear(4, 1)}

    def loss(self, model, batch):
        made = super().loss(model, batch)
        noise = torch.randn(made.n_targets, 4)
        own = self.modules["scale"](noise).square().sum()
        return Loss(made.total + own, {}, made.n_targets)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"policy": Policy([PolicyRule("*layers.0*", trainable=False), PolicyRule("objective.*")])},
        {"policy": Policy([PolicyRule("*q_proj*", mask="zeros", rate=0.5)])},
        {"guard": StepGuard(window=8, least=2, sigmas=0.5), "learning_rate": 3e-2},
        {"schedule": "wsd", "minimum": 0.1, "precision": "bfloat16"},
    ],
    ids=["plain", "frozen", "masked", "guarded", "bfloat16"],
)
def test_an_interrupted_training_ends_the_same(options):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight[:3] = 0.0
    check_resume(Noisy(length=16), model=model, **options)


def test_an_objective_that_forgets_is_found():
    class Forgetful(Causal):
        """Draws from a generator that no checkpoint holds (2020)."""

        def __init__(self, *, length=16):
            super().__init__(length=length)
            self.generator = torch.Generator().manual_seed(0)

        def __deepcopy__(self, memo):
            return Forgetful(length=self.length)

        def loss(self, model, batch):
            made = super().loss(model, batch)
            return made._replace(total=made.total * torch.rand((), generator=self.generator))

    with pytest.raises(AssertionError, match=r"are others|differs"):
        check_resume(Forgetful(length=16))


def test_killed_at_any_write_it_ends_the_same(counting, tmp_path):
    """Each file of a checkpoint in turn is the last that is written."""
    expected = tiny_model()
    moments = []
    write.fault = lambda moment, path: moments.append((moment, path.name))
    try:
        fit(expected, Causal(length=16), counting, checkpoint=tmp_path / "whole", **OPTIONS)
    finally:
        write.fault = None
    assert {name for _, name in moments} == {
        "weights.safetensors", "moments.safetensors", "training.json", "manifest.json",
    }  # fmt: skip
    for strike in range(1, len(moments), 5):
        seen = 0

        def fault(moment, path, strike=strike):
            nonlocal seen
            seen += 1
            if seen == strike:
                raise KeyboardInterrupt

        folder, model = tmp_path / str(strike), tiny_model()
        write.fault = fault
        try:
            with pytest.raises(KeyboardInterrupt):
                fit(model, Causal(length=16), counting, checkpoint=folder, **OPTIONS)
        finally:
            write.fault = None
        again = tiny_model()
        fit(again, Causal(length=16), counting, checkpoint=folder, **OPTIONS)
        assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), again.parameters()))
        assert len(kept.folders(folder)) == 1 and len(list(folder.glob("step-*"))) == 1


@pytest.fixture(scope="module")
def finished(counting, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    fit(tiny_model(), Causal(length=16), counting, checkpoint=folder, checkpoint_keep=2, **OPTIONS)
    return folder


def test_a_checkpoint_is_safetensors_and_json(finished):
    assert [path.name for path in kept.folders(finished)] == ["step-00000008", "step-00000012"]
    last = kept.latest(finished)
    assert sorted(path.suffix for path in last.iterdir()) == [".json"] * 2 + [".safetensors"] * 2
    said = json.loads((last / "training.json").read_text())
    assert said["state"]["step"] == 12 and len(said["state"]["points"]) == 12


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"learning_rate": 1e-4}, "learning_rate"),
        ({"schedule": "linear"}, "schedule"),
        ({"schedule": lambda consumed, budget, warmup: 0.5}, "schedule"),
        ({"seed": 1}, "seed"),
        ({"tokens": 13 * 64}, "tokens"),
        ({"policy": Policy([PolicyRule("*norm*", trainable=False)])}, "policy"),
        ({"guard": StepGuard()}, "guard"),
    ],
)
def test_another_training_is_refused(finished, counting, options, named):
    with pytest.raises(UsageError, match=f"begun with {named} = "):
        fit(
            tiny_model(), Causal(length=16), counting, checkpoint=finished,
            **{**OPTIONS, **options},
        )  # fmt: skip


def test_other_data_model_or_objective_are_refused(finished, counting):
    for objective, data in ((Causal(length=16), counting.select(range(30))), (Noisy(), counting)):
        with pytest.raises(UsageError, match="begun with"):
            fit(tiny_model(), objective, data, checkpoint=finished, **OPTIONS)
    model = tiny_model()
    del model.model.layers[-1]
    with pytest.raises(UsageError, match="begun with model"):
        fit(model, Causal(length=16), counting, checkpoint=finished, **OPTIONS)


def test_damage_and_company_are_refused(counting, tmp_path):
    fit(tiny_model(), Causal(length=16), counting, checkpoint=tmp_path, **OPTIONS)
    with lock(tmp_path), pytest.raises(LockedError):
        fit(tiny_model(), Causal(length=16), counting, checkpoint=tmp_path, **OPTIONS)
    path = kept.latest(tmp_path) / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedError, match="does not agree"):
        fit(tiny_model(), Causal(length=16), counting, checkpoint=tmp_path, **OPTIONS)


def test_moments_go_on(counting):
    """Two halves with moments handed on are one training at a constant rate, but for its seed."""
    options = {**OPTIONS, "schedule": "constant", "warmup": 0.0}
    model, moments = tiny_model(), {}
    fit(model, Causal(length=16), counting, moments=moments, **options)
    assert {"exp_avg", "exp_avg_sq", "step"} == set(moments["model.norm.weight"])
    assert moments["model.norm.weight"]["step"].item() == 12
    anew = copy.deepcopy(model)
    fit(model, Causal(length=16), counting, moments=moments, **options)
    assert moments["model.norm.weight"]["step"].item() == 24
    fit(anew, Causal(length=16), counting, **options)
    assert not torch.equal(model.lm_head.weight, anew.lm_head.weight)
    wrong = {**moments, "model.norm.weight": {"exp_avg": torch.zeros(3)}}
    with pytest.raises(UsageError, match=r"model\.norm\.weight"):
        fit(anew, Causal(length=16), counting, moments=wrong, **options)
