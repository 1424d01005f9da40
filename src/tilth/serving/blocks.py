"""Which blocks of the cache belong to whom: counts, names and order, no numbers of a model.

The cache is cut into blocks of a few tokens, and a sequence owns a list of them, as a process owns
pages (PagedAttention: Kwon et al., 2023, arXiv 2309.06180). A full block is named by a digest of
its tokens and of the block before it; whoever has the same beginning takes the same block. A block
that nobody uses keeps its name until its place is needed, the oldest first.

Every block is in exactly one of three states: used (references above 0), blank (free, no name),
kept (free, with a name by which it can be found again).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from tilth.errors import LimitError, UsageError


def block_digest(before: bytes, tokens: Sequence[int]) -> bytes:
    """The name of a full block: what stands in it and in all blocks before it."""
    packed = b"".join(token.to_bytes(8, "little") for token in tokens)
    return hashlib.blake2b(before + packed, digest_size=16).digest()


class BlockTable:
    """`total` blocks, numbered from 0."""

    def __init__(self, total: int) -> None:
        if total < 1:
            raise UsageError(f"a cache has at least one block, not {total}")
        self.total = total
        self.references = [0] * total
        self._blank: OrderedDict[int, None] = OrderedDict.fromkeys(range(total))
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._digest: dict[int, bytes] = {}
        self._named: dict[bytes, int] = {}

    @property
    def free(self) -> int:
        """How many blocks can be taken."""
        return len(self._blank) + len(self._kept)

    def take(self, count: int, after: int | None = None, ahead: int = 0) -> list[int]:
        """Blocks for one user, each used once now. All or none: LimitError where too few are free.

        The block that lies behind `after`, and behind each that was taken, is preferred: blocks
        side by side are read without being gathered. `ahead` blocks behind the last one are left
        for later: others get them only when no other blank one is there.
        """
        if count > self.free:
            raise LimitError(f"{count:,} blocks of the cache are needed, {self.free:,} are free")
        taken: list[int] = []
        for _ in range(count):
            taken.append(self._take_one(taken[-1] if taken and after is not None else after))
        if after is None:
            # Nothing is in them yet: any order will do, and the one side by side is read fastest.
            taken.sort()
        if taken:
            for block in range(taken[-1] + 1, min(taken[-1] + 1 + ahead, self.total)):
                if block in self._blank:
                    self._blank.move_to_end(block)
        return taken

    def _take_one(self, after: int | None) -> int:
        block = -1 if after is None else after + 1
        if block in self._blank:
            del self._blank[block]
        elif block in self._kept:
            del self._kept[block]
        elif self._blank:
            block, _ = self._blank.popitem(last=False)
        else:
            block, _ = self._kept.popitem(last=False)
        self.forget(block)
        self.references[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more user of a block that is used or kept."""
        if self.references[block] == 0:
            if block not in self._kept:
                raise UsageError(f"block {block} is blank: there is nothing to share")
            del self._kept[block]
        self.references[block] += 1

    def give_back(self, blocks: Iterable[int]) -> None:
        """One user less of each block; what nobody uses is free.

        The last is the first to be taken again: an end is of no use without its beginning.
        """
        for block in reversed(list(blocks)):
            if self.references[block] < 1:
                raise UsageError(f"block {block} is not in use")
            self.references[block] -= 1
            if self.references[block] == 0:
                (self._kept if block in self._digest else self._blank)[block] = None

    def name(self, block: int, digest: bytes) -> None:
        """Say what a used block holds. The first block of a name keeps it."""
        if digest not in self._named and self.references[block] > 0:
            self.forget(block)
            self._named[digest] = block
            self._digest[block] = digest

    def forget(self, block: int) -> None:
        """A block that is to be written to no longer holds what its name says."""
        digest = self._digest.pop(block, None)
        if digest is not None:
            del self._named[digest]

    def find(self, digest: bytes) -> int | None:
        """The block of that name, used or kept."""
        return self._named.get(digest)

    def is_named(self, block: int) -> bool:
        return block in self._digest

    def check(self) -> None:
        """Raises AssertionError where a block is in no state, or in two. For tests."""
        blank, kept = set(self._blank), set(self._kept)
        used = {block for block, count in enumerate(self.references) if count}
        assert not blank & kept and not blank & used and not kept & used
        assert len(blank) + len(kept) + len(used) == self.total
        assert kept <= set(self._digest) and not blank & set(self._digest)
        assert {digest: block for block, digest in self._digest.items()} == self._named
