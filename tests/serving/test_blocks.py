"""The cache as a state machine: blocks are conserved, none owned twice, rows are what was put."""

from collections import Counter

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from tilth.errors import LimitError
from tilth.serving.cache import KVCache, Rows
from tilth.serving.weights import Shape

BLOCKS, BLOCK = 7, 3
tokens = st.lists(st.integers(0, 1), min_size=1, max_size=8)


def value(prefix):
    """What the row of the last of these tokens holds: it depends on all before it."""
    return float(int.from_bytes(bytes([1, *prefix]), "big") % 9973)


class Machine(RuleBasedStateMachine):
    chains = Bundle("chains")

    def __init__(self):
        super().__init__()
        shape = Shape(layers=2, width=2, heads=1, key_heads=1, head=2, vocabulary=4, context=99)
        self.cache = KVCache(shape, blocks=BLOCKS, block=BLOCK)
        self.rows = {}  # chain -> what its rows are to hold
        self.next = 10_000.0

    def fresh(self, count):
        """Rows that nothing else holds."""
        values = [self.next + number for number in range(count)]
        self.next += count
        tensor = torch.tensor(values).view(1, -1, 1, 1).expand(2, -1, 1, 2).clone()
        return values, Rows(tensor, -tensor)

    @rule(target=chains, given=tokens)
    def begin(self, given):
        chain = self.cache.chain(given)
        assert chain.length % BLOCK == 0 and chain.length <= len(given)
        self.rows[chain] = [value(given[: at + 1]) for at in range(chain.length)]
        return chain

    @rule(chain=chains, given=tokens)
    def append(self, chain, given):
        free = self.cache.table.free
        try:
            self.cache.reserve(chain, len(given))
        except LimitError:
            assert self.cache.table.free == free
            return
        start = chain.length
        if chain.edited:
            values, _ = self.fresh(len(given))
        else:
            known = [*chain.tokens, *given]
            values = [value(known[: at + 1]) for at in range(start, len(known))]
        slots = torch.tensor(self.cache.places(chain, range(start, start + len(given))))
        put = torch.tensor(values).view(-1, 1, 1).expand(-1, 1, 2)
        for layer in range(2):
            self.cache.write(layer, slots, put, -put)
        self.cache.commit(chain, given)
        self.rows[chain] += values

    @rule(target=chains, chain=chains)
    def fork(self, chain):
        other = self.cache.fork(chain)
        self.rows[other] = list(self.rows[chain])
        return other

    @rule(chain=chains, part=st.floats(0, 1))
    def truncate(self, chain, part):
        length = int(part * chain.length)
        self.cache.truncate(chain, length)
        del self.rows[chain][length:]

    @rule(chain=chains, part=st.floats(0, 1), size=st.integers(0, 3), count=st.integers(0, 5))
    def replace(self, chain, part, size, count):
        start = int(part * chain.length)
        stop = min(chain.length, start + size)
        values, rows = self.fresh(count)
        try:
            self.cache.replace(chain, start, stop, rows)
        except LimitError:
            return
        self.rows[chain][start:stop] = values

    @rule(chain=chains, part=st.floats(0, 0.99))
    def write_row(self, chain, part):
        if chain.length:
            at = int(part * chain.length)
            values, rows = self.fresh(1)
            try:
                self.cache.write_rows(chain, [at], rows)
            except LimitError:
                return
            self.rows[chain][at] = values[0]

    @rule(chain=consumes(chains))
    def free(self, chain):
        self.cache.free(chain)
        del self.rows[chain]

    @invariant()
    def blocks_are_conserved_and_counted(self):
        self.cache.table.check()
        owners = Counter(block for chain in self.rows for block in chain.blocks)
        counts = {block: n for block, n in enumerate(self.cache.table.references) if n}
        assert owners == counts
        assert self.cache.table.free + len(counts) == BLOCKS
        assert all(len(set(chain.blocks)) == len(chain.blocks) for chain in self.rows)

    @invariant()
    def rows_hold_what_was_put(self):
        for chain, expected in self.rows.items():
            assert chain.length == len(expected) <= len(chain.blocks) * BLOCK
            rows = self.cache.slice(chain)
            for layer in range(2):
                assert rows.keys[layer, :, 0, 1].tolist() == expected
                assert rows.values[layer, :, 0, 0].tolist() == [-one for one in expected]


TestCache = Machine.TestCase
TestCache.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
