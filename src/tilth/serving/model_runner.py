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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.serving.attention import Part, attend
from tilth.serving.cache import BLOCK, Chain, KVCache
from tilth.serving.rotary import turned
from tilth.serving.weights import Layer, Linear, Norm, take_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens of one sequence in the row. They are put behind what its chain holds.

    `want`: of how many of its last tokens logits are given. `at`: positions of the chain that the
    tokens take instead, whose rows are written anew; they see what stands before each.
    """

    chain: Chain
    ids: Sequence[int]
    want: int = 1
    at: Sequence[int] | None = None


@dataclass
class Row:
    """Segments laid out: single tokens first, in groups of equal length, then the chunks."""

    ids: list[int]
    positions: torch.Tensor
    slots: Any
    parts: list[Part]
    wanted: torch.Tensor
    angles: Any = None
    all_angles: Any = None


class ModelRunner:
    """The weights of a model, and how they are run. The model itself is not kept.

    Raises DataError for an architecture that it does not know, with the reason.
    """

    def __init__(
        self, model: PreTrainedModel, dtype: torch.dtype | None = None, device: str | None = None
    ) -> None:
        self.weights = take_weights(model, dtype, device)
        self.shape = self.weights.shape
        self.dtype, self.device = self.weights.embed.dtype, self.weights.embed.device
        self._activation = _activations()[self.weights.activation]

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
            row, order = self._laid_out(cache, segments)
            given = None if embeds is None else embeds.to(self.device, self.dtype)[order]
            x = self._embedded(row, given)
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
            row, _ = self._laid_out(cache, [segment])
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
            made = _linear(self._normed(x, layer.before_attention), linear)
            return made.view(len(x), self.shape.key_heads, self.shape.head)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Those of states behind the last layer, (tokens, vocabulary), float32."""
        import torch

        with torch.inference_mode():
            return _linear(self._normed(x, self.weights.final), self.weights.head).float()

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
        x = _added(x, self._out(mixed, layer.out, layer.after_attention, x))
        inner = _linear(self._normed(x, layer.before_inner), layer.up)
        if self.weights.gated:
            gate, up = inner.chunk(2, dim=-1)
            inner = self._activation(gate).mul_(up)
        else:
            inner = self._activation(inner)
        return _added(x, self._out(inner, layer.down, layer.after_inner, x))

    def _attention(
        self, number: int, layer: Layer, x: torch.Tensor, cache: KVCache, row: Row
    ) -> torch.Tensor:
        import torch

        shape = self.shape
        heads = shape.heads + 2 * shape.key_heads
        qkv = _linear(x, layer.qkv).view(-1, heads, shape.head)
        both, value = torch.split(qkv, [shape.heads + shape.key_heads, shape.key_heads], dim=1)
        if layer.query_norm is not None:
            query = self._head_norm(both[:, : shape.heads], layer.query_norm)
            key = self._head_norm(both[:, shape.heads :], layer.key_norm)
            both = torch.cat((query, key), dim=1)
        seen = both if row.angles is None else turned(both, *row.angles)
        query, key = seen[:, : shape.heads], (seen if cache.turned else both)[:, shape.heads :]
        cache.write(number, row.slots, key, value)
        return attend(query, cache, number, row.parts, layer.scale, layer.window, row.all_angles)

    def _out(
        self, x: torch.Tensor, linear: Linear, after: Norm | None, residual: torch.Tensor
    ) -> tuple[torch.Tensor, bool]:
        """What a block adds to the residual, and whether the sum is done already."""
        import torch

        if after is not None:
            return self._normed(_linear(x, linear), after), False
        if linear.bias is None:
            return torch.addmm(residual, x, linear.weight.t()), True
        return _linear(x, linear), False

    def _normed(self, x: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        import torch

        if norm is None:
            return x
        size, epsilon = norm.weight.shape, self.weights.epsilon
        if self.weights.centred:
            return torch.nn.functional.layer_norm(x, size, norm.weight, norm.bias, epsilon)
        return torch.nn.functional.rms_norm(x, size, norm.weight, epsilon)

    def _head_norm(self, rows: torch.Tensor, norm: Norm | None) -> torch.Tensor:
        """Over each head (Qwen3), or over all heads at once (OLMo2), as the weight is wide."""
        assert norm is not None
        if norm.weight.shape[0] == self.shape.head:
            return self._normed(rows, norm)
        return self._normed(rows.flatten(1), norm).view_as(rows)

    def _laid_out(self, cache: KVCache, segments: Sequence[Segment]) -> tuple[Row, torch.Tensor]:
        """The row, and of each of its tokens the place in the order of the segments."""
        import torch

        if len({id(segment.chain) for segment in segments}) < len(segments):
            raise UsageError("a sequence has one segment in a row, not several")
        for segment in segments:
            if not len(segment.ids):
                raise UsageError("a segment without tokens")
            if segment.at is None:
                cache.reserve(segment.chain, len(segment.ids))
            else:
                cache.open(segment.chain, segment.at)
        starts, at = [], 0
        for segment in segments:
            starts.append(at)
            at += len(segment.ids)
        lengths = [_length(segment) for segment in segments]
        single = [len(one.ids) == 1 and one.at is None for one in segments]
        # Neighbours in the cache side by side, so that they can be read without being gathered.
        ordered = sorted(
            range(len(segments)),
            key=lambda i: (not single[i], lengths[i], _first_block(segments[i])),
        )
        ids: list[int] = []
        positions: list[int] = []
        origins: list[int] = []
        slots: list[int] = []
        parts: list[Part] = []
        place = {}
        for i in ordered:
            segment, count, begin = segments[i], len(segments[i].ids), len(ids)
            own = segment.at or range(segment.chain.length, segment.chain.length + count)
            place[i] = begin
            ids += segment.ids
            positions += own
            origins += range(starts[i], starts[i] + count)
            slots += cache.places(segment.chain, own)
            last = parts[-1] if parts else None
            if single[i] and last and last.length == lengths[i] and last.count == 1:
                last.chains = [*last.chains, segment.chain]
                last.stop += 1
            else:
                at_ = None if segment.at is None else torch.tensor(segment.at, device=self.device)
                parts.append(Part(begin, begin + count, [segment.chain], lengths[i], at_))
        wanted = [
            place[i] + number
            for i, segment in enumerate(segments)
            for number in range(len(segment.ids) - segment.want, len(segment.ids))
        ]
        row = Row(ids, torch.tensor(positions, device=self.device),
                  torch.tensor(slots, device=self.device), parts,
                  torch.tensor(wanted, dtype=torch.long, device=self.device))  # fmt: skip
        if self.weights.rotary is not None:
            row.angles = self.weights.rotary.angles(row.positions, self.dtype)
            if not cache.turned:
                every = torch.arange(max(lengths), device=self.device)
                row.all_angles = self.weights.rotary.angles(every, self.dtype)
        return row, torch.tensor(origins, device=self.device)


def _length(segment: Segment) -> int:
    """How many keys a segment's last token may see."""
    if segment.at is None:
        return segment.chain.length + len(segment.ids)
    return max(segment.at) + 1


def _first_block(segment: Segment) -> int:
    return segment.chain.blocks[0]


def _linear(x: torch.Tensor, linear: Linear) -> torch.Tensor:
    import torch

    return torch.nn.functional.linear(x, linear.weight, linear.bias)


def _added(residual: torch.Tensor, made: tuple[torch.Tensor, bool]) -> torch.Tensor:
    found, summed = made
    return found if summed else residual + found


def _activations() -> dict[str, Any]:
    from torch.nn import functional

    return {
        "silu": functional.silu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
        "relu": functional.relu,
    }
