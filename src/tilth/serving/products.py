"""A row of tokens times a matrix, as fast as this machine can.

    pack(weights)                           # once, where it is possible
    y = product(x, layer.out)               # x W' + b
    y = product(x, layer.out, residual)     # residual + x W' + b

In float32 on a processor there are three ways, by what was fastest here. Few rows go through a
compiled loop (`kernels.product`), on one thread: 0.54 to 0.59 of MKL's time for one row, 0.82 of
oneDNN's for eight, as long as it for 16, where whole layers are one call (`compiled`). More rows
take the matrices as oneDNN lays them out: 0.65 to 0.85 of MKL's time up to 32 rows; reading whole
prompts is as fast as with MKL. That layout is a copy beside the plain matrix: twice the memory,
which `PACKED_SHARE` of the machine's bounds. Elsewhere, and above it, MKL has the plain matrix. The
results are equal up to rounding.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tilth.serving.weights import Weights

# Packed copies may take this share of the machine's memory.
PACKED_SHARE = 0.125
# How many rows the layout is chosen for; it serves others as well.
ROWS = 16
# Rows up to which the loop was fastest, by torch's threads; it has one itself.
FEW = {1: 16, 2: 8}


class Linear(NamedTuple):
    """y = x W' + b. `weight` (out, in), `bias` (out) or None. `arrays`: both as compiled loops take
    them, an empty one for no bias; `packed`: the weight again, in a layout of oneDNN's own; None
    where that is not so."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    arrays: tuple[np.ndarray, np.ndarray] | None = None
    packed: torch.Tensor | None = None


def few(rows: int) -> bool:
    """Whether so many rows go through the loop, where there is one."""
    import torch

    return rows <= FEW.get(torch.get_num_threads(), 0)


def pack(weights: Weights) -> None:
    """Give every matrix of the layers and of the head its arrays where that is possible, and its
    packed copy where they are small enough as well."""
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
    small = sum(linear.weight.nbytes for linear in linears) <= PACKED_SHARE * memory
    made = packed if known and small else looped
    for layer in weights.layers:
        for part in parts:
            setattr(layer, part, made(getattr(layer, part)))
    weights.head = made(weights.head)


def looped(linear: Linear) -> Linear:
    """The same with its arrays."""
    import numpy as np

    # A matrix may lie input first in memory; the loop and packing read it output first.
    weight = linear.weight.contiguous()
    bias = np.empty(0, np.float32) if linear.bias is None else linear.bias.numpy()
    return linear._replace(weight=weight, arrays=(weight.numpy(), bias))


def packed(linear: Linear) -> Linear:
    """The same with its arrays and its packed copy."""
    import torch

    linear = looped(linear)
    return linear._replace(packed=torch.ops.mkldnn._reorder_linear_weight(linear.weight, ROWS))


def product(x: torch.Tensor, linear: Linear, residual: torch.Tensor | None = None) -> torch.Tensor:
    """x (rows, in) times the matrix, with its bias, and added to `residual` (rows, out)."""
    import torch

    weight, bias, arrays, copy = linear
    if arrays is not None and few(x.shape[0]):
        return _loop(x.contiguous(), arrays, residual)
    if copy is not None and x.shape[0] > 1:
        x = x.contiguous()
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, copy, bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, copy, bias, "add")
    if residual is None:
        return torch.nn.functional.linear(x, weight, bias)
    if bias is None:
        return torch.addmm(residual, x, weight.t())
    return residual + torch.nn.functional.linear(x, weight, bias)


def _loop(
    x: torch.Tensor, arrays: tuple[np.ndarray, np.ndarray], residual: torch.Tensor | None
) -> torch.Tensor:
    import numpy as np
    import torch

    from tilth.serving.kernels import product as loop

    found = torch.empty(x.shape[0], len(arrays[0]))
    more = np.empty((0, 0), np.float32) if residual is None else residual.contiguous().numpy()
    loop(x.numpy(), *arrays, more, found.numpy())
    return found
