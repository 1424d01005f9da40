"""`fit`: the one training loop. A budget in tokens, AdamW (Loshchilov and Hutter, 2019).

A step takes the next rows of the order, adds up the objective's loss over micro-batches, divides by
the targets of the whole step, clips the gradient's norm and moves. Nothing is printed. The same
model, data, options and threads give the same weights, bit for bit. There are no checkpoints yet: a
killed training starts again and ends with the same weights. All that changes on the way lies in
`State`, the weights and the optimiser.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, LimitError, UsageError
from tilth.lookup import load
from tilth.models.decoder import count_parameters, flops_per_token
from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenSource
from tilth.training import SCHEDULES
from tilth.training.order import Cursor, RowOrder
from tilth.types import Progress, silent

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

BETAS = (0.9, 0.95)
EPSILON = 1e-8
MINIMUM_STEPS = 10
# Rows whose logits fit in the processor's cache: larger micro-batches are slower on CPUs.
MICRO_BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Point:
    """One step: tokens consumed up to its end, loss in nats per target, rate, gradient norm."""

    step: int
    tokens: int
    loss: float
    learning_rate: float
    gradient_norm: float


@dataclass
class State:
    """Where a training is: with the weights and the optimiser, all that a checkpoint must hold."""

    step: int = 0
    tokens: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    points: list[Point] = field(default_factory=list)


@dataclass
class History:
    """What happened: the plan, one point a step, and what the objective dropped."""

    plan: dict[str, Any]
    points: list[Point]
    dropped_tokens: int

    @property
    def loss(self) -> float:
        """Mean training loss over the last tenth of the steps, nats per target."""
        last = self.points[-max(1, len(self.points) // 10) :]
        return sum(point.loss for point in last) / len(last)

    def to_dict(self) -> dict[str, Any]:
        """A JSON value without times or host facts."""
        points = [asdict(point) for point in self.points]
        return {"plan": self.plan, "points": points, "dropped_tokens": self.dropped_tokens}


def plan(
    model: PreTrainedModel,
    objective: Objective,
    data: TokenSource,
    *,
    tokens: int,
    batch_tokens: int = 4096,
    micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    minimum_steps: int = MINIMUM_STEPS,
) -> dict[str, Any]:
    """What a training will do, before it does it: JSON values.

    A step takes whole rows, at most `batch_tokens`; the budget is whole steps, at most `tokens`.
    `memory_bytes` is an estimate: weights, gradients, both moments, activations of a micro-batch.
    Raises UsageError for a budget of fewer than `minimum_steps` steps and for rows that are longer
    than the model's context, DataError for token ids that the model does not have.
    """
    length, config = objective.length, model.config
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and length > context:
        raise UsageError(f"rows of {length:,} tokens, but the model's context is {context:,}")
    if data.vocabulary > config.vocab_size:
        raise DataError(
            f"the tokens come from a vocabulary of {data.vocabulary:,}, "
            f"the model has {config.vocab_size:,}"
        )
    if batch_tokens < length:
        raise UsageError(f"a batch of {batch_tokens:,} tokens holds no row of {length:,}")
    rows = batch_tokens // length
    steps = tokens // (rows * length)
    if steps < minimum_steps:
        raise UsageError(
            f"{tokens:,} tokens are {steps} steps of {rows * length:,} tokens, which teaches "
            f"nothing: at least {minimum_steps} steps are asked for",
            hint=f"tokens of {minimum_steps * rows * length:,} or more, or a smaller batch_tokens",
        )
    parameters = count_parameters(model)
    micro_rows = min(rows, max(1, micro_batch_tokens // length))
    # Per token and layer about 34 numbers of the width are kept for the way back; logits, their
    # softmax and its gradient are three times the vocabulary.
    kept = 34 * config.num_hidden_layers * config.hidden_size + 3 * config.vocab_size
    return {
        "parameters": parameters,
        "tokens": steps * rows * length,
        "steps": steps,
        "rows_per_step": rows,
        "micro_batch_rows": micro_rows,
        "row_tokens": length,
        "data_tokens": data.total_tokens,
        "epochs": round(steps * rows * length / max(1, data.total_tokens), 4),
        "flops": flops_per_token(model, length) * steps * rows * length,
        "memory_bytes": 16 * parameters + 4 * kept * micro_rows * length,
    }


def fit(
    model: PreTrainedModel,
    objective: Objective,
    data: TokenSource,
    *,
    tokens: int,
    batch_tokens: int = 4096,
    micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    schedule: str = "cosine",
    learning_rate: float = 3e-3,
    warmup: float = 0.05,
    weight_decay: float = 0.1,
    clip: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    minimum_steps: int = MINIMUM_STEPS,
    progress: Progress = silent,
    on_step: Callable[[Point], None] | None = None,
) -> History:
    """Train `model` in place on `tokens` tokens of `data`; see `plan` for what is refused.

    `warmup` is a share of the budget; `weight_decay` acts on matrices only; `clip` is the largest
    gradient norm; `threads` is set for torch while this runs (None leaves it). `on_step` is called
    after each step and may look at the model. Raises LimitError where the loss is no number.
    """
    import torch

    made = plan(
        model, objective, data, tokens=tokens, batch_tokens=batch_tokens,
        micro_batch_tokens=micro_batch_tokens, minimum_steps=minimum_steps,
    )  # fmt: skip
    factor = load("schedule", SCHEDULES, schedule)
    if not 0 <= warmup < 1 or learning_rate <= 0 or clip <= 0 or weight_decay < 0:
        raise UsageError("warmup must lie from 0 to 1, learning_rate and clip above 0")
    budget, rows, micro = made["tokens"], made["rows_per_step"], made["micro_batch_rows"]
    state = State()
    with _training(model, seed, threads):
        optimizer = torch.optim.AdamW(
            _parameter_groups(model, weight_decay),
            lr=learning_rate,
            betas=BETAS,
            eps=EPSILON,
            fused=True,
        )
        order = RowOrder(objective, data, seed, state.cursor)
        while state.step < made["steps"]:
            step_tokens = rows * objective.length
            # The rate of the middle of a step: neither the first nor the last step is lost.
            share = factor(state.tokens + step_tokens / 2, budget, warmup * budget)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * share
            batch = order.take(rows)
            loss, norm = _step(model, objective, batch, micro, clip, optimizer, state)
            state.step += 1
            state.tokens += step_tokens
            state.cursor = order.cursor
            point = Point(state.step, state.tokens, loss, learning_rate * share, norm)
            state.points.append(point)
            progress("train", state.tokens, budget)
            if on_step is not None:
                on_step(point)
    return History(made, state.points, order.dropped)


def _step(
    model: PreTrainedModel,
    objective: Objective,
    batch: Any,
    micro: int,
    clip: float,
    optimizer: torch.optim.Optimizer,
    state: State,
) -> tuple[float, float]:
    """One move; returns the loss in nats per target and the gradient norm before clipping."""
    import torch

    model.train()
    total, targets = 0.0, 0
    for start in range(0, len(batch), micro):
        part = objective.loss(model, batch.take(slice(start, start + micro)))
        part.total.backward()
        total += part.total.item()
        targets += part.n_targets
    if targets == 0:
        raise DataError(f"step {state.step + 1} has no target to learn from")
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
    gradients = [gradient for gradient in gradients if gradient is not None]
    norm = torch.nn.utils.get_total_norm(gradients).item() / targets
    if not math.isfinite(total) or not math.isfinite(norm):
        raise LimitError(
            f"the loss or its gradient is no number at step {state.step + 1}, after "
            f"{state.tokens:,} tokens",
            hint="a lower learning_rate or a longer warmup; look at the documents near by",
        )
    scale = min(1.0, clip / norm) / targets if norm > 0 else 1.0
    for gradient in gradients:
        gradient.mul_(scale)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total / targets, norm


def _parameter_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; vectors (norms, biases) do not."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise UsageError("no parameter of the model is trainable")
    matrices = [p for p in trainable if p.dim() >= 2]
    vectors = [p for p in trainable if p.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


@contextlib.contextmanager
def _training(model: PreTrainedModel, seed: int, threads: int | None) -> Iterator[None]:
    """Training mode, threads and random state for a while; what was there comes back."""
    import torch

    was_training, had_threads = model.training, torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(had_threads)
        model.train(was_training)
        model.zero_grad(set_to_none=True)
