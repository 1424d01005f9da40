"""Stages: a training in several parts, each with its own data, objective, schedule and policy.

    model, histories = run_stages(model, [
        Stage("base", Causal(length=128), books, tokens=2_000_000),
        Stage("anneal", Causal(length=128), best, tokens=300_000, learning_rate=None,
              schedule="linear", warmup=0.0, keep_moments=True),
    ], checkpoint="run/training")

One lineage: each stage begins with the weights that the one before left, after the surgery that it
names. `keep_moments` hands the optimiser's moments on too; without it they start anew, which by
itself works like a short warm-up (Ibrahim et al., 2024): state which of the two a result had. With
a checkpoint folder a killed run goes on in the stage where it was, and ends bit for bit the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.objectives.batch import Objective
from tilth.store.write import write_json
from tilth.tokens.documents import TokenSource
from tilth.training.guard import StepGuard
from tilth.training.history import History, Point
from tilth.training.loop import fit, plan
from tilth.training.policy import Policy
from tilth.training.schedules import Schedule
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.models.checkpoint import Checkpoint
    from tilth.training.checkpoint import Moments


@dataclass(frozen=True)
class Stage:
    """One part of a training; see `fit` for what is not said here.

    `learning_rate` None goes on at the rate at which the stage before stopped. `surgery` makes a
    new checkpoint of the model before anything is learned; it must be a pure function.
    """

    name: str
    objective: Objective
    data: TokenSource
    tokens: int
    batch_tokens: int = 4096
    schedule: str | Schedule = "cosine"
    learning_rate: float | None = 3e-3
    minimum: float = 0.0
    warmup: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0
    policy: Policy | None = None
    guard: StepGuard | None = None
    surgery: Callable[[Checkpoint], Checkpoint] | None = None
    keep_moments: bool = False


def run_stages(
    model: PreTrainedModel,
    stages: Sequence[Stage],
    *,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    threads: int | None = None,
    precision: str = "float32",
    progress: Progress = silent,
    on_step: Callable[[Point], None] | None = None,
    on_stage: Callable[[Stage, PreTrainedModel, History], None] | None = None,
    **options: Any,
) -> tuple[PreTrainedModel, list[History]]:
    """Train one stage after the other; returns the model and what happened in each stage.

    The model is trained in place up to the first surgery, which makes a new one. `checkpoint` gets
    one folder a stage, and `stages.json`. `options` are further ones of `fit`, for all stages.
    `on_stage` is called after each stage. Raises UsageError before anything is trained for stages
    that cannot work, as far as no surgery lies before them.
    """
    _check(model, stages)
    histories: list[History] = []
    moments: Moments = {}
    for number, stage in enumerate(stages, start=1):
        if stage.surgery is not None:
            from tilth.models.checkpoint import Checkpoint

            model = stage.surgery(Checkpoint.of(model)).model()
        if not stage.keep_moments:
            moments.clear()
        rate = stage.learning_rate
        if rate is None:
            rate = histories[-1].points[-1].learning_rate
        folder = None if checkpoint is None else Path(checkpoint) / f"{number:02d}-{stage.name}"
        history = fit(
            model, stage.objective, stage.data, tokens=stage.tokens,
            batch_tokens=stage.batch_tokens, schedule=stage.schedule, learning_rate=rate,
            minimum=stage.minimum, warmup=stage.warmup, weight_decay=stage.weight_decay,
            clip=stage.clip, policy=stage.policy, guard=stage.guard, seed=seed, threads=threads,
            precision=precision, checkpoint=folder, moments=moments, on_step=on_step,
            progress=lambda _, done, total, name=stage.name: progress(name, done, total),
            **options,
        )  # fmt: skip
        histories.append(history)
        if checkpoint is not None:
            write_json(Path(checkpoint) / "stages.json", _lineage(stages, histories))
        if on_stage is not None:
            on_stage(stage, model, history)
    return model, histories


def _check(model: PreTrainedModel, stages: Sequence[Stage]) -> None:
    names = [stage.name for stage in stages]
    for name in names:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise UsageError(f"{name!r} is no name for a stage", hint="small letters, digits, -")
    if not names or len(set(names)) < len(names):
        raise UsageError("stages need names of their own" if names else "there is no stage")
    if stages[0].learning_rate is None or stages[0].keep_moments:
        raise UsageError(f"no stage lies before {names[0]!r} to go on from", where="stages")
    for stage in stages:
        if stage.surgery is not None:
            break
        plan(
            model, stage.objective, stage.data, tokens=stage.tokens,
            batch_tokens=stage.batch_tokens,
        )  # fmt: skip


def _lineage(stages: Sequence[Stage], histories: Sequence[History]) -> list[dict[str, Any]]:
    return [
        {
            "name": stage.name,
            "objective": [stage.objective.name, stage.objective.parameters()],
            "surgery": stage.surgery is not None,
            "moments": "kept" if stage.keep_moments else "new",
            "plan": history.plan,
            "loss": history.loss,
            "last_rate": history.points[-1].learning_rate,
        }
        for stage, history in zip(stages, histories)
    ]
