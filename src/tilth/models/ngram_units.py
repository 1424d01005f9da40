"""What an n-gram scorer counts: bytes, characters, words or the tokens of a tokenizer.

Each unit cuts a text into pieces that spell it out whole, and numbers them. Bytes and byte-level
tokenizers know every text. Characters and words know those they were fitted on; for all others
they reserve one id, the unknown, which training never sees (as `lmplz` has it), and the scorer
adds the bits that spell the unknown piece out, so that bits stay comparable between units:
a character is uniform over the Unicode characters that are left, a word uniform over bytes and
a stop. A tokenizer that drops or replaces text makes its bits too few; take one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError, UsageError, nearest
from tilth.store.write import read_json, write_json, write_text

CHARACTERS = 0x110000 - 0x800  # Unicode's code points without the surrogates
# A word takes the blank before it along, so the pieces of a text put together are the text.
WORD = re.compile(r" ?\w+| ?[^\w\s]+|\s+")
ENCODED_AT_ONCE = 1 << 20  # characters; a tokenizer's answers take 100 times the memory of text


@dataclass(frozen=True)
class Encoded:
    """Texts as sequences `tokens[offsets[i]:offsets[i + 1]]`; bits that spell out unknown ones."""

    tokens: np.ndarray
    offsets: np.ndarray
    spelling: np.ndarray

    @classmethod
    def of(cls, pieces: Sequence[np.ndarray], spelling: Sequence[float] | None = None) -> Encoded:
        offsets = np.zeros(len(pieces) + 1, np.int64)
        np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
        tokens = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        if spelling is None:
            return cls(tokens, offsets, np.zeros(len(pieces)))
        return cls(tokens, offsets, np.array(spelling, np.float64))


class Bytes:
    """The bytes of UTF-8."""

    vocabulary = 256

    def fit(self, texts: Sequence[str]) -> None:
        pass

    def encode(self, texts: Sequence[str]) -> Encoded:
        return Encoded.of([np.frombuffer(text.encode(), np.uint8) for text in texts])

    def save(self, folder: Path) -> list[str]:
        return []

    def load(self, folder: Path) -> None:
        pass


class Characters:
    """Unicode code points; the last id is the unknown."""

    def __init__(self) -> None:
        self.symbols = np.empty(0, np.uint32)  # sorted code points

    @property
    def vocabulary(self) -> int:
        return len(self.symbols) + 1

    def fit(self, texts: Sequence[str]) -> None:
        self.symbols = np.unique(
            np.concatenate([np.empty(0, np.uint32), *(np.unique(_points(t)) for t in texts)])
        )

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces, spelling = [], []
        bits = np.log2(max(1, CHARACTERS - len(self.symbols)))
        ends = np.append(self.symbols, np.uint32(0xFFFFFFFF))
        for text in texts:
            points = _points(text)
            numbers = np.searchsorted(self.symbols, points).astype(np.int32)
            unknown = ends[numbers] != points
            numbers[unknown] = len(self.symbols)
            pieces.append(numbers)
            spelling.append(bits * np.count_nonzero(unknown))
        return Encoded.of(pieces, spelling)

    def save(self, folder: Path) -> list[str]:
        write_json(folder / "symbols.json", self.symbols.tolist())
        return ["symbols.json"]

    def load(self, folder: Path) -> None:
        self.symbols = np.array(read_json(folder / "symbols.json"), np.uint32)


class Words:
    """Runs of letters and digits, or of marks, each with the blank before it; other white space.

    The last id is the unknown. For languages that write no spaces take characters.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    @property
    def vocabulary(self) -> int:
        return len(self.numbers) + 1

    def fit(self, texts: Sequence[str]) -> None:
        known = {word for text in texts for word in WORD.findall(text)}
        self.numbers = {word: number for number, word in enumerate(sorted(known))}

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces, spelling = [], []
        unknown = len(self.numbers)
        for text in texts:
            words = WORD.findall(text)
            numbers = np.fromiter((self.numbers.get(w, unknown) for w in words), np.int32)
            strange = (words[i] for i in np.flatnonzero(numbers == unknown))
            spelling.append(sum((len(word.encode()) + 1) * np.log2(257) for word in strange))
            pieces.append(numbers)
        return Encoded.of(pieces, spelling)

    def save(self, folder: Path) -> list[str]:
        write_json(folder / "symbols.json", list(self.numbers))
        return ["symbols.json"]

    def load(self, folder: Path) -> None:
        words = read_json(folder / "symbols.json")
        self.numbers = {word: number for number, word in enumerate(words)}


class Tokens:
    """The tokens of a `tokenizers.Tokenizer`, or of anything with its `encode_batch`.

    Needed: `encode_batch(texts, add_special_tokens=False)`, whose items have `ids`, and
    `get_vocab_size()`; to save, `to_str()`.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @property
    def vocabulary(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def fit(self, texts: Sequence[str]) -> None:
        pass

    def encode(self, texts: Sequence[str]) -> Encoded:
        pieces = [
            np.array(encoding.ids, np.int32)
            for some in batches(texts, ENCODED_AT_ONCE)
            for encoding in self.tokenizer.encode_batch(some, add_special_tokens=False)
        ]
        return Encoded.of(pieces)

    def save(self, folder: Path) -> list[str]:
        write_text(folder / "tokenizer.json", self.tokenizer.to_str())
        return ["tokenizer.json"]

    def load(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_str(path.read_text("utf-8"))
        except Exception as error:  # the library raises nothing narrower
            raise DamagedError(f"not a tokenizer: {error}", where=str(path)) from None


UNITS = {"bytes": Bytes, "characters": Characters, "words": Words}


def unit_named(name: str, tokenizer: Any = None) -> Bytes | Characters | Words | Tokens:
    """A new, unfitted unit. Raises UsageError for an unknown name or a tokenizer out of place."""
    if name == "tokens":
        return Tokens(tokenizer)
    if name not in UNITS:
        raise UsageError(f"no unit is called {name!r}", hint=nearest(name, [*UNITS, "tokens"]))
    if tokenizer is not None:
        raise UsageError(f"the unit {name!r} takes no tokenizer", hint="did you mean 'tokens'?")
    return UNITS[name]()


def batches(texts: Sequence[str], characters: int) -> Iterator[Sequence[str]]:
    """Consecutive texts, so many at once that only the last goes beyond `characters`."""
    start, size = 0, 0
    for i, text in enumerate(texts, start=1):
        size += len(text)
        if size >= characters or i == len(texts):
            yield texts[start:i]
            start, size = i, 0


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
