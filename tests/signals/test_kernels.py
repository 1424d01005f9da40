"""The counts of the kernels against plain Python over characters."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tilth.signals.kernels import BULLETS
from tilth.signals.length import Length
from tilth.signals.repetition import Repetition
from tilth.signals.symbols import Symbols
from tilth.testing import strategies
from tilth.testing.hostile import TEXTS


def batch_of(texts: list[str], kind: pa.DataType | None = None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(texts, kind or pa.large_string())], ["text"])


def is_space(character: str) -> bool:
    return unicodedata.category(character)[0] == "Z" or character in "\t\n\x0b\x0c\r\x85"


def words_of(text: str) -> list[str]:
    words, word = [], ""
    for character in text + "\n":
        major = unicodedata.category(character)[0]
        if major in "LN" or (word and major == "M"):
            word += character
        elif word:
            words.append(word)
            word = ""
    return words


def lines_of(text: str) -> list[str]:
    """Lines without white space at both ends, "" for blank ones."""
    stripped = []
    for line in text.split("\n"):
        visible = [place for place, c in enumerate(line) if not is_space(c)]
        stripped.append(line[visible[0] : visible[-1] + 1] if visible else "")
    return stripped


def size(text: str) -> int:
    return len(text.encode())


def plain_length(text: str) -> dict[str, float | None]:
    lines = text.split("\n")
    words = words_of(text)
    return {
        "bytes": size(text),
        "characters": len(text),
        "words": len(words),
        "lines": len(lines) - (lines[-1] == ""),
        "longest_line": max(map(len, lines)),
        "mean_word_length": sum(map(len, words)) / len(words) if words else None,
    }


def plain_symbols(text: str) -> dict[str, float | None]:
    visible = [c for c in text if not is_space(c)]
    category = [unicodedata.category(c) for c in visible]
    letters = sum(c[0] == "L" for c in category)
    lines = [line for line in lines_of(text) if line]
    raw = [line for line in text.split("\n") if any(not is_space(c) for c in line)]
    words = len(words_of(text))
    bullets = 0
    for line in raw:
        first = next(place for place, c in enumerate(line) if not is_space(c))
        bullets += line[first] in BULLETS or re.match("[-*][ \t]", line[first:]) is not None
    ellipses = len(re.findall(r"\.{3,}|\u2026", text))
    return {
        "alphabetic_share": sum(c[0] in "LM" for c in category) / max(1, len(visible)),
        "digit_share": sum(c[0] == "N" for c in category) / max(1, len(visible)),
        "uppercase_share": sum(c in ("Lu", "Lt") for c in category) / max(1, letters),
        "damaged_share": sum(k == "Cc" or c == "\ufffd" for c, k in zip(visible, category))
        / max(1, len(visible)),
        "symbol_to_word_ratio": max(text.count("#"), ellipses) / words if words else None,
        "bullet_line_share": bullets / max(1, len(lines)),
        "ellipsis_line_share": sum(line.endswith(("...", "\u2026")) for line in lines)
        / max(1, len(lines)),
    }


def repeated(items: list[str]) -> list[str]:
    seen: set[str] = set()
    return [item for item in items if item in seen or seen.add(item)]


def plain_repetition(text: str) -> dict[str, float]:
    lines = [line for line in lines_of(text) if line]
    blocks = [block.strip("\n") for block in re.split("\n\n+", "\n".join(lines_of(text)))]
    blocks = [block for block in blocks if block]
    line_bytes = max(1, sum(map(size, lines)))
    words = words_of(text)
    word_bytes = max(1, sum(map(size, words)))
    result = {
        "duplicate_line_share": len(repeated(lines)) / max(1, len(lines)),
        "duplicate_line_bytes_share": sum(map(size, repeated(lines))) / line_bytes,
        "duplicate_paragraph_share": len(repeated(blocks)) / max(1, len(blocks)),
        "duplicate_paragraph_bytes_share": sum(size(b.replace("\n", "")) for b in repeated(blocks))
        / line_bytes,
    }
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        inside: set[int] = set()
        if n <= 4:
            counts = Counter(grams)
            often = max(counts.values(), default=0)
            ranked = [gram for gram in counts if counts[gram] == often]
            best = max(ranked, key=lambda gram: size("".join(gram))) if often > 1 else None
            places = [i for i, gram in enumerate(grams) if gram == best]
        else:
            seen = set()
            places = [i for i, gram in enumerate(grams) if gram in seen or seen.add(gram)]
        for place in places:
            inside.update(range(place, place + n))
        name = f"top_{n}gram" if n <= 4 else f"duplicate_{n}gram"
        result[f"{name}_bytes_share"] = sum(size(words[i]) for i in inside) / word_bytes
    return result


CASES = [(Length(), plain_length), (Symbols(), plain_symbols), (Repetition(), plain_repetition)]


def compare(texts: list[str]) -> None:
    for signal, plain in CASES:
        found = signal.measure(batch_of(texts)).to_pylist()
        for text, row in zip(texts, found, strict=True):
            expected = plain(text)
            assert set(expected) == set(signal.columns)
            for name, value in row.items():
                assert value == pytest.approx(expected[name], abs=1e-12), (name, text)


def test_hostile_texts() -> None:
    compare(list(TEXTS))


@settings(max_examples=60, deadline=None)
@given(strategies.texts())
def test_any_text(text: str) -> None:
    compare([text])


def test_repeated_words_against_plain_python() -> None:
    random = np.random.default_rng(0)
    vocabulary = ["ab", "c", "d\u00e9f", "\u0448", "gh"]
    texts = []
    for size_of_text in (1, 2, 9, 10, 11, 50, 400):
        chosen = random.choice(vocabulary, size_of_text, p=[0.4, 0.3, 0.1, 0.1, 0.1])
        gaps = random.choice([" ", "\n", "\n\n", ", "], size_of_text)
        texts.append("".join(word + gap for word, gap in zip(chosen, gaps)))
    compare(texts)


def test_known_values() -> None:
    row = Repetition().measure(batch_of(["x y. " * 50])).to_pylist()[0]
    assert row["top_2gram_bytes_share"] == 1.0
    assert row["duplicate_10gram_bytes_share"] == pytest.approx(0.98)
    row = Symbols().measure(batch_of(["# ab\n- c...\n"])).to_pylist()[0]
    assert row["symbol_to_word_ratio"] == 0.5
    assert row["bullet_line_share"] == row["ellipsis_line_share"] == 0.5
    row = Length().measure(batch_of([""])).to_pylist()[0]
    assert row["lines"] == row["words"] == 0 and row["mean_word_length"] is None


def test_slices_string_columns_and_nulls() -> None:
    texts = ["first text", "second \u00e9 text here", "third"]
    whole = batch_of(texts)
    for signal, _ in CASES:
        expected = signal.measure(whole)
        assert signal.measure(whole.slice(1, 1)).equals(expected.slice(1, 1))
        assert signal.measure(batch_of(texts, pa.string())).equals(expected)
    nulls = Length().measure(batch_of([None, "a"]))
    assert nulls.column("bytes").to_pylist() == [0, 1]
