"""A row of tokens times a matrix, as fast as this machine can.

    pack(weights)                           # once, where it is possible
    y = product(x, layer.out)               # x W' + b
    y = product(x, layer.out, residual)     # residual + x W' + b

In float32 on a processor the matrices are also kept as oneDNN lays them out. Its products took 0.65
to 0.85 of MKL's time for 2 to 32 rows, which is what decoding in batches has; reading whole prompts
is as fast as before. One row is faster from the plain matrix, so that one stays: twice the memory,
which `PACKED_SHARE` of the machine's bounds. Elsewhere, and above it, the plain matrix serves all
rows. The results are equal up to rounding.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

    from tilth.serving.weights import Weights

# Packed copies may take this share of the machine's memory.
PACKED_SHARE = 0.125
# How many rows the layout is chosen for; it serves others as well.
ROWS = 16


class Linear(NamedTuple):
    """y = x W' + b. `weight` (out, in), `bias` (out) or None; `packed`: the weight again, in a
    layout of oneDNN's own, or None."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    packed: torch.Tensor | None = None


def pack(weights: Weights) -> None:
    """Give every matrix of the layers and of the head its packed copy, where that is possible and
    they are small enough; else leave all as they are."""
    import torch

    parts = ("qkv", "out", "up", "down")
    linears = [getattr(layer, part) for layer in weights.layers for part in parts]
    linears.append(weights.head)
    kind = linears[0].weight
    if kind.dtype != torch.float32 or kind.device.type != "cpu":
        return
    # An operator that torch keeps for its own compiler: another version may lack it.
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if not known or sum(linear.weight.nbytes for linear in linears) > PACKED_SHARE * memory:
        return
    for layer in weights.layers:
        for part in parts:
            setattr(layer, part, packed(getattr(layer, part)))
    weights.head = packed(weights.head)


def packed(linear: Linear) -> Linear:
    """The same with its packed copy."""
    import torch

    # A matrix may lie input first in memory; packing reads it output first.
    made = torch.ops.mkldnn._reorder_linear_weight(linear.weight.contiguous(), ROWS)
    return linear._replace(packed=made)


def product(x: torch.Tensor, linear: Linear, residual: torch.Tensor | None = None) -> torch.Tensor:
    """x (rows, in) times the matrix, with its bias, and added to `residual` (rows, out)."""
    import torch

    weight, bias, copy = linear
    if copy is not None and len(x) > 1:
        x = x.contiguous()
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, copy, bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, copy, bias, "add")
    if residual is None:
        return torch.nn.functional.linear(x, weight, bias)
    if bias is None:
        return torch.addmm(residual, x, weight.t())
    return residual + torch.nn.functional.linear(x, weight, bias)
