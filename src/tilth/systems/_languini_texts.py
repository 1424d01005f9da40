"""The texts of the system `languini`: novels, those of some authors kept for the test."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tilth.data.sets import SetPath, Source, find_set
from tilth.errors import DataError
from tilth.store.digest import digest
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

# Characters of the documents from which the tokenizer learns.
TOKENIZER_CHARACTERS = 1_500_000
TEST_SHARE = 5
LEAST_DOCUMENTS = 8


class Texts(NamedTuple):
    train: TokenDocuments
    test: TokenDocuments
    sources: tuple[Source, ...] = ()


def split(texts: Sequence[str], characters: int, test_characters: int) -> tuple[list, list]:
    """(training, test): pieces from the middle of documents, every fifth document for the test.

    Which ones is a matter of their text, not of their order. Documents are never on both sides.
    """
    texts = sorted({text for text in texts if text.strip()}, key=digest)
    if len(texts) < LEAST_DOCUMENTS:
        raise DataError(
            f"{len(texts)} different documents with text; at least {LEAST_DOCUMENTS} are needed"
        )
    test, train = texts[::TEST_SHARE], [t for n, t in enumerate(texts) if n % TEST_SHARE]
    return [_middle(t, characters) for t in train], [_middle(t, test_characters) for t in test]


def _middle(text: str, size: int) -> str:
    start = max(0, (len(text) - size) // 2)
    return text[start : start + size]


def tokenized(
    texts: Sequence[str], vocabulary: int, characters: int, test_characters: int,
    sources: tuple[Source, ...] = (),
) -> Texts:  # fmt: skip
    """Tokens by a tokenizer that learned on the training side alone."""
    train, test = split(texts, characters, test_characters)
    share = max(1, TOKENIZER_CHARACTERS // len(train))
    tokenizer = bpe.train([text[:share] for text in train], vocabulary)
    sides = [
        TokenDocuments.of([f"{name} {n}" for n in range(len(side))], side, tokenizer)
        for name, side in (("train", train), ("test", test))
    ]
    return Texts(*sides, sources)


@functools.lru_cache(maxsize=1)
def named(vocabulary: int, characters: int, test_characters: int) -> Texts:
    """The English novels; read once for all seeds."""
    place = find_set("books_en")
    texts = [document.text for document in place.documents()]
    return tokenized(texts, vocabulary, characters, test_characters, place.sources)


def own(data: SetPath, vocabulary: int, characters: int, test_characters: int) -> Texts:
    texts = [document.text for document in data.documents()]
    return tokenized(texts, vocabulary, characters, test_characters)


@functools.lru_cache(maxsize=1)
def made(vocabulary: int) -> Texts:
    """Sentences over a made language, for the smoke test."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(2, 7))) for _ in range(60)]
    texts = [
        ". ".join(" ".join(rng.choices(words[n % 7 :], k=8)) for _ in range(6)) for n in range(40)
    ]
    return tokenized(texts, vocabulary, 10_000, 10_000)


def prepare(scale: str, data: Any, vocabulary: int, characters: int, test_characters: int) -> Texts:
    """The texts of a scale."""
    if scale == "smoke":
        return made(300)
    options = (vocabulary, characters, test_characters)
    return named(*options) if data is None else own(data, *options)
