"""Floating-point operations of a training, module by module, from the shapes alone.

Each entry of a matrix is used once for a token: 2 operations forward, 2 to hand the gradient back
and 2 for its own gradient, the last only where it trains (Kaplan et al., 2020, count the same 6).
An embedding is a look-up and costs nothing; an output head costs its whole matrix, tied or not.
Attention over rows of n tokens costs 4 n d a layer forward, half of that where it is causal; where
there is a window, of the model or of the objective, 4 d for each key that a position can see. Twice
as much again backward. Entries that a mask keeps at 0 are not counted: that is what a sparse kernel
would do, not what dense hardware does. Left out: norms, activations, softmax, the optimiser. A
model in which modules run more or less often than once for each token of the text says so by
`runs_a_token(objective)`, see `models.retro_modules`. Not covered: heads that look at one position
only (they are counted at each).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tilth.objectives.batch import Objective
from tilth.training.policy import modules_of

if TYPE_CHECKING:
    import torch

CAUSAL = ("ForCausalLM", "LMHeadModel")


def flops_by_module(
    model: torch.nn.Module,
    length: int,
    *,
    training: bool = True,
    live: Mapping[str, float] | None = None,
    window: int | None = None,
    runs: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Operations for one token in rows of `length`, for each module that has a matrix.

    `live`: parameter name -> share of its entries that are not masked. `window`: neighbours that a
    position sees on each side, as in `packed.forward`. `runs`: module name -> how often it and what
    lies in it run for a token, 1 where nothing is said; the longest name counts. `attention` stands
    for the products of queries, keys and values of all layers.
    """
    from torch import nn

    found: dict[str, float] = {}
    for name, module in model.named_modules(remove_duplicate=True):
        if isinstance(module, nn.Embedding):
            continue
        for own, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2:
                continue
            full = f"{name}.{own}" if name else own
            each = 2 if not training else 6 if parameter.requires_grad else 4
            share = (live or {}).get(full, 1.0) * _runs(name, runs or {})
            found[name] = found.get(name, 0.0) + each * parameter.numel() * share
    attention = _attention(model, length, window) * (3 if training else 1)
    return {**found, "attention": attention} if attention else found


def _runs(name: str, runs: Mapping[str, float]) -> float:
    """How often a module runs for a token: as the nearest module around it that is named."""
    while name and name not in runs:
        name = name.rpartition(".")[0]
    return runs.get(name, 1.0)


def _attention(model: torch.nn.Module, length: int, window: int | None) -> float:
    config: Any = getattr(model, "config", None)
    heads = getattr(config, "num_attention_heads", None)
    if not heads:
        return 0.0
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    causal = type(model).__name__.endswith(CAUSAL)
    # Keys that a position sees on average: itself, and what lies before it or on both sides.
    seen = 0.5 * length if causal else float(length)
    if window is not None:
        seen = min(seen, window + 1.0 if causal else 2.0 * window + 1.0)
    layers = config.num_hidden_layers
    size = getattr(config, "sliding_window", None)
    if not size:
        return 4.0 * layers * heads * head * seen
    # Theirs counts the position itself; where all look both ways, it is one side's.
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * layers
    local = kinds.count("sliding_attention")
    near = min(seen, size if causal else 2.0 * size + 1.0)
    return 4.0 * heads * head * (local * near + (layers - local) * seen)


def flops_per_token(
    model: torch.nn.Module,
    length: int,
    *,
    objective: Objective | None = None,
    training: bool = True,
    live: Mapping[str, float] | None = None,
) -> int:
    """All of it: the model and the objective's own modules."""
    total = 0.0
    for prefix, module in modules_of(model, objective).items():
        inner = {
            name.removeprefix(prefix): share
            for name, share in (live or {}).items()
            if name.startswith(prefix)
        }
        window = getattr(objective, "window", None)
        says = getattr(module, "runs_a_token", None)
        runs, attention = says(objective) if says else ({}, 0.0)
        found = flops_by_module(
            module, length, training=training, live=inner, window=window, runs=runs
        )
        total += sum(found.values()) + attention * (3 if training else 1)
    return round(total)
