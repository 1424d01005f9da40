"""What a training will do, and what it will take here, before it does it."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, UsageError
from tilth.models.packed import SHIFTED, packs
from tilth.objectives.batch import Objective
from tilth.tokens.documents import TokenSource
from tilth.training import precision as numbers
from tilth.training.flops import flops_per_token
from tilth.training.order import RowOrder
from tilth.training.policy import Policy, Trained, applied, names_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

MINIMUM_STEPS = 10
# Rows whose logits fit in the processor's cache: larger micro-batches are slower on CPUs.
MICRO_BATCH_TOKENS = 1024


def context_of(model: torch.nn.Module) -> int | None:
    """How many tokens a row may have; None where the model has no limit."""
    config = getattr(model, "config", None)
    context = getattr(config, "max_position_embeddings", None)
    if context is None or context < 0:
        return None
    if config.model_type in SHIFTED:
        # These count positions from the one after the id of padding.
        return context - config.pad_token_id - 1
    return context


def plan(
    model: PreTrainedModel,
    objective: Objective,
    data: TokenSource,
    *,
    tokens: int,
    batch_tokens: int = 4096,
    micro_batch_tokens: int = MICRO_BATCH_TOKENS,
    minimum_steps: int = MINIMUM_STEPS,
    trained: list[Trained] | None = None,
) -> dict[str, Any]:
    """What a training will do, before it does it: JSON values.

    A step takes whole rows, at most `batch_tokens`; the budget is whole steps, at most `tokens`.
    `memory_bytes` is an estimate: weights, gradients, both moments, activations of a micro-batch.
    `padded`: the type of a model that runs padded (`models.packed`), "" where rows are packed.
    `trained`: what trains under a policy, where there is one. Raises UsageError for a budget of
    fewer than `minimum_steps` steps and for rows that are longer than the model's context,
    DataError for token ids that the model does not have.
    """
    length, config = objective.length, getattr(model, "config", None)
    context, vocabulary = context_of(model), getattr(config, "vocab_size", None)
    # A row of a task may be several texts (choices, a set), each for itself in the context.
    longest = getattr(objective, "segment", length)
    if context is not None and longest > context:
        raise UsageError(f"rows of {longest:,} tokens, but the model's context is {context:,}")
    if vocabulary is not None and data.vocabulary > vocabulary:
        raise DataError(
            f"the tokens come from a vocabulary of {data.vocabulary:,}, "
            f"the model has {vocabulary:,}"
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
    everything = names_of(model, objective)
    parameters = sum(parameter.numel() for parameter in everything)
    if trained is None:
        trainable = sum(p.numel() for p in everything if p.requires_grad)
    else:
        trainable = sum(one.parameter.numel() for one in trained)
    live = {
        name: float(one.mask.float().mean())
        for one in trained or ()
        if one.mask is not None
        for name in one.names
    }
    micro_rows = min(rows, max(1, micro_batch_tokens // length))
    # Per token and layer about 34 numbers of the width are kept for the way back; logits, their
    # softmax and its gradient are three times the vocabulary.
    layers, width = (getattr(config, n, None) or 0 for n in ("num_hidden_layers", "hidden_size"))
    kept = 34 * layers * width + 3 * (vocabulary or 0)
    return {
        "parameters": parameters,
        "trainable_parameters": trainable,
        "tokens": steps * rows * length,
        "steps": steps,
        "rows_per_step": rows,
        "micro_batch_rows": micro_rows,
        "row_tokens": length,
        "data_tokens": data.total_tokens,
        "epochs": round(steps * rows * length / max(1, data.total_tokens), 4),
        "tokens_per_parameter": round(steps * rows * length / max(1, trainable), 4),
        "flops": flops_per_token(model, length, objective=objective, live=live)
        * (steps * rows * length),
        "memory_bytes": 4 * parameters + 12 * trainable + 4 * kept * micro_rows * length,
        "padded": _padded(model, objective),
    }


def estimate(
    model: PreTrainedModel,
    objective: Objective,
    data: TokenSource,
    *,
    policy: Policy | None = None,
    precision: str = "float32",
    repeats: int = 3,
    **budget: Any,
) -> dict[str, Any]:
    """`plan`, and how long it takes here: a few micro-batches are run forward and back, no more.

    Adds `precision` (resolved), `tokens_per_second` and `minutes`, the optimiser left out. The
    model, its gradients and torch's generator are afterwards as they were; masks of the policy are
    not applied.
    """
    numbers.check(precision)
    unmasked = policy and Policy([_without_mask(rule) for rule in policy.rules])
    with applied(unmasked, model, objective) as trained:
        made = plan(model, objective, data, trained=trained, **budget)
        batch = RowOrder(objective, data, 0).take(made["micro_batch_rows"])
        if precision == "auto":
            precision = numbers.faster(model, objective, batch)
        took = statistics.median(
            numbers.seconds(model, objective, batch, precision, 1) for _ in range(repeats)
        )
    speed = len(batch) * objective.length / took
    return {
        **made,
        "precision": precision,
        "tokens_per_second": round(speed, 1),
        "minutes": round(made["tokens"] / speed / 60, 2),
    }


def _padded(model: PreTrainedModel, objective: Objective) -> str:
    """The type of a model whose texts are not packed side by side; empty where they are."""
    kind = getattr(getattr(model, "config", None), "model_type", "")
    return kind if kind and getattr(objective, "apart", True) and not packs(model) else ""


def _without_mask(rule: Any) -> Any:
    from dataclasses import replace

    return replace(rule, mask=None)


def sentence(made: dict[str, Any]) -> str:
    """An estimate in one line, for people."""
    padded = ""
    if made.get("padded"):
        padded = (
            f"; a {made['padded']} is not packed: each text of a row runs for itself, padded, "
            "which gives the same for more time"
        )
    return (
        f"{made['parameters']:,} parameters ({made['trainable_parameters']:,} train), "
        f"{made['tokens']:,} tokens in {made['steps']:,} steps, "
        f"{made['tokens_per_parameter']:g} tokens a parameter, "
        f"about {made['minutes']:g} minutes here at {made['tokens_per_second']:,.0f} tokens/s in "
        f"{made['precision']}, {made['memory_bytes'] / 1e6:,.0f} MB{padded}"
    )
