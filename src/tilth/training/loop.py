"""`fit`: the one training loop. Its budget is in consumed tokens, never in seconds or epochs.

The loss is divided by the number of targets of the whole accumulated batch. The order of rows is a
permutation for each epoch, a pure function of (seed, epoch); so the same seed, data and number of
threads give the same weights, bit for bit. A killed training starts again at its first step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, LimitError
from tilth.training.schedules import factor
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tilth.tokens.blocks import TokenBlocks

MINIMUM_STEPS = 10


@dataclass
class History:
    """What happened: one point a step {tokens, loss (nats a token), learning_rate}."""

    points: list[dict[str, float]] = field(default_factory=list)
    tokens: int = 0
    left_out: int = 0

    def thinned(self, count: int = 200) -> list[dict[str, float]]:
        """At most about `count` points, the last one among them."""
        stride = max(1, len(self.points) // count)
        kept = self.points[::stride]
        return kept if not self.points or kept[-1] is self.points[-1] else [*kept, self.points[-1]]


def row_order(rows: int, seed: int) -> Iterator[int]:
    """Row numbers without end: a new permutation for each epoch."""
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(rows).tolist()
        epoch += 1


def plan(model: Any, rows: int, length: int, tokens: int, batch_tokens: int) -> dict[str, Any]:
    """What a training will be: steps, epochs, FLOPs, memory. Refuses one that is too short."""
    from tilth.models.decoder import count_parameters, flops_per_token

    batch_rows = max(1, batch_tokens // length)
    steps = tokens // (batch_rows * length)
    if steps < MINIMUM_STEPS:
        raise DataError(
            f"{tokens:,} tokens make {steps} steps of {batch_rows * length:,} tokens; a training "
            f"needs at least {MINIMUM_STEPS} to change anything",
            hint="more documents, a larger train.tokens or a smaller train.batch_tokens",
        )
    parameters = count_parameters(model)
    return {
        "parameters": parameters,
        "steps": steps,
        "batch_rows": batch_rows,
        "tokens": steps * batch_rows * length,
        "epochs": steps * batch_rows / rows,
        "flops": flops_per_token(model, length) * steps * batch_rows * length,
        # Weights, gradients and two moments of AdamW, all in 32 bits.
        "memory_bytes": 16 * parameters,
    }


def fit(
    model: Any,
    objective: Any,
    data: TokenBlocks,
    *,
    tokens: int,
    batch_tokens: int = 4096,
    micro_rows: int = 16,
    learning_rate: float = 3e-3,
    schedule: str = "cosine",
    warmup: float = 0.05,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    clip: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
    on_step: Callable[[int, int], None] | None = None,
) -> History:
    """Train `model` in place on `tokens` tokens of `data`.

    objective: gives rows, batches and losses (see `objectives.causal`). micro_rows: rows in one
    forward pass; it changes memory and rounding, not the method. clip: bound of the gradient's
    norm. on_step(step, steps) is called after each step. Raises DataError for too few steps and
    LimitError where the loss is no longer a number; the model is then not to be used.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    rows = objective.rows(data)
    planned = plan(model, len(rows.tokens), objective.length, tokens, batch_tokens)
    optimiser = torch.optim.AdamW(
        parameter_groups(model, weight_decay), lr=learning_rate, betas=betas, fused=True
    )
    order = row_order(len(rows.tokens), seed)
    history = History(left_out=rows.left_out)
    steps, batch_rows = planned["steps"], planned["batch_rows"]
    model.train()
    for step in range(1, steps + 1):
        rate = learning_rate * factor(schedule, history.tokens, planned["tokens"], warmup)
        for group in optimiser.param_groups:
            group["lr"] = rate
        chosen = [next(order) for _ in range(batch_rows)]
        loss = _step(model, objective, rows.tokens, chosen, micro_rows)
        if not math.isfinite(loss):
            raise LimitError(
                f"the loss is {loss} at step {step}", hint="a smaller train.learning_rate"
            )
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        history.tokens += batch_rows * objective.length
        history.points.append({"tokens": history.tokens, "loss": loss, "learning_rate": rate})
        progress("train", step, steps)
        if on_step is not None:
            on_step(step, steps)
    model.eval()
    return history


def _step(
    model: Any, objective: Any, rows: np.ndarray, chosen: list[int], micro_rows: int
) -> float:
    """Gradients of one batch; the mean loss in nats a target."""
    batches = [
        objective.prepare(rows[chosen[start : start + micro_rows]])
        for start in range(0, len(chosen), micro_rows)
    ]
    targets = sum(batch.targets for batch in batches)
    whole = 0.0
    for batch in batches:
        total, _, _ = objective.loss(model, batch)
        (total / targets).backward()
        whole += float(total.detach())
    return whole / targets


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; vectors (norms, biases) do not."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
