"""Chunked cross-attention: a decoder looks at texts found for its earlier chunks.

Borgeaud et al. (2022), "Improving language models by retrieving from trillions of tokens" (RETRO).
Tokens are cut in chunks of m. The neighbours of chunk u were found by the tokens of chunk u, so
they may be seen from its last token on, which predicts the first token of chunk u + 1, and no
earlier: position p sees the neighbours of chunk (p + 1) // m - 1. The first m - 1 positions see
none. `group_of` and `groups` are the only places where this is said.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn


class Groups(NamedTuple):
    """Chunks `first` to `last` whose neighbours some positions see; -1 stands for none.

    `left`: positions of chunk `first`'s group that lie before the start.
    """

    first: int
    last: int
    left: int


def group_of(position: int, chunk: int) -> int:
    """The chunk whose neighbours a position sees; -1 where it sees none."""
    return (position + 1) // chunk - 1


def groups(start: int, length: int, chunk: int) -> Groups:
    """The groups of the positions start : start + length."""
    first, last = group_of(start, chunk), group_of(start + length - 1, chunk)
    return Groups(first, last, start - ((first + 1) * chunk - 1))


class CrossAttention(nn.Module):
    """Multi-head attention from one sequence to another, all of it (Vaswani et al., 2017).

    queries (n, t, width), keys (n, s, width), valid (n, s): which keys may be seen. Where none may,
    the answer is exactly 0.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = (
            nn.Linear(width, width, bias=False),
            nn.Linear(width, width, bias=False),
        )
        self.value, self.output = (
            nn.Linear(width, width, bias=False),
            nn.Linear(width, width, bias=False),
        )

    def forward(
        self,
        queries: torch.Tensor,
        keys: torch.Tensor,
        valid: torch.Tensor,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """`bias` (heads, t, s) is added to the scores."""

        def split(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        some = valid.any(-1)
        # Softmax over nothing is no number: the first key stands in, and its answer is dropped.
        mask = valid.clone()
        mask[:, 0] |= ~some
        seen = mask[:, None, None]
        if bias is not None:
            seen = torch.where(seen, bias, bias.new_tensor(-torch.inf))
        found = F.scaled_dot_product_attention(
            split(self.query(queries)), split(self.key(keys)), split(self.value(keys)),
            attn_mask=seen,
        )  # fmt: skip
        found = self.output(found.transpose(1, 2).flatten(2))
        return torch.where(some[:, None, None], found, torch.zeros_like(found))


class ChunkedCrossAttention(nn.Module):
    """Cross-attention of each position to the neighbours of its group's chunk."""

    def __init__(self, width: int, heads: int, chunk: int, longest: int) -> None:
        super().__init__()
        self.chunk = chunk
        self.norm = nn.RMSNorm(width, eps=1e-6)
        # Scores by where a position is in its group and a token in its neighbour: what comes next
        # in the text stands further on in what was found.
        self.places = nn.Parameter(torch.zeros(heads, chunk, longest))
        self.attention = CrossAttention(width, heads)

    def forward(
        self, hidden: torch.Tensor, memory: torch.Tensor, valid: torch.Tensor, start: int = 0
    ) -> torch.Tensor:
        """What is to be added to hidden (rows, length, width), the positions from `start` on.

        memory (rows, groups, keys, width), valid (rows, groups, keys): for the groups of
        `groups(start, length, chunk)`, in order; the keys are whole neighbours of `longest`.
        """
        rows, length, width = hidden.shape
        _, _, left = groups(start, length, self.chunk)
        filled = memory.shape[1] * self.chunk
        queries = F.pad(self.norm(hidden), (0, 0, left, filled - left - length))
        queries = queries.reshape(rows * memory.shape[1], self.chunk, width)
        bias = self.places.repeat(1, 1, memory.shape[2] // self.places.shape[2])
        found = self.attention(queries, memory.flatten(0, 1), valid.flatten(0, 1), bias)
        return found.reshape(rows, filled, width)[:, left : left + length]


class NeighbourBlock(nn.Module):
    """One layer of the encoder: all of the neighbour, then the chunk that found it, then an MLP."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(width, eps=1e-6) for _ in range(3))
        self.itself = CrossAttention(width, heads)
        self.chunk = CrossAttention(width, heads)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(
        self, hidden: torch.Tensor, valid: torch.Tensor, asking: torch.Tensor
    ) -> torch.Tensor:
        """hidden (n, k, r, width), valid (n, k, r), asking (n, m, width): its states."""
        many, several, size, _ = hidden.shape
        flat = self.norms[0](hidden).flatten(0, 1)
        found = self.itself(flat, flat, valid.flatten(0, 1))
        hidden = hidden + found.unflatten(0, (many, several))
        seen = torch.ones(asking.shape[:2], dtype=torch.bool, device=asking.device)
        found = self.chunk(self.norms[1](hidden).flatten(1, 2), asking, seen)
        hidden = hidden + found.unflatten(1, (several, size))
        return hidden + self.down(F.gelu(self.up(self.norms[2](hidden))))


class NeighbourEncoder(nn.Module):
    """Neighbours to what the decoder attends to; in both directions, small (2 layers)."""

    def __init__(self, width: int, heads: int, layers: int, longest: int) -> None:
        super().__init__()
        # Embeddings of decoders are small or large; here they meet positions on one scale.
        self.entry = nn.RMSNorm(width, eps=1e-6)
        self.positions = nn.Embedding(longest, width)
        self.layers = nn.ModuleList(NeighbourBlock(width, heads, 4 * width) for _ in range(layers))
        self.asking = nn.RMSNorm(width, eps=1e-6)
        self.norm = nn.RMSNorm(width, eps=1e-6)

    def forward(
        self, embedded: torch.Tensor, valid: torch.Tensor, asking: torch.Tensor
    ) -> torch.Tensor:
        """embedded (n, k, r, width), valid (n, k, r), asking (n, m, width) -> (n, k r, width)."""
        hidden = self.entry(embedded) + self.positions.weight[: embedded.shape[2]]
        asking = self.asking(asking)
        for layer in self.layers:
            hidden = layer(hidden, valid, asking)
        return self.norm(hidden).flatten(1, 2)
