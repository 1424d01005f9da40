import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilth.errors import DamagedError, DataError
from tilth.store.manifest import verify
from tilth.testing.faults import tree
from tilth.tokens import bpe
from tilth.tokens.blocks import TokenBlocks, write_blocks

TEXTS = [f"The court heard case {i} in {1900 + i}; naïve café {'x' * (i % 5)}.\n" for i in range(80)]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(TEXTS, 400)


@given(st.text(max_size=60))
@settings(max_examples=80, deadline=None)
def test_decoding_gives_back_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["<|end|>", "a<|end|>b", "\x00", "", " \n\t ", "١٢٣ 🙂‍🙃 ​"])
def test_a_special_token_is_never_read_from_text(tokenizer, text):
    ids = tokenizer.encode(text).ids
    assert 0 not in ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_training_is_the_same_in_another_process_with_other_threads(tokenizer, tmp_path):
    program = (
        "import json, sys\n"
        "from tilth.tokens import bpe\n"
        "print(bpe.train(json.load(sys.stdin), 400).to_str())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(TEXTS), capture_output=True, text=True,
        env={"RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    assert json.loads(done.stdout) == json.loads(tokenizer.to_str()), done.stderr


def test_a_saved_tokenizer_loads_here_and_in_transformers(tokenizer, tmp_path):
    bpe.save(tokenizer, tmp_path)
    verify(tmp_path)
    text = "case 17 <|end|> café"
    ids = tokenizer.encode(text).ids
    assert bpe.load(tmp_path).encode(text).ids == ids
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(text, add_special_tokens=False)["input_ids"] == ids
    assert loaded.eos_token == bpe.END
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DamagedError):
        bpe.load(tmp_path)
    with pytest.raises(DataError):
        bpe.load(tmp_path / "none")


def test_bad_training_is_refused():
    with pytest.raises(DataError, match="257"):
        bpe.train(TEXTS, 100)
    with pytest.raises(DataError, match="no text"):
        bpe.train(["", ""], 300)


def test_fertility_falls_with_training(tokenizer):
    assert bpe.fertility(tokenizer, TEXTS) < bpe.fertility(bpe.train(TEXTS, 257), TEXTS) == 1.0


def blocks_of(texts, size=13):
    for start in range(0, len(texts), size):
        part = texts[start : start + size]
        yield f"block{start:03}", [f"id{start + i}" for i in range(len(part))], part


def test_blocks_hold_every_token_of_every_document(tokenizer, tmp_path):
    texts = [*TEXTS, "", "end"]
    made = write_blocks(tmp_path, blocks_of(texts), tokenizer)
    again = TokenBlocks.open(tmp_path)
    assert len(again) == len(texts) and again.ids == [f"id{i}" for i in range(len(texts))]
    expected = [tokenizer.encode(text).ids for text in texts]
    assert [again.document(i).tolist() for i in range(len(texts))] == expected
    flat, offsets = again.flat()
    assert flat.tolist() == [token for ids in expected for token in ids]
    assert made.total_tokens == offsets[-1] == len(flat)
    assert again.total_bytes == sum(len(text.encode()) for text in texts) == again.bytes.sum()
    some, places = again.flat(limit=100)
    assert len(some) == places[-1] <= 100 and np.array_equal(some, flat[: len(some)])


def test_finished_blocks_are_used_again_and_stale_ones_go(tokenizer, tmp_path):
    write_blocks(tmp_path, blocks_of(TEXTS), tokenizer)
    before, times = tree(tmp_path), {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.arrow")}
    write_blocks(tmp_path, blocks_of(TEXTS), tokenizer)
    assert tree(tmp_path) == before
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.arrow")} == times
    write_blocks(tmp_path, blocks_of(TEXTS[:20]), tokenizer)
    assert len(list(tmp_path.glob("*.arrow"))) == 2 and len(TokenBlocks.open(tmp_path)) == 20
    with pytest.raises(DataError):
        TokenBlocks.open(tmp_path / "none")
