"""A row of tokens times a matrix, as fast as this machine can.

    pack(weights)                           # once, where it is possible
    y = product(x, layer.out)               # x W' + b
    y = product(x, layer.out, residual)     # residual + x W' + b

In float32 on a processor there are three ways, by what was fastest on the machine this was written
on (`benchmarks/products.py`). On one thread all rows go through compiled tiles (`kernels.product`),
on two up to 24 (`FEW`); whole layers of decodes are then one call (`compiled`). More rows and more
threads take the matrices as oneDNN lays them out. Both layouts are copies beside the plain matrix;
`PACKED_SHARE` of the machine's memory bounds both together, and the tiles' comes first. Elsewhere,
and above that, MKL has the plain matrix. The results are equal up to rounding.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tilth.serving.weights import Weights

# Copies may take this share of the machine's memory.
PACKED_SHARE = 0.25
# How many rows oneDNN's layout is chosen for; it serves others as well.
ROWS = 16
# Rows up to which the tiles were fastest, by torch's threads; they have one themselves.
FEW = {1: 1 << 30, 2: 24}


class Linear(NamedTuple):
    """y = x W' + b. `weight` (out, in), `bias` (out) or None. `arrays`: both as compiled loops take
    them, the weight in panels, an empty array for no bias; `packed`: the weight again, in a layout
    of oneDNN's own; None where that is not so."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    arrays: tuple[np.ndarray, np.ndarray] | None = None
    packed: torch.Tensor | None = None


def few(rows: int) -> bool:
    """Whether so many rows go through the tiles, where there are some."""
    import torch

    return rows <= FEW.get(torch.get_num_threads(), 0)


def pack(weights: Weights) -> None:
    """Give every matrix of the layers and of the head the copies that this many threads use, where
    that is possible and they are small enough."""
    import torch

    parts = ("qkv", "out", "up", "down")
    linears = [getattr(layer, part) for layer in weights.layers for part in parts]
    linears.append(weights.head)
    kind = linears[0].weight
    if kind.dtype != torch.float32 or kind.device.type != "cpu":
        return
    # An operator that torch keeps for its own compiler: another version may lack it.
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
    threads = torch.get_num_threads()
    ways = [tiled] * (threads in FEW) + [packed] * (threads > 1 and known)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    every = sum(linear.weight.nbytes for linear in linears)
    for way in ways[: int(PACKED_SHARE * memory / every)]:
        for layer in weights.layers:
            for part in parts:
                setattr(layer, part, way(getattr(layer, part)))
        weights.head = way(weights.head)


def tiled(linear: Linear) -> Linear:
    """The same with its arrays."""
    import numpy as np
    from torch.nn.functional import pad

    from tilth.serving.kernels import PANEL

    weight = linear.weight
    outputs, size = weight.shape
    parts = pad(weight, (0, 0, 0, -outputs % PANEL)).view(-1, PANEL, size).transpose(1, 2)
    # NumPy asks for large pages, which are faster to read.
    panels = np.empty(parts.shape, np.float32)
    panels[:] = parts.numpy()
    bias = np.empty(0, np.float32) if linear.bias is None else linear.bias.numpy()
    return linear._replace(arrays=(panels, bias))


def packed(linear: Linear) -> Linear:
    """The same with its copy for oneDNN."""
    import torch

    # A matrix may lie input first in memory; packing reads it output first.
    weight = linear.weight.contiguous()
    return linear._replace(packed=torch.ops.mkldnn._reorder_linear_weight(weight, ROWS))


def product(x: torch.Tensor, linear: Linear, residual: torch.Tensor | None = None) -> torch.Tensor:
    """x (rows, in) times the matrix, with its bias, and added to `residual` (rows, out)."""
    import torch

    weight, bias, arrays, copy = linear
    if arrays is not None and few(x.shape[0]):
        found = torch.zeros(len(x), len(weight)) if residual is None else residual.clone()
        if bias is not None:
            found += bias
        _tiles(x.contiguous().numpy(), arrays[0], found.numpy())
        return found
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


def _tiles(x: np.ndarray, panels: np.ndarray, found: np.ndarray) -> None:
    from tilth.serving import kernels

    kernels.product(x, panels, found)
