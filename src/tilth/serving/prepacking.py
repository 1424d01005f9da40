"""Prepacking: a list of prompts of unlike length read in few full rows, nothing padded.

    first = prefill(runner, cache, prompts)              # lists of token ids
    first[0].chain.length == len(prompts[0])             # its own cache, at its own positions
    first[0].logits                                      # (vocabulary), of its next token

Zhao, Israel, Van den Broeck and Grover (2024), "Prepacking", arXiv 2404.09529. Prompts are put into
bins, first-fit-decreasing, none of them over a capacity; a bin is one row of the model, in which
every prompt has positions of its own from 0 on and sees itself alone. The authors mask a row with a
square matrix, which pays attention between all its tokens; here each prompt is one causal attention
(`attention`), so a bin costs what its prompts cost.

Use it for a batch that is there from the start, when all caches are wanted at once: to score, to
embed, to compare methods that edit caches. To get texts, use the engine with the policy
`prepacked`, which packs the same way and goes on to decode. It gains nothing over padding where
prompts are of equal length, and little over reading one by one where each prompt alone fills the
machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tilth.errors import UsageError
from tilth.serving.model_runner import Segment

if TYPE_CHECKING:
    import torch

    from tilth.serving.cache import Chain, KVCache

# Tokens a row, where no prompt is longer: from there on a product costs no less a token.
ROW = 512


class Prefilled(NamedTuple):
    """A prompt that was read: its sequence in the cache, and the logits of its next token
    (vocabulary), float32."""

    chain: Chain
    logits: torch.Tensor


def row_for(lengths: Sequence[int]) -> int:
    """The capacity where none is given: `ROW`, or as much as the longest prompt takes.

    The authors' bins are as long as the longest prompt, and a batch of bins is one forward; a bin
    here is a forward of its own, so it must also be long enough to fill the machine.
    """
    return max(ROW, *lengths)


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins, each a list of places in `lengths`, by first-fit-decreasing.

    The longest comes first, into the first bin that has room for it; at most 11/9 of the fewest
    bins and one more are made (Johnson, 1973). What is longer than `capacity` has a bin for itself.
    Of equal lengths the first stays first. Raises UsageError for a capacity or a length below 1.
    """
    if capacity < 1 or min(lengths, default=1) < 1:
        raise UsageError("a capacity and lengths are at least 1")
    bins: list[list[int]] = []
    room: list[int] = []
    # Where the first bin with room for `length` may be; only ever further on, as bins fill up.
    at, before = 0, 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        length = lengths[place]
        at = at if length == before else 0
        while at < len(bins) and room[at] < length:
            at += 1
        if at == len(bins):
            bins.append([])
            room.append(capacity)
        bins[at].append(place)
        room[at] -= length
        before = length
    return bins


def prefill(
    runner: Any, cache: KVCache, prompts: Sequence[Sequence[int]], *, capacity: int | None = None
) -> list[Prefilled]:
    """Read all prompts, in bins of `capacity` tokens; one `Prefilled` each, in their order.

    `runner`: a `ModelRunner` (or a `FallbackRunner`, which runs them one by one) and a cache of
    its. `capacity`: tokens a row, see `row_for`; a larger one makes fewer rows and takes more
    memory. What a cache that shares knows of a prompt's beginning is not read again. Give chains
    back with `cache.free`. Raises UsageError for a prompt without tokens, LimitError where the
    cache has no room; nothing is then kept.
    """
    if not all(map(len, prompts)):
        raise UsageError("a prompt has at least one token")
    if not prompts:
        return []
    chains: list[Chain] = []
    logits: dict[int, torch.Tensor] = {}
    try:
        for prompt in prompts:
            # Not the last token: it gives the next.
            chains.append(cache.chain(prompt[:-1]))
        left = [len(prompt) - chain.length for prompt, chain in zip(prompts, chains)]
        for places in pack(left, row_for(left) if capacity is None else capacity):
            row = [
                Segment(chains[place], list(prompts[place][chains[place].length :]))
                for place in places
            ]
            for place, found in zip(places, runner.forward(cache, row)):
                logits[place] = found
    except BaseException:
        for chain in chains:
            cache.free(chain)
        raise
    return [Prefilled(chain, logits[place]) for place, chain in enumerate(chains)]
