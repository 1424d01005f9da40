"""The flat row of a step: tokens of several sequences laid side by side, and where each belongs.

Single tokens of sequences that go on come first, in groups of equal length, then the chunks of
prompts. `model_runner` runs a row, `attention` and `kernels` read the cache for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import LimitError, UsageError
from tilth.serving.attention import Part
from tilth.serving.cache import Chain, KVCache

if TYPE_CHECKING:
    import numpy as np
    import torch

    from tilth.serving.rotary import Rotary


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


class Last(NamedTuple):
    """What the compiled attention reads for the tokens that are their sequences' last, the first
    rows: `blocks[starts[i]:]` are those of row i, `lengths` its keys. int64."""

    blocks: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


@dataclass
class Row:
    """Segments laid out. `slots`: where each token's rows lie in the cache. `parts`: what
    `attention` does, which is all but the single tokens where `last` is there. `origins`: of each
    token the place in the order of the segments."""

    ids: list[int]
    positions: torch.Tensor
    slots: torch.Tensor
    parts: list[Part]
    wanted: torch.Tensor
    origins: torch.Tensor
    angles: Any = None
    all_angles: Any = None
    last: Last | None = None


def lay_out(
    cache: KVCache, segments: Sequence[Segment], rotary: Rotary | None, dtype: torch.dtype,
    compiled: bool,
) -> Row:  # fmt: skip
    """The row of these segments, for which room is reserved in the cache.

    `compiled`: single tokens are left to the compiled loops. Raises LimitError where the cache has
    no room.
    """
    import torch

    if len({id(segment.chain) for segment in segments}) < len(segments):
        raise UsageError("a sequence has one segment in a row, not several")
    if not all(len(segment.ids) for segment in segments):
        raise UsageError("a segment without tokens")
    _reserve(cache, segments)
    starts, at = [], 0
    for segment in segments:
        starts.append(at)
        at += len(segment.ids)
    lengths = [_length(segment) for segment in segments]
    single = [len(one.ids) == 1 and one.at is None for one in segments]
    # Neighbours in the cache side by side, so that they can be read without being gathered.
    ordered = sorted(
        range(len(segments)), key=lambda i: (not single[i], lengths[i], segments[i].chain.blocks[0])
    )
    ids: list[int] = []
    positions: list[int] = []
    origins: list[int] = []
    slots: list[int] = []
    parts: list[Part] = []
    place = {}
    device = cache.device
    for i in ordered:
        segment, count, begin = segments[i], len(segments[i].ids), len(ids)
        own = segment.at or range(segment.chain.length, segment.chain.length + count)
        place[i] = begin
        ids += segment.ids
        positions += own
        origins += range(starts[i], starts[i] + count)
        slots += cache.places(segment.chain, own)
        last = parts[-1] if parts else None
        if single[i] and compiled:
            continue
        if single[i] and last and last.length == lengths[i] and last.count == 1:
            last.chains = [*last.chains, segment.chain]
            last.stop += 1
        else:
            given = None if segment.at is None else torch.tensor(segment.at, device=device)
            parts.append(Part(begin, begin + count, [segment.chain], lengths[i], given))
    wanted = [
        place[i] + number
        for i, segment in enumerate(segments)
        for number in range(len(segment.ids) - segment.want, len(segment.ids))
    ]
    row = Row(
        ids, torch.tensor(positions, device=device), torch.tensor(slots, device=device), parts,
        torch.tensor(wanted, dtype=torch.long, device=device),
        torch.tensor(origins, device=device),
    )  # fmt: skip
    if rotary is not None:
        row.angles = rotary.angles(row.positions, dtype)
        if not cache.turned:
            row.all_angles = rotary.angles(torch.arange(max(lengths), device=device), dtype)
    if compiled:
        row.last = _last([segments[i].chain for i in ordered if single[i]])
    return row


def _reserve(cache: KVCache, segments: Sequence[Segment]) -> None:
    """Room for all, or for none: then the blocks that were taken go back."""
    for number, segment in enumerate(segments):
        try:
            if segment.at is None:
                cache.reserve(segment.chain, len(segment.ids))
            else:
                cache.open(segment.chain, segment.at)
        except LimitError:
            for done in segments[:number]:
                cache.truncate(done.chain, done.chain.length)
            raise


def _last(chains: Sequence[Chain]) -> Last:
    """Of sequences to which one token each is being added."""
    import numpy as np

    sizes = [len(chain.blocks) for chain in chains]
    return Last(
        np.array([block for chain in chains for block in chain.blocks], np.int64),
        np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, np.int64),
        np.array([chain.length + 1 for chain in chains], np.int64),
    )


def _length(segment: Segment) -> int:
    """How many keys a segment's last token may see."""
    if segment.at is None:
        return segment.chain.length + len(segment.ids)
    return max(segment.at) + 1
