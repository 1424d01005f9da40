"""Attention of one flat row of tokens, each sequence against its own cache.

The row holds several sequences side by side: chunks of prompts, and single tokens of sequences that
are being continued. Each chunk is one causal attention; single tokens whose caches have equal
length are one batch. Nothing is padded and no sequence sees another (as in prepacking: Zhao et al.,
2024; chunks over an earlier cache: Sarathi, Agrawal et al., 2023, arXiv 2308.16369).

A chunk's last query sees all keys, its first the fewest: the triangle is aligned at the lower
right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.serving.rotary import turned

if TYPE_CHECKING:
    import torch

    from tilth.serving.cache import Chain, KVCache


class Read(NamedTuple):
    """One call of attention: rows [start, stop), against what lies at `slots` (positions from
    `first` on). Slots: a slice or places of one chain, or (first slot, step, chains, keys) for
    several."""

    start: int
    stop: int
    slots: Any
    mask: torch.Tensor | None
    first: int


@dataclass
class Part:
    """Rows [start, stop) of the flat row: `count` tokens of each chain, `length` keys for each.

    `positions`: where the tokens of a single chain stand, if not at its end.
    """

    start: int
    stop: int
    chains: Sequence[Chain]
    length: int
    positions: torch.Tensor | None = None
    # What is read for each window, worked out at the first layer that has it.
    reads: dict[int | None, list[Read]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return (self.stop - self.start) // len(self.chains)


def attend(
    query: torch.Tensor, cache: KVCache, layer: int, parts: Sequence[Part], scale: float,
    window: int | None, angles: tuple[torch.Tensor, torch.Tensor] | None,
) -> torch.Tensor:  # fmt: skip
    """softmax(scale q k') v for all parts. query (tokens, heads, head), turned; as wide back,
    (tokens, heads x head). `angles`: cos and sin of all positions, for caches with plain keys."""
    import torch

    found = []
    for part in parts:
        for start, stop, slots, mask, first in _reads(part, cache, window):
            keys, values = (_taken(side[layer], slots) for side in (cache.keys, cache.values))
            if angles is not None:
                keys = turned(keys, *(one[first : part.length] for one in angles))
            q = query[start:stop]
            if part.count == 1 and mask is None:
                found.append(_single(q, keys, values, scale))
            else:
                found.append(_chunk(q, keys, values, mask, scale))
    return found[0] if len(found) == 1 else torch.cat(found)


def _single(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float
) -> torch.Tensor:
    """One query a sequence: (sequences, heads, head) against (sequences, keys, key heads, head).

    Heads that share keys are the rows of one product, so keys are not repeated.
    """
    import torch

    count, heads, head = q.shape
    keys, values = (side.view(-1, *side.shape[-3:]).transpose(1, 2) for side in (keys, values))
    key_heads = keys.shape[1]
    made = torch.nn.functional.scaled_dot_product_attention(
        q.view(count, key_heads, heads // key_heads, head), keys, values, scale=scale
    )
    return made.reshape(count, heads * head)


def _chunk(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:  # fmt: skip
    """The tokens of one chunk, (tokens, heads, head), against (keys, key heads, head)."""
    import torch

    query, key, value = (side.transpose(0, 1)[None] for side in (q, keys, values))
    made = torch.nn.functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None,
        scale=scale,
        enable_gqa=q.shape[1] != keys.shape[1],
    )
    return made[0].transpose(0, 1).reshape(q.shape[0], -1)


def _reads(part: Part, cache: KVCache, window: int | None) -> list[Read]:
    """The calls of attention that a part takes in layers of this window."""
    if window is not None and window >= part.length:
        window = None
    if window in part.reads:
        return part.reads[window]
    count, length = part.count, part.length
    first = 0
    if window is not None and part.positions is None:
        first = max(0, length - count - window + 1)
    slots = [cache.slots(chain, first, length) for chain in part.chains]
    if count == 1 and part.positions is None:
        found = [
            Read(part.start + begin, part.start + end, lain, None, first)
            for begin, end, lain in _runs(slots)
        ]
    else:
        mask = None
        if part.positions is not None or count < length or window is not None:
            mask = _mask(part, first, window, cache.device)
        found = [Read(part.start, part.stop, slots[0], mask, first)]
    part.reads[window] = found
    return found


def _runs(slots: Sequence[Any]) -> Iterator[tuple[int, int, Any]]:
    """Sequences of one length as runs that lie at equal steps in the cache and can be read at once,
    nothing gathered: (first, last + 1, slots)."""
    starts = [one.start if isinstance(one, slice) else -1 for one in slots]
    begin = 0
    while begin < len(slots):
        end, lain = begin + 1, slots[begin]
        if isinstance(lain, slice) and end < len(slots):
            step = starts[end] - lain.start
            while step > 0 and end < len(slots) and starts[end] == starts[end - 1] + step:
                end += 1
            if end > begin + 1:
                lain = (lain.start, step, end - begin, lain.stop - lain.start)
        yield begin, end, lain
        begin = end


def _mask(part: Part, first: int, window: int | None, device: Any) -> torch.Tensor:
    """Which key (columns, from `first` on) each token of a chunk sees."""
    import torch

    places = torch.arange(first, part.length, device=device)
    own = part.positions
    if own is None:
        own = torch.arange(part.length - part.count, part.length, device=device)
    distance = own[:, None] - places
    seen = distance >= 0
    return seen if window is None else seen & (distance < window)


def _taken(side: torch.Tensor, slots: Any) -> torch.Tensor:
    """Keys or values of one layer at the slots of a `Read`."""
    if isinstance(slots, tuple):
        first, step, count, length = slots
        row = side.stride(0)
        return side.as_strided(
            (count, length, *side.shape[1:]),
            (step * row, row, *side.stride()[1:]),
            first * row,
        )
    return side[slots] if isinstance(slots, slice) else side.index_select(0, slots)
