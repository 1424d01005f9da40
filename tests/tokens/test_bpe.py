import hashlib
import itertools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings

from tilth.errors import DamagedError, DataError, UsageError
from tilth.store.manifest import verify
from tilth.testing import hostile
from tilth.testing.strategies import texts
from tilth.tokens import bpe

WORDS = "the quick brown fox jumps over the lazy dog and the other quick foxes 1984 times"
TEXTS = [f"{WORDS} {number} \u00e9t\u00e9 \u4e2d\u6587 {WORDS[number:]}" for number in range(40)]


@pytest.fixture(scope="module")
def tokenizer():
    return bpe.train(TEXTS, 400)


@given(texts())
@settings(max_examples=150, deadline=None)
def test_every_text_comes_back(tokenizer, text):
    ids = bpe.encode(tokenizer, [text])[0]
    assert bpe.decode(tokenizer, ids) == text
    assert bpe.end_id(tokenizer) not in ids


def test_a_line_of_a_megabyte_comes_back(tokenizer):
    ids = bpe.encode(tokenizer, [hostile.LONG_LINE])[0]
    assert bpe.decode(tokenizer, ids) == hostile.LONG_LINE


def test_the_end_token_is_never_made_from_text(tokenizer):
    text = f"a{bpe.END}b {bpe.END}"
    ids = bpe.encode(tokenizer, [text])[0]
    assert 0 not in ids and bpe.decode(tokenizer, ids) == text
    assert bpe.decode(tokenizer, [0, *ids, 0]) == text


def brute_force_merges(words, count):
    """Merge the most frequent pair; equal counts are broken by the smaller pair of ids."""
    words = {tuple(word): number for word, number in words.items()}
    ids = {symbol: number for number, symbol in enumerate(sorted({s for w in words for s in w}))}
    merges = []
    while len(merges) < count:
        pairs = {}
        for word, number in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] = pairs.get(pair, 0) + number
        best = min(pairs, key=lambda pair: (-pairs[pair], ids[pair[0]], ids[pair[1]]))
        if pairs[best] < 2:
            break
        merges.append(best)
        ids["".join(best)] = len(ids)
        changed = {}
        for word, number in words.items():
            made = []
            for symbol in word:
                if made and (made[-1], symbol) == best and made[-1] is not None:
                    made[-1] = "".join(best)
                else:
                    made.append(symbol)
            changed[tuple(made)] = changed.get(tuple(made), 0) + number
        words = changed
    return merges


def test_merges_are_those_of_the_definition():
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3, "slow": 4}
    text = "\n".join(word for word, number in counts.items() for _ in range(number))
    made = json.loads(bpe.train([text], 257 + 8).to_str())["model"]["merges"]
    # Line ends are words of one byte and give no pair.
    assert [tuple(merge) for merge in made] == brute_force_merges(counts, 8)


def test_the_same_texts_give_the_same_bytes_in_any_order_and_process(tokenizer):
    expected = tokenizer.to_str()
    assert bpe.train(TEXTS, 400).to_str() == expected
    assert bpe.train(reversed(TEXTS), 400).to_str() == expected
    program = (
        "import hashlib, sys\n"
        "from tilth.tokens import bpe\n"
        "texts = sys.stdin.buffer.read().decode().split(chr(0))\n"
        "print(hashlib.sha256(bpe.train(texts, 400).to_str().encode()).hexdigest())\n"
    )
    for threads in ("1", "3"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input="\0".join(TEXTS).encode(),
            capture_output=True,
            env={**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
        )
        assert done.returncode == 0, done.stderr
        digest = hashlib.sha256(expected.encode()).hexdigest()
        assert done.stdout.decode().strip() == digest


def test_a_saved_tokenizer_is_loaded_by_transformers_too(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    bpe.save(tokenizer, tmp_path / "a")
    bpe.save(bpe.load(tmp_path / "a"), tmp_path / "b")
    verify(tmp_path / "a")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    theirs = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert theirs.eos_token == bpe.END and theirs.eos_token_id == bpe.end_id(tokenizer)
    for text in (*TEXTS[:3], *hostile.TEXTS[:20], f"x {bpe.END} y ."):
        ids = bpe.encode(tokenizer, [text])[0]
        assert bpe.encode(bpe.load(tmp_path / "b"), [text])[0] == ids
        assert theirs(text)["input_ids"] == ids
        assert theirs.decode(ids) == text


def test_digits_alone():
    tokenizer = bpe.train(["1984 1984 1984 year 1984"] * 9, 300, single_digits=True)
    text = "in 1984, 19 of 84"
    shown = [bpe.decode(tokenizer, [token]) for token in bpe.encode(tokenizer, [text])[0]]
    assert "".join(shown) == text
    assert all(len(piece) == 1 for piece in shown if any(sign.isdigit() for sign in piece))


def test_fertility_counts_tokens_per_byte(tokenizer):
    assert bpe.fertility(tokenizer, ["\u4e2d"]) < bpe.fertility(tokenizer, ["\u05d0"]) == 1.0
    assert bpe.fertility(tokenizer, [WORDS]) < 0.5
    assert bpe.fertility(tokenizer, [""]) != bpe.fertility(tokenizer, [""])


def test_mistakes_are_named(tokenizer, tmp_path):
    with pytest.raises(UsageError, match="256 bytes"):
        bpe.train(TEXTS, 200)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        bpe.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{broken")
    with pytest.raises(DamagedError, match="not a tokenizer"):
        bpe.load(tmp_path)
