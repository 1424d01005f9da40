"""All layers over the last tokens of sequences, each layer one call of a compiled loop.

    layers = compiled_layers(weights)             # None where this decoder is not of that kind
    x = layers(x, cache, row)                     # x (rows, width), changed in place

For decoders with norms before both blocks and a gated inner layer (Llama, Mistral, Qwen2, Qwen3) in
float32 on a processor, where all rows are the last tokens of sequences. Small models gain the most:
calling their operations one by one takes longer than the operations. The results are equal up to
rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tilth.serving.products import few

if TYPE_CHECKING:
    import torch

    from tilth.serving.cache import KVCache
    from tilth.serving.row import Row
    from tilth.serving.weights import Layer, Weights

Layers = Callable[["torch.Tensor", "KVCache", "Row"], "torch.Tensor"]


def suits(row: Row) -> bool:
    """Whether a row is only last tokens, and few enough of them."""
    return row.last is not None and not row.parts and few(len(row.ids))


def compiled_layers(weights: Weights) -> Layers | None:
    """The layers of these weights, whose matrices have their arrays; None for another kind."""
    plain = weights.gated and not weights.centred and weights.activation == "silu"
    if not plain or weights.rotary is None or not all(map(_plain, weights.layers)):
        return None
    shape, given = weights.shape, [_arrays(layer) for layer in weights.layers]

    def run(x: torch.Tensor, cache: KVCache, row: Row) -> torch.Tensor:
        from tilth.serving.kernels import layer

        assert row.last is not None
        x = x.contiguous()
        numbers, places = x.numpy(), row.slots.numpy()
        cos, sin = (one[:, 0].numpy() for one in row.angles)
        for of_layer, keys, values in zip(given, cache.keys, cache.values):
            layer(
                numbers, *of_layer, weights.epsilon, shape.heads, shape.key_heads, cos, sin,
                places, keys.numpy(), values.numpy(), *row.last, cache.block,
            )  # fmt: skip
        return x

    return run


def _plain(layer: Layer) -> bool:
    parts = (layer.qkv, layer.out, layer.up, layer.down)
    return (
        all(part.arrays is not None for part in parts)
        and all(part.bias is None for part in parts[1:])
        and layer.before_attention is not None and layer.before_inner is not None
        and layer.after_attention is None and layer.after_inner is None
    )  # fmt: skip


def _arrays(layer: Layer) -> tuple:
    """What `kernels.layer` takes of a layer, in its order."""
    empty = np.empty(0, np.float32)
    norms = [
        empty if norm is None else norm.weight.contiguous().numpy()
        for norm in (layer.before_attention, layer.query_norm, layer.key_norm, layer.before_inner)
    ]
    (qkv, bias), (out, _), (up, _), (down, _) = (
        part.arrays for part in (layer.qkv, layer.out, layer.up, layer.down) if part.arrays
    )
    return (norms[0], qkv, bias, norms[1], norms[2], out, norms[3], up, down, layer.scale,
            layer.window or 0)  # fmt: skip
