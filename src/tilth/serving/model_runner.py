"""Runs a decoder over one flat row of tokens that belong to several sequences.

    runner = ModelRunner(load_model(FOLDER))
    cache = runner.cache(blocks=256)
    chain = cache.chain()
    logits = runner.forward(cache, [Segment(chain, prompt)])      # (1, vocabulary)

All that is done token by token (norms, the four products of a layer, the head) is done once over
the whole row; attention is done for each sequence against its own cache (`attention`). So a row may
mix whole prompts, chunks of prompts and single tokens of sequences that go on, which is what the
policies of the scheduler make use of (Orca: Yu et al., 2022; Sarathi: Agrawal et al., 2023).

Llama, Mistral, Qwen2, Qwen3, OLMo2 and GPT-2 (`weights.NAMES`); logits are those of `transformers`
up to rounding. Other architectures: `fallback`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilth.serving.attention import attend
from tilth.serving.cache import BLOCK, KVCache
from tilth.serving.compiled import Layers, compiled_layers, suits
from tilth.serving.products import Linear, pack, product
from tilth.serving.rotary import turned
from tilth.serving.row import Row, Segment, lay_out
from tilth.serving.weights import Layer, Norm, take_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class ModelRunner:
    """The weights of a model, and how they are run. The model itself is not kept.

    Raises DataError for an architecture that it does not know, with the reason.
    """

    def __init__(
        self, model: PreTrainedModel, dtype: torch.dtype | None = None, device: str | None = None
    ) -> None:
        self.weights = take_weights(model, dtype, device)
        pack(self.weights)
        self.shape = self.weights.shape
        self.dtype, self.device = self.weights.embed.dtype, self.weights.embed.device
        self._activation = _activations()[self.weights.activation]
        self._kernels: Any = None
        self._compiled: Layers | None = None
        if self.dtype.itemsize == 4 and self.device.type == "cpu":
            from tilth.serving import kernels

            self._kernels, self._compiled = kernels, compiled_layers(self.weights)

    def cache(self, blocks: int, block: int = BLOCK, **options: Any) -> KVCache:
        """An empty cache that fits this model. `options` as for `KVCache`."""
        options = {"rotary": self.weights.rotary, **options}
        return KVCache(
            self.shape, blocks=blocks, block=block, dtype=self.dtype, device=self.device, **options
        )

    def bytes_per_token(self) -> int:
        """What the rows of one token take in a cache."""
        shape = self.shape
        return 2 * shape.layers * shape.key_heads * shape.head * self.dtype.itemsize

    def forward(
        self,
        cache: KVCache,
        segments: Sequence[Segment],
        *,
        embeds: torch.Tensor | None = None,
        states: bool = False,
    ) -> torch.Tensor:
        """Logits of the wanted tokens, segment by segment, (wanted, vocabulary), float32.

        The segments' keys and values are in the cache afterwards. `embeds` (tokens, width): what
        goes in, in the order of the segments, in place of the tokens' embeddings. `states`: the
        last hidden states (wanted, width) instead. Raises LimitError where the cache has no room;
        nothing has then been run.
        """
        import torch

        with torch.inference_mode():
            row = self._laid_out(cache, segments)
            given = None if embeds is None else embeds.to(self.device, self.dtype)[row.origins]
            x = self._embedded(row, given)
            if self._compiled is not None and suits(row):
                x = self._compiled(x, cache, row)
            else:
                for number, layer in enumerate(self.weights.layers):
                    x = self._layer(number, layer, x, cache, row)
            for segment in segments:
                if segment.at is None:
                    cache.commit(segment.chain, segment.ids)
            x = x[row.wanted]
            return self._normed(x, self.weights.final).float() if states else self.logits(x)

    def part(
        self, cache: KVCache, segment: Segment, x: torch.Tensor | None, first: int, last: int
    ) -> torch.Tensor:
        """The layers [first, last) alone, over the tokens `at` of one segment: for methods that
        read some tokens in some layers. x (tokens, width), None for the embeddings; as wide back.
        """
        import torch

        assert segment.at is not None, "a part of the layers rewrites rows that are there"
        with torch.inference_mode():
            row = self._laid_out(cache, [segment])
            if x is None:
                x = self._embedded(row)
            for number in range(first, last):
                x = self._layer(number, self.weights.layers[number], x, cache, row)
            return x

    def values(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """What layer `number` would keep as values for x (tokens, width): (tokens, key heads,
        head)."""
        import torch

        layer, size = self.weights.layers[number], self.shape.key_heads * self.shape.head
        with torch.inference_mode():
            bias = None if layer.qkv.bias is None else layer.qkv.bias[-size:]
            linear = Linear(layer.qkv.weight[-size:], bias)
            made = product(self._normed(x, layer.before_attention), linear)
            return made.view(len(x), self.shape.key_heads, self.shape.head)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Those of states behind the last layer, (tokens, vocabulary), float32."""
        import torch

        with torch.inference_mode():
            return product(self._normed(x, self.weights.final), self.weights.head).float()

    def _laid_out(self, cache: KVCache, segments: Sequence[Segment]) -> Row:
        compiled = self._kernels is not None and cache.turned
        return lay_out(cache, segments, self.weights.rotary, self.dtype, compiled)

    def _embedded(self, row: Row, given: torch.Tensor | None = None) -> torch.Tensor:
        """What goes into the first layer; `given` in place of the tokens' embeddings."""
        import torch

        x = given
        if x is None:
            x = self.weights.embed[torch.tensor(row.ids, device=self.device)]
        return x if self.weights.positions is None else x + self.weights.positions[row.positions]

    def _layer(
        self, number: int, layer: Layer, x: torch.Tensor, cache: KVCache, row: Row
    ) -> torch.Tensor:
        """One block, in its family's order of norms; x (tokens, width)."""
        mixed = self._attention(number, layer, self._normed(x, layer.before_attention), cache, row)
        x = self._out(mixed, layer.out, layer.after_attention, x)
        inner = product(self._normed(x, layer.before_inner), layer.up)
        if self.weights.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = self._activation(gate).mul_(up)
        else:
            inner = self._activation(inner)
        return self._out(inner, layer.down, layer.after_inner, x)

    def _attention(
        self, number: int, layer: Layer, x: torch.Tensor, cache: KVCache, row: Row
    ) -> torch.Tensor:

        shape = self.shape
        heads, both = shape.heads, shape.heads + shape.key_heads
        mixed = product(x, layer.qkv).view(-1, both + shape.key_heads, shape.head)
        if layer.query_norm is not None:
            mixed[:, :heads] = self._head_norm(mixed[:, :heads], layer.query_norm)
            mixed[:, heads:both] = self._head_norm(mixed[:, heads:both], layer.key_norm)
        if row.last is not None:
            return self._compiled_attention(number, layer, mixed, cache, row)
        plain = mixed[:, :both]
        seen = plain if row.angles is None else turned(plain, *row.angles)
        key = (seen if cache.turned else plain)[:, heads:]
        cache.write(number, row.slots, key, mixed[:, both:])
        return attend(
            seen[:, :heads], cache, number, row.parts, layer.scale, layer.window, row.all_angles
        )

    def _compiled_attention(
        self, number: int, layer: Layer, mixed: torch.Tensor, cache: KVCache, row: Row
    ) -> torch.Tensor:
        """The same for mixed (tokens, heads + 2 key heads, head): single tokens by the compiled
        loops, chunks by torch."""
        import torch

        assert row.last is not None
        heads, both = self.shape.heads, self.shape.heads + self.shape.key_heads
        keys, values = cache.keys[number].numpy(), cache.values[number].numpy()
        if row.angles is None:
            cache.write(number, row.slots, mixed[:, heads:both], mixed[:, both:])
        else:
            cos, sin = (one[:, 0].numpy() for one in row.angles)
            self._kernels.turn_and_keep(
                mixed.numpy(), heads, self.shape.key_heads, cos, sin, row.slots.numpy(), keys,
                values,
            )  # fmt: skip
        single = len(row.last.lengths)
        found = torch.empty(single, heads * self.shape.head)
        if single:
            self._kernels.attend_last(
                mixed.numpy(), heads, keys, values, *row.last, cache.block, layer.scale,
                layer.window or 0, found.numpy(),
            )  # fmt: skip
        if not row.parts:
            return found
        rest = attend(
            mixed[:, :heads], cache, number, row.parts, layer.scale, layer.window, row.all_angles
        )
        return torch.cat((found, rest)) if single else rest

    def _out(
        self, x: torch.Tensor, linear: Linear, after: Norm | None, residual: torch.Tensor
    ) -> torch.Tensor:
        """The residual with what a block adds to it."""
        if after is None:
            return product(x, linear, residual)
        return residual + self._normed(product(x, linear), after)

    def _normed(self, x: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        import torch

        if norm is None:
            return x
        size, epsilon = norm.weight.shape, self.weights.epsilon
        if self.weights.centred:
            return torch.nn.functional.layer_norm(x, size, norm.weight, norm.bias, epsilon)
        if self._kernels is not None and x.dim() == 2 and x.is_contiguous():
            found = torch.empty_like(x)
            self._kernels.rms_norm(x.numpy(), norm.weight.numpy(), epsilon, found.numpy())
            return found
        return torch.nn.functional.rms_norm(x, size, norm.weight, epsilon)

    def _head_norm(self, rows: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        """Over each head (Qwen3), or over all heads at once (OLMo2), as the weight is wide."""
        assert norm is not None
        if norm.weight.shape[0] == self.shape.head:
            return self._normed(rows, norm)
        return self._normed(rows.flatten(1), norm).view_as(rows)


def _activations() -> dict[str, Any]:
    from torch.nn import functional

    return {
        "silu": functional.silu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "relu": functional.relu,
    }
