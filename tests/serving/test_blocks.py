"""The cache as a state machine: blocks are conserved, none owned twice, rows are what was put.

The model of it is a list for each chain: what its rows hold, and how far each was shifted.
"""

import itertools
import tempfile
from collections import Counter
from pathlib import Path

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from tilth.errors import LimitError
from tilth.serving.cache import KVCache, Rows
from tilth.serving.cache_files import load_chain, save_chain
from tilth.serving.row import Segment, lay_out
from tilth.serving.weights import Shape

BLOCKS, BLOCK = 7, 3
# Mostly whole blocks, of two kinds, so that many sequences have one in common, or two.
parts = st.sampled_from([[0] * BLOCK, [1] * BLOCK, [0], [1]])
tokens = st.lists(parts, min_size=1, max_size=3).map(lambda found: list(itertools.chain(*found)))


def value(prefix):
    """What the row of the last of these tokens holds: it depends on all before it."""
    return float(int.from_bytes(bytes([1, *prefix]), "big") % 9973)


class Sums:
    """Positions that are added to the second number of a key, in place of those that turn it: moves
    add up as well, and here exactly."""

    def turn(self, keys, positions):
        return keys + torch.stack((0 * positions, positions), -1)[:, None]

    def turn_back(self, keys, positions):
        return self.turn(keys, -positions)

    def move(self, keys, steps):
        return keys + torch.tensor([0, steps])


class Machine(RuleBasedStateMachine):
    chains = Bundle("chains")
    files = Bundle("files")

    def __init__(self):
        super().__init__()
        shape = Shape(layers=2, width=2, heads=1, key_heads=1, head=2, vocabulary=4, context=99)
        self.cache = KVCache(shape, blocks=BLOCKS, block=BLOCK, rotary=Sums())
        self.rows = {}  # chain -> what its rows are to hold: (value, how far it was shifted)
        self.said = {}  # the name of a block -> the tokens up to its end
        self.next = 10_000.0
        self.folder = tempfile.TemporaryDirectory()

    def teardown(self):
        for chain in self.rows:
            self.cache.free(chain)
        assert self.cache.table.free == BLOCKS
        self.folder.cleanup()

    def fresh(self, count):
        """Rows that nothing else holds."""
        values = [(self.next + number, 0.0) for number in range(count)]
        self.next += count
        tensor = torch.tensor(values).view(1, -1, 1, 2).expand(2, -1, 1, 2).clone()
        return values, Rows(tensor, -tensor)

    @rule(target=chains, given=tokens)
    def begin(self, given):
        chain = self.cache.chain(given)
        assert chain.length % BLOCK == 0 and chain.length <= len(given)
        self.rows[chain] = [(value(given[: at + 1]), 0.0) for at in range(chain.length)]
        return chain

    @rule(chains=st.lists(chains, min_size=1, max_size=3, unique=True), draw=st.data())
    def append(self, chains, draw):
        """Tokens of several sequences in one row, as the model runner has them."""
        segments = [Segment(chain, draw.draw(tokens)) for chain in chains]
        try:
            row = lay_out(self.cache, segments, None, torch.float32, compiled=False)
        except LimitError:
            # One that was copied for itself may stay so: what it holds is the same.
            assert all(len(one.blocks) == self.cache.blocks_for(one.length) for one in chains)
            return
        values = [one for segment in segments for one in self.behind(segment)]
        put = torch.tensor(values)[row.origins].view(-1, 1, 2)
        for layer in range(2):
            self.cache.write(layer, row.slots, Sums().turn(put, row.positions), -put)
        for segment in segments:
            self.rows[segment.chain] += self.behind(segment)
            self.cache.commit(segment.chain, segment.ids)
            given = segment.chain.tokens
            for number, name in enumerate(self.cache.names(given), 1):
                self.said[name] = given[: number * BLOCK]

    def behind(self, segment):
        """The rows that these tokens get; those of an edited chain are found by nobody."""
        chain, ids = segment.chain, segment.ids
        if chain.edited:
            return [(float(id + 20_000), 0.0) for id in ids]
        known = [*chain.tokens, *ids]
        return [(value(known[: at + 1]), 0.0) for at in range(chain.length, len(known))]

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

    @rule(chain=chains, draw=st.data())
    def write_rows(self, chain, draw):
        places = st.integers(0, max(0, chain.length - 1))
        index = draw.draw(st.lists(places, unique=True, max_size=chain.length))
        values, rows = self.fresh(len(index))
        try:
            self.cache.write_rows(chain, index, rows)
        except LimitError:
            return
        for at, one in zip(index, values):
            self.rows[chain][at] = one

    @rule(chain=chains, part=st.floats(0, 1), steps=st.integers(-9, 9))
    def shift(self, chain, part, steps):
        start = int(part * chain.length)
        try:
            self.cache.shift(chain, start, steps)
        except LimitError:
            return
        moved = [(one, by + steps) for one, by in self.rows[chain][start:]]
        self.rows[chain][start:] = moved

    @rule(target=files, chain=chains)
    def save(self, chain):
        path = Path(self.folder.name) / f"{self.next}.safetensors"
        self.next += 1
        save_chain(self.cache, chain, path, "weights")
        return path, list(self.rows[chain]), chain.edited, list(chain.tokens)

    @rule(target=chains, file=files)
    def load(self, file):
        path, rows, edited, tokens = file
        free = self.cache.table.free
        try:
            chain = load_chain(self.cache, path, "weights")
        except LimitError:
            assert self.cache.table.free == free
            return multiple()
        assert chain.edited == edited and (edited or chain.tokens == tokens)
        self.rows[chain] = list(rows)
        return chain

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
    def names_say_what_is_there(self):
        for chain in self.rows:
            names = self.cache.names(chain.tokens)
            assert chain.digests == names[: len(chain.digests)]
        for name, given in self.said.items():
            block = self.cache.table.find(name)
            if block is not None:
                expected = [[value(given[: at + 1]), at] for at in range(len(given))][-BLOCK:]
                held = self.cache.keys[1][block * BLOCK : (block + 1) * BLOCK, 0]
                assert held.tolist() == expected

    @invariant()
    def rows_hold_what_was_put(self):
        for chain, expected in self.rows.items():
            assert chain.length == len(expected) <= len(chain.blocks) * BLOCK
            rows = self.cache.slice(chain)
            for layer in range(2):
                assert [tuple(row) for row in rows.keys[layer, :, 0].tolist()] == expected
                assert rows.values[layer, :, 0, 0].tolist() == [-one for one, _ in expected]


TestCache = Machine.TestCase
TestCache.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
