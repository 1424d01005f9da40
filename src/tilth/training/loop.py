"""`fit`: the one training loop. A budget in tokens, AdamW (Loshchilov and Hutter, 2019).

A step takes the next rows of the order, adds up the objective's loss over micro-batches, divides by
the targets of the whole step, clips the gradient's norm and moves. Nothing is printed. The same
model, data, options, threads and processes give the same weights, bit for bit. All that changes on
the way lies in `State`, the weights, the moments and torch's generator; with a checkpoint folder it
is kept there, and a training that was killed goes on by itself and ends as if it had not been.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tilth.errors import DataError, LimitError, UsageError
from tilth.lookup import load
from tilth.objectives.batch import Batch, Objective
from tilth.store.lock import lock
from tilth.tokens.documents import TokenSource
from tilth.training import SCHEDULES
from tilth.training import checkpoint as kept
from tilth.training import precision as numbers
from tilth.training.distributed import Alone
from tilth.training.guard import StepGuard
from tilth.training.history import History, Point, State
from tilth.training.order import RowOrder
from tilth.training.plan import MICRO_BATCH_TOKENS, MINIMUM_STEPS, plan
from tilth.training.policy import (
    Policy,
    Trained,
    applied,
    groups,
    hold_masks,
    modules_of,
)
from tilth.training.resume import (
    data_digest,
    fingerprint,
    generators,
    resume,
    shapes,
    teacher_digest,
)
from tilth.training.schedules import Schedule, with_minimum
from tilth.types import Progress, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["History", "Point", "State", "fit", "plan"]

BETAS = (0.9, 0.95)
EPSILON = 1e-8
CHECKPOINT_EVERY = 200


def fit(
    model: PreTrainedModel,
    objective: Objective,
    data: TokenSource,
    *,
    tokens: int,
    batch_tokens: int = 4096,
    micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    schedule: str | Schedule = "cosine",
    learning_rate: float = 3e-3,
    minimum: float = 0.0,
    warmup: float = 0.05,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    minimum_steps: int = MINIMUM_STEPS,
    policy: Policy | None = None,
    guard: StepGuard | None = None,
    precision: str = "float32",
    checkpoint: str | Path | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    checkpoint_keep: int = 1,
    moments: kept.Moments | None = None,
    workers: Alone | None = None,
    progress: Progress = silent,
    on_step: Callable[[Point], None] | None = None,
) -> History:
    """Train `model` in place on `tokens` tokens of `data`; see `plan` for what is refused.

    `schedule` is a name or a function of tokens, see `schedules`; it ends at the share `minimum` of
    `learning_rate`. `warmup` is a share of the budget; `weight_decay` acts on matrices only, unless
    the `policy` says otherwise; `clip` is the largest gradient norm; `threads` is set for torch
    while this runs (None leaves it). An objective's own modules are trained along.

    `checkpoint` names a folder: every `checkpoint_every` steps and at the end the training is kept
    there (the last `checkpoint_keep` of them), and what is there already is gone on from.
    `moments`: those of the optimiser to begin with (empty: none); it is filled at the end.
    `guard` leaves out steps that are outliers. `workers`: see `distributed`. `on_step` is called
    after each step that is taken now, and may look at the model. Raises LimitError where the loss
    is no number, UsageError where a checkpoint is of another training.
    """
    import torch

    numbers.check(precision)
    workers = workers or Alone()
    factor = load("schedule", SCHEDULES, schedule) if isinstance(schedule, str) else schedule
    if not 0 <= warmup < 1 or learning_rate <= 0 or clip <= 0 or weight_decay < 0:
        raise UsageError("warmup must lie from 0 to 1, learning_rate and clip above 0")
    if not 0 <= minimum <= 1 or checkpoint_every < 1:
        raise UsageError("minimum must lie from 0 to 1, checkpoint_every must be at least 1")
    factor = with_minimum(factor, minimum)
    workers.split(model, objective)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_training(model, objective, seed + workers.rank, threads))
        trained = stack.enter_context(applied(policy, model, objective, weight_decay))
        made = plan(
            model, objective, data, tokens=tokens, batch_tokens=batch_tokens,
            micro_batch_tokens=micro_batch_tokens, minimum_steps=minimum_steps, trained=trained,
        )  # fmt: skip
        budget, rows, micro = made["tokens"], made["rows_per_step"], made["micro_batch_rows"]
        optimizer = torch.optim.AdamW(
            groups(trained), lr=learning_rate, betas=BETAS, eps=EPSILON, fused=True
        )
        kept.set_moments(optimizer, trained, moments or {})
        kept.mask_moments(optimizer, trained)
        modules, state, settings = modules_of(model, objective), State(), {}
        if checkpoint is not None:
            if workers.rank == 0:
                stack.enter_context(lock(checkpoint))
            settings = {
                "tokens": budget, "rows_per_step": rows, "micro_batch_rows": micro,
                "schedule": fingerprint(schedule, factor), "learning_rate": learning_rate,
                "minimum": minimum, "warmup": warmup, "weight_decay": weight_decay, "clip": clip,
                "seed": seed, "policy": policy.to_value() if policy else None,
                "guard": guard.to_value() if guard else None, "precision": precision,
                "processes": workers.count, "model": shapes(model, objective),
                "objective": [objective.name, objective.version, objective.parameters()],
                "data": data_digest(data), "teacher": teacher_digest(objective),
            }  # fmt: skip
            found = kept.latest(checkpoint)
            if found is not None:
                state, precision = resume(found, settings, modules, optimizer, trained, workers)
        order = RowOrder(objective, data, seed, state.cursor)
        order.dropped, order.counted = state.dropped, state.counted
        if precision == "auto":
            sample = RowOrder(objective, data, seed).take(micro)
            precision = workers.agree(numbers.faster(model, objective, sample))
        made["precision"] = precision
        while state.step < made["steps"]:
            step_tokens = rows * objective.length
            # The rate of the middle of a step: neither the first nor the last step is lost.
            share = factor(state.tokens + step_tokens / 2, budget, warmup * budget)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * share * group["rate"]
            batch = workers.share(order.take(rows))
            loss, norm, targets = _gradients(
                model, objective, batch, micro, precision, trained, workers, state
            )
            reason = _left_out(guard, state, loss, norm)
            if not reason:
                _move(optimizer, trained, min(1.0, clip / norm) / targets if norm > 0 else 1.0)
            optimizer.zero_grad(set_to_none=True)
            state.step += 1
            state.tokens += step_tokens
            state.cursor, state.dropped, state.counted = order.cursor, order.dropped, order.counted
            if reason:
                state.skipped.append([state.step, reason])
            progress("train", state.tokens, budget)
            if math.isfinite(loss) and math.isfinite(norm):
                point = Point(state.step, state.tokens, loss, learning_rate * share, norm)
                state.points.append(point)
                if on_step is not None:
                    on_step(point)
            if checkpoint is not None and (
                state.step % checkpoint_every == 0 or state.step == made["steps"]
            ):
                kept.save(
                    checkpoint, settings={**settings, "resolved": precision}, state=state,
                    modules=modules, optimizer=optimizer, trained=trained, keep=checkpoint_keep,
                    generators=workers.gather(generators(model)), writes=workers.rank == 0,
                )  # fmt: skip
                workers.wait()
        if moments is not None:
            moments.clear()
            moments.update(kept.moments_of(optimizer, trained))
    return History(made, state.points, order.dropped, state.skipped)


def _gradients(
    model: PreTrainedModel,
    objective: Objective,
    batch: Batch,
    micro: int,
    precision: str,
    trained: list[Trained],
    workers: Alone,
    state: State,
) -> tuple[float, float, int]:
    """Loss in nats per target, norm of the gradient per target, and the targets of one step.

    Gradients are left as sums over targets. A micro-batch may have no target, a step may not.
    """
    import torch

    for module in modules_of(model, objective).values():
        module.train()
    total, targets = 0.0, 0
    for start in range(0, len(batch), micro):
        with numbers.autocast(precision, model):
            part = objective.loss(model, batch.take(slice(start, start + micro)))
        if part.total.requires_grad:
            part.total.backward()
        total += part.total.item()
        targets += part.n_targets
    total, targets = workers.add(total, targets)
    if targets == 0:
        raise DataError(f"step {state.step + 1} has no target to learn from")
    workers.add_gradients(trained)
    hold_masks(trained, gradients=True)
    # Matrices first, as in the optimiser: a sum of floats depends on its order.
    ordered = sorted(trained, key=lambda one: one.parameter.dim() < 2)
    gradients = [one.parameter.grad for one in ordered if one.parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return total / targets, kept.whole(norm).item() / targets, targets


def _left_out(guard: StepGuard | None, state: State, loss: float, norm: float) -> str:
    """Why the guard leaves this step out; empty where it does not. Raises LimitError."""
    finite = math.isfinite(loss) and math.isfinite(norm)
    if guard is not None:
        last = state.points[-guard.window :]
        reason = guard.reason(
            [point.loss for point in last], [point.gradient_norm for point in last], loss, norm
        )
        # This step is the last of `patience` in a row where those right before it were none too.
        before = [
            [step, "no number"] for step in range(state.step + 2 - guard.patience, state.step + 1)
        ]
        if finite or state.skipped[len(state.skipped) - len(before) :] != before:
            return reason
    elif finite:
        return ""
    raise LimitError(
        f"the loss or its gradient is no number at step {state.step + 1}, after "
        f"{state.tokens:,} tokens",
        hint="a lower learning_rate or a longer warmup; look at the documents near by",
    )


def _move(optimizer: torch.optim.Optimizer, trained: list[Trained], scale: float) -> None:
    for one in trained:
        if one.parameter.grad is not None:
            one.parameter.grad.mul_(scale)
    optimizer.step()


@contextlib.contextmanager
def _training(
    model: PreTrainedModel, objective: Objective, seed: int, threads: int | None
) -> Iterator[None]:
    """Training mode, threads and random state for a while; what was there comes back."""
    import torch

    modules = list(modules_of(model, objective).values())
    were_training, had_threads = [m.training for m in modules], torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(had_threads)
        for module, was_training in zip(modules, were_training):
            module.train(was_training)
            module.zero_grad(set_to_none=True)
