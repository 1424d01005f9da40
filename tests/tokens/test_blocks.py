import itertools

import numpy as np
import pytest

from tilth.errors import DamagedError, DataError, UsageError
from tilth.store import write
from tilth.store.manifest import verify
from tilth.testing import hostile
from tilth.testing.faults import count_moments, tree
from tilth.tokens import bpe
from tilth.tokens.blocks import OPEN_BLOCKS, TokenBlocks, write_blocks
from tilth.tokens.documents import TokenDocuments

TEXTS = [*hostile.TEXTS, *(f"document number {number} " * number for number in range(30))]
IDS = [f"id{number}" for number in range(len(TEXTS))]
CUTS = [0, 7, 7, 30, len(TEXTS)]
BLOCKS = [(f"b{n}", IDS[a:b], TEXTS[a:b]) for n, (a, b) in enumerate(itertools.pairwise(CUTS))]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(TEXTS, 300)


@pytest.fixture(scope="module")
def blocks(tokenizer, tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("tokens"), BLOCKS, tokenizer)


def test_documents_are_those_of_the_tokenizer(blocks, tokenizer):
    expected = bpe.encode(tokenizer, TEXTS)
    assert len(blocks) == len(TEXTS) and blocks.ids == IDS
    assert [blocks.document(number).tolist() for number in range(len(blocks))] == expected
    assert blocks.lengths.tolist() == [len(row) for row in expected]
    assert blocks.total_tokens == sum(blocks.lengths)
    assert blocks.text_bytes.tolist() == [len(text.encode()) for text in TEXTS]
    assert blocks.total_bytes == sum(blocks.text_bytes)
    tokens, offsets = blocks.flat()
    assert tokens.dtype == np.uint16 and offsets.dtype == np.int64
    assert [tokens[a:b].tolist() for a, b in itertools.pairwise(offsets)] == expected
    assert "".join(bpe.decode(tokenizer, row) for row in np.split(tokens, offsets[1:-1])) == (
        "".join(TEXTS)
    )


def test_a_selection_keeps_its_order(blocks, tokenizer):
    chosen = blocks.select([40, 3, 3])
    memory = TokenDocuments.of(IDS, TEXTS, tokenizer)
    assert chosen.ids == ["id40", "id3", "id3"] and chosen.end == blocks.end == memory.end
    for number, row in zip([40, 3, 3], chosen.tokens):
        assert row.tolist() == memory.document(number).tolist()
        assert not row.flags.writeable
    assert chosen.text_bytes.tolist() == memory.text_bytes[[40, 3, 3]].tolist()
    with pytest.raises(IndexError):
        blocks.document(len(blocks))


class Killed(BaseException):
    pass


def test_killed_at_any_write_it_goes_on_to_the_same_bytes(tokenizer, tmp_path, monkeypatch):
    blocks = BLOCKS[:2]

    # In this process: a forked child may not use the tokenizer's threads. A part of the blocks,
    # of a former state, lies in the folder already and must not be taken for the new ones.
    def old(folder):
        write_blocks(folder, [("b0", ["x"], ["former"]), ("gone", ["y"], ["z"])], tokenizer)

    def work(folder):
        write_blocks(folder, blocks, tokenizer)

    old(tmp_path / "whole")
    moments = count_moments(lambda: work(tmp_path / "whole"))
    expected = tree(tmp_path / "whole")
    assert not any("gone" in name for name in expected)
    assert len(moments) > 4 * 2 * len(blocks)
    for strike in range(len(moments)):
        folder = tmp_path / str(strike)
        old(folder)
        seen = 0

        def fault(moment, path, strike=strike):
            nonlocal seen
            seen += 1
            if seen == strike + 1:
                raise Killed

        monkeypatch.setattr(write, "fault", fault)
        with pytest.raises(Killed):
            work(folder)
        monkeypatch.setattr(write, "fault", None)
        if (folder / "manifest.json").exists():
            verify(folder)
        (folder / "blocks" / "b1.arrow.tmp-1").write_bytes(b"left by a killed process")
        work(folder)
        assert tree(folder) == expected


def test_unchanged_blocks_are_not_made_again(tokenizer, tmp_path):
    write_blocks(tmp_path, BLOCKS, tokenizer)
    before = tree(tmp_path)
    assert count_moments(lambda: write_blocks(tmp_path, BLOCKS, tokenizer)) == []
    changed = [*BLOCKS[:3], ("b3", BLOCKS[3][1], [*BLOCKS[3][2][:-1], "another"])]
    names = {name for _, name in count_moments(lambda: write_blocks(tmp_path, changed, tokenizer))}
    assert names == {"b3.arrow", "b3.json", "manifest.json"}
    other = bpe.train(TEXTS, 290)
    names = {name for _, name in count_moments(lambda: write_blocks(tmp_path, BLOCKS, other))}
    assert {"b0.arrow", "b1.arrow", "b2.arrow", "b3.arrow"} <= names
    write_blocks(tmp_path, BLOCKS, tokenizer)
    assert tree(tmp_path) == before


def test_many_blocks_few_of_them_open(tokenizer, tmp_path):
    count = OPEN_BLOCKS + 10
    made = write_blocks(
        tmp_path, ((f"n{i}", [str(i)], [f"text {i}"]) for i in range(count)), tokenizer
    )
    for number in (*range(count), 0):
        assert bpe.decode(tokenizer, made.document(number)) == f"text {number}"
    assert len(made._open) <= OPEN_BLOCKS


def test_nothing_is_a_data_set_too(tokenizer, tmp_path):
    made = write_blocks(tmp_path, [], tokenizer)
    tokens, offsets = made.flat()
    assert len(made) == made.total_tokens == len(tokens) == len(made.ids) == 0
    assert offsets.tolist() == [0]


def test_mistakes_and_damage_are_named(tokenizer, tmp_path):
    for wrong in ([("../up", [], [])], [BLOCKS[0], BLOCKS[0]], [("a", ["x"], [])]):
        with pytest.raises(UsageError):
            write_blocks(tmp_path / "wrong", wrong, tokenizer)
    with pytest.raises(DamagedError, match="unfinished"):
        TokenBlocks.open(tmp_path / "wrong")
    bpe.save(tokenizer, tmp_path / "tokenizer")
    with pytest.raises(DataError, match="no token blocks"):
        TokenBlocks.open(tmp_path / "tokenizer")
    write_blocks(tmp_path / "made", BLOCKS, tokenizer)
    (tmp_path / "made" / "blocks" / "b0.arrow").write_bytes(b"short")
    with pytest.raises(DamagedError, match="manifest"):
        TokenBlocks.open(tmp_path / "made").document(0)
