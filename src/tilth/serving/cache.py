"""The keys and values of all sequences, in blocks that sequences share.

    cache = KVCache(weights.shape, blocks=256, rotary=weights.rotary)
    chain = cache.chain(tokens)                  # with what the cache knows of their beginning
    cache.reserve(chain, 5); ...; cache.commit(chain, tokens)       # done by the model runner

A `Chain` is one sequence: its blocks and how many rows they hold; row i is the token at position i.
Keys lie as attention reads them, turned by their position; `Rows`, the form in which they are taken
out, put in, saved and moved, holds them before rotary, so that they fit at any position. A cache
with `keys="plain"` keeps them before rotary inside as well and turns them at each reading: slower,
but nothing is turned twice however often it is moved.

What was written by a run of the model from the start may be shared by content; what was edited
(`fill`, `replace`, `shift`, `write_rows`) is the user's own and never found by others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tilth.errors import LimitError, UsageError
from tilth.serving.blocks import BlockTable, block_digest

if TYPE_CHECKING:
    import torch

    from tilth.serving.rotary import Rotary
    from tilth.serving.weights import Shape

BLOCK = 16


@dataclass(eq=False)
class Chain:
    """One sequence in a cache. `tokens`: whose rows they are, as long as nothing was edited."""

    blocks: list[int] = field(default_factory=list)
    length: int = 0
    tokens: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    edited: bool = False
    # The cache of `transformers`, for models that the engine has no decoder for.
    past: Any = None


@dataclass(frozen=True)
class Rows:
    """Keys before rotary and values, each (layers, tokens, key heads, head)."""

    keys: torch.Tensor
    values: torch.Tensor

    def __len__(self) -> int:
        return self.keys.shape[1]


class KVCache:
    """`blocks` blocks of `block` tokens. `share`: find beginnings by content.

    Raises LimitError where blocks run out; what was there before is then unchanged.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        blocks: int,
        block: int = BLOCK,
        rotary: Rotary | None = None,
        keys: str = "turned",
        share: bool = True,
        dtype: torch.dtype | None = None,
        device: Any = None,
    ) -> None:
        import torch

        if keys not in ("turned", "plain"):
            raise UsageError(f"keys are 'turned' or 'plain', not {keys!r}")
        if block < 1:
            raise UsageError(f"a block holds at least one token, not {block}")
        self.table, self.block, self.share = BlockTable(blocks), block, share
        self.rotary, self.turned = rotary, keys == "turned"
        self.device = torch.device(device or "cpu")
        size = (blocks * block, shape.key_heads, shape.head)
        # Zeros, not garbage: memory is touched only where it is written.
        self.keys, self.values = (
            [torch.zeros(size, dtype=dtype, device=self.device) for _ in range(shape.layers)]
            for _ in range(2)
        )

    # Sequences -----------------------------------------------------------------------------------

    def names(self, tokens: Sequence[int]) -> list[bytes]:
        """The digests of the full blocks of `tokens`; empty for a cache that does not share."""
        found: list[bytes] = []
        for start in range(0, len(tokens) - self.block + 1 if self.share else 0, self.block):
            before = found[-1] if found else b""
            found.append(block_digest(before, tokens[start : start + self.block]))
        return found

    def known(self, names: Sequence[bytes]) -> int:
        """How many tokens of these full blocks, from the first on, the cache has already."""
        count = 0
        while count < len(names) and self.table.find(names[count]) is not None:
            count += 1
        return count * self.block

    def chain(self, tokens: Sequence[int] = (), names: Sequence[bytes] | None = None) -> Chain:
        """A new sequence, holding the full blocks of `tokens` that the cache has already.

        `names`: those of the tokens, where they are at hand.
        """
        names = self.names(tokens) if names is None else names
        length = self.known(names)
        chain = Chain([], length, list(tokens[:length]), list(names[: length // self.block]))
        for name in chain.digests:
            block = self.table.find(name)
            assert block is not None
            self.table.share(block)
            chain.blocks.append(block)
        return chain

    def reserve(self, chain: Chain, count: int, ahead: int = 0) -> None:
        """Room for `count` more tokens that nobody else reads.

        `ahead`: how many are expected after them, a hint for where blocks go.
        """
        wanted = self.blocks_for(chain.length + count) - len(chain.blocks)
        tail = chain.length % self.block and count
        copied = tail and self.table.references[chain.blocks[chain.length // self.block]] > 1
        # Both at once, so that a lack of blocks leaves everything as it was.
        last = chain.blocks[-1] if chain.blocks else None
        later = self.blocks_for(chain.length + count + ahead) - self.blocks_for(
            chain.length + count
        )
        new = self.table.take(max(0, wanted) + bool(copied), last, later)
        if tail:
            self._own(chain, chain.length // self.block, new.pop() if copied else None)
        chain.blocks += new

    def blocks_for(self, tokens: int) -> int:
        """How many blocks a sequence of so many tokens takes."""
        return -(-tokens // self.block)

    def _own(self, chain: Chain, number: int, spare: int | None = None) -> None:
        """Make a block of a chain one that may be written to: not shared, and without a name."""
        block = chain.blocks[number]
        if self.table.references[block] > 1:
            new = self.table.take(1)[0] if spare is None else spare
            old, to = (slice(at * self.block, (at + 1) * self.block) for at in (block, new))
            for tensor in (*self.keys, *self.values):
                tensor[to] = tensor[old]
            self.table.give_back([block])
            chain.blocks[number] = new
        else:
            self.table.forget(block)
        del chain.digests[number:]

    def commit(self, chain: Chain, tokens: Sequence[int]) -> None:
        """The rows behind the last one have been written, for these tokens."""
        chain.length += len(tokens)
        if chain.edited:
            return
        chain.tokens += tokens
        while self.share and (len(chain.digests) + 1) * self.block <= chain.length:
            number = len(chain.digests)
            part = chain.tokens[number * self.block : (number + 1) * self.block]
            name = block_digest(chain.digests[-1] if number else b"", part)
            chain.digests.append(name)
            self.table.name(chain.blocks[number], name)

    def fork(self, chain: Chain) -> Chain:
        """Another sequence with the same rows; a block is copied when one of the two writes to
        it."""
        # Not the room that was reserved and holds nothing yet.
        blocks = chain.blocks[: self.blocks_for(chain.length)]
        for block in blocks:
            self.table.share(block)
        return Chain(blocks, chain.length, list(chain.tokens), list(chain.digests), chain.edited)

    def truncate(self, chain: Chain, length: int) -> None:
        """Only the first `length` rows stay."""
        if not 0 <= length <= chain.length:
            raise UsageError(f"{length:,} rows of {chain.length:,} cannot stay")
        keep = self.blocks_for(length)
        self.table.give_back(chain.blocks[keep:])
        del chain.blocks[keep:], chain.tokens[length:], chain.digests[length // self.block :]
        chain.length = length

    def free(self, chain: Chain) -> None:
        """Give all blocks back. The chain is empty afterwards."""
        self.truncate(chain, 0)
        chain.edited, chain.past = False, None

    # Where rows lie ------------------------------------------------------------------------------

    def slots(self, chain: Chain, start: int, stop: int) -> torch.Tensor | slice:
        """Where the rows [start, stop) lie in `keys[layer]`: a slice where they are side by
        side."""
        import torch

        first, last = start // self.block, max(start, stop - 1) // self.block
        own = chain.blocks[first : last + 1]
        if all(block == own[0] + number for number, block in enumerate(own)):
            at = (own[0] if own else 0) * self.block + start % self.block
            return slice(at, at + stop - start)
        blocks = torch.tensor(own)
        every = (blocks[:, None] * self.block + torch.arange(self.block)).reshape(-1)
        return every[start - first * self.block :][: stop - start].to(self.device)

    def places(self, chain: Chain, positions: Iterable[int]) -> list[int]:
        """The slot of each of these positions."""
        blocks, size = chain.blocks, self.block
        return [blocks[at // size] * size + at % size for at in positions]

    def open(self, chain: Chain, index: Iterable[int]) -> None:
        """Make the rows at these positions ones that may be written to; they count as edited."""
        for number in sorted({at // self.block for at in index}):
            self._own(chain, number)
        chain.edited = True

    def write(self, layer: int, slots: Any, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Rows (tokens, key heads, head) as the cache keeps them: see `turned`."""
        self.keys[layer][slots] = keys
        self.values[layer][slots] = values

    # Edits ---------------------------------------------------------------------------------------

    def slice(self, chain: Chain, start: int = 0, stop: int | None = None) -> Rows:
        """A copy of the rows [start, stop), as they fit at any position."""
        import torch

        stop = chain.length if stop is None else stop
        if not 0 <= start <= stop <= chain.length:
            raise UsageError(f"there are no rows {start:,} to {stop:,} of {chain.length:,}")
        slots = self.slots(chain, start, stop)
        keys, values = (
            torch.stack([one[slots] for one in part]) for part in (self.keys, self.values)
        )
        if self.turned and self.rotary is not None:
            keys = self.rotary.turn_back(keys, self._positions(start, stop))
        return Rows(keys, values)

    def fill(self, chain: Chain, rows: Rows) -> None:
        """Put rows behind the last one: computed elsewhere, predicted, or taken from a file."""
        self.reserve(chain, len(rows))
        chain.edited = True
        chain.length += len(rows)
        self._put(chain, list(range(chain.length - len(rows), chain.length)), rows)

    def write_rows(self, chain: Chain, index: Sequence[int], rows: Rows) -> None:
        """Replace single rows, those at the positions `index`."""
        if len(index) != len(rows) or any(not 0 <= at < chain.length for at in index):
            raise UsageError(f"{len(rows):,} rows do not fit at {len(index):,} of {chain.length:,}")
        self.open(chain, index)
        self._put(chain, index, rows)

    def replace(self, chain: Chain, start: int, stop: int, rows: Rows) -> None:
        """Put rows in place of [start, stop); what follows moves to its new positions.

        Keys are turned to where they now stand, so positions are exact; that the rows behind were
        computed with the old ones before them stays (Positional Integrity Encoding).
        """
        if start > stop:
            raise UsageError(f"there are no rows {start:,} to {stop:,}")
        tail = self.slice(chain, stop)
        keep = self.blocks_for(start)
        needed = self.blocks_for(start + len(rows) + len(tail)) - keep
        if start % self.block:
            needed += self.table.references[chain.blocks[keep - 1]] > 1
        there = self.table.free + sum(
            self.table.references[block] == 1 for block in chain.blocks[keep:]
        )
        if needed > there:
            raise LimitError(f"{needed:,} blocks of the cache are needed, {there:,} are free")
        self.truncate(chain, start)
        self.fill(chain, rows)
        self.fill(chain, tail)

    def shift(self, chain: Chain, start: int, steps: int) -> None:
        """Let the rows from `start` on stand `steps` positions further than where they lie."""
        if self.rotary is None or not self.turned:
            raise UsageError("only keys that are kept turned by rotary positions can be shifted")
        self.open(chain, range(start, chain.length))
        slots = self.slots(chain, start, chain.length)
        for keys in self.keys:
            keys[slots] = self.rotary.move(keys[slots], steps)

    def _put(self, chain: Chain, index: Sequence[int], rows: Rows) -> None:
        import torch

        positions = torch.tensor(index, dtype=torch.long, device=self.device)
        slots = torch.tensor(self.places(chain, index), dtype=torch.long, device=self.device)
        keys = rows.keys.to(self.device)
        if self.turned and self.rotary is not None:
            keys = self.rotary.turn(keys, positions)
        for layer, (one, value) in enumerate(zip(keys, rows.values.to(self.device))):
            self.write(layer, slots, one.to(self.keys[layer].dtype), value)

    def _positions(self, start: int, stop: int) -> torch.Tensor:
        import torch

        return torch.arange(start, stop, device=self.device)
