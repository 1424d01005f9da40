"""The texts of the system `retro`: novels, terms of service, and made facts with known truth.

A fact, a code of words that belongs to a number, is told twice: in a sheet that lies in the
database only, and in a sentence. Sentences of some numbers are trained on, so that a model can
learn to look; those of others are the test, and what they say was never trained on.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tilth.data.sets import SetPath, Source, find_set, open_set
from tilth.errors import DataError
from tilth.retrieval.chunks import ChunkDatabase, Lookups
from tilth.store.digest import digest
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

CODE, CODES = 7, 24
LEAST_DOCUMENTS = 10
TEST_SHARE = 5


class Fact(NamedTuple):
    """A code of `CODE` words that belongs to a number."""

    number: str
    code: tuple[str, ...]

    def sheet(self) -> str:
        return f" {self.number}: {' '.join(self.code)}"

    def parts(self) -> tuple[str, tuple[tuple[str, bool], ...]]:
        """What introduces the number, and the sentence in parts: (text, is it an answer)."""
        answers = tuple((f" {word}", True) for word in self.code)
        return f" {self.number}.", (*answers, (".", False))


@dataclass(frozen=True)
class Inputs:
    """Documents with neighbours. `answers`: of each told fact, which of its tokens are answers.

    `real` are the test documents, `kept` the same with near-duplicates among their neighbours;
    `kinds` says what each is. `lookups` counts what the look-up of training found.
    """

    train: TokenDocuments
    real: TokenDocuments
    kept: TokenDocuments
    kinds: list[str]
    facts: TokenDocuments
    answers: list[np.ndarray]
    database: ChunkDatabase
    lookups: Lookups
    chunk: int
    length: int
    options: dict[str, Any] = field(default_factory=dict)


def words(tokenizer: Any) -> list[str]:
    """Words of letters that are one token, so that an answer is one choice among like ones."""
    known = sorted(tokenizer.get_vocab(), key=digest)
    whole = [word[1:] for word in known if word[0] == "\u0120" and word[1:].isalpha()]
    found = [word for word in whole if len(word) > 2 and word.islower()]
    if len(found) < 8:
        raise DataError("the tokenizer has few whole words; a larger vocabulary is needed")
    return found


def facts_of(tokenizer: Any, count: int, seed: int) -> list[Fact]:
    """`count` facts about different numbers, all of as many tokens."""
    rng = random.Random(f"facts {seed}")
    codes = words(tokenizer)[:CODES]
    numbers = ["".join(digits) for digits in itertools.product("2345679", repeat=5)]
    sizes = [len(ids) for ids in bpe.encode(tokenizer, [f" {number}." for number in numbers])]
    usual = max(set(sizes), key=sizes.count)
    like = [number for number, size in zip(numbers, sizes) if size == usual]
    if len(like) < count:
        raise DataError(f"{len(like)} numbers of {usual} tokens for {count} facts")
    return [Fact(one, tuple(rng.choices(codes, k=CODE))) for one in rng.sample(like, count)]


def told(
    facts: Sequence[Fact], tokenizer: Any, end: int, chunk: int, each: int = 1
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(tokens, which are answers) of texts that tell `each` facts.

    End tokens before an introduction make it end with a chunk: a look-up for that chunk has the
    number, and comes before the first answer.
    """
    rows, answers = [], []
    for start in range(0, len(facts), each):
        ids: list[int] = []
        asked: list[bool] = []
        for fact in facts[start : start + each]:
            first, parts = fact.parts()
            intro = bpe.encode(tokenizer, [first])[0]
            ids += [end] * (-(len(ids) + len(intro)) % chunk) + intro
            asked += [False] * (len(ids) - len(asked))
            for text, is_answer in parts:
                piece = bpe.encode(tokenizer, [text])[0]
                ids += piece
                asked += [is_answer] * len(piece)
        rows.append(np.array(ids, np.uint32))
        answers.append(np.array(asked))
    return rows, answers


def divide(texts: Sequence[str], size: int, test_size: int) -> tuple[list[str], list[str]]:
    """(training, test): pieces of documents, every fifth document for the test, by digest."""
    texts = sorted({text for text in texts if text.strip()}, key=digest)
    if len(texts) < LEAST_DOCUMENTS:
        raise DataError(
            f"{len(texts)} different documents with text; at least {LEAST_DOCUMENTS} are needed"
        )
    train = [text for n, text in enumerate(texts) if n % TEST_SHARE]
    return [t[:size] for t in train], [t[:test_size] for t in texts[::TEST_SHARE]]


def assemble(
    kinds: dict[str, tuple[list[str], list[str]]], *, vocabulary: int, chunk: int, length: int,
    facts_trained: int, facts_tested: int, neighbours: int,
) -> Inputs:  # fmt: skip
    """Tokens, the database, neighbours of everything. Nothing of the test is in the database."""
    train = [text for side, _ in kinds.values() for text in side]
    tests = [(kind, text) for kind, (_, side) in kinds.items() for text in side]
    tokenizer = bpe.train(train, vocabulary)
    end, size = bpe.end_id(tokenizer), tokenizer.get_vocab_size()
    facts = facts_of(tokenizer, facts_trained + facts_tested, 0)
    known, new = facts[:facts_trained], facts[facts_trained:]
    sheets = TokenDocuments.of([f"sheet {f.number}" for f in facts], [f.sheet() for f in facts],
                               tokenizer)  # fmt: skip
    texts = TokenDocuments.of([f"train {n}" for n in range(len(train))], train, tokenizer)
    stored = TokenDocuments(texts.ids + sheets.ids, texts.tokens + sheets.tokens, size, end)
    database = ChunkDatabase(stored, tokenizer, chunk=chunk)
    rows, _ = told(known, tokenizer, end, chunk, each=length // (2 * chunk))
    learned = TokenDocuments(
        texts.ids + [f"told {n}" for n in range(len(rows))], texts.tokens + rows, size, end
    )
    counts = Lookups()
    held = TokenDocuments.of([f"test {n}" for n in range(len(tests))], [t for _, t in tests],
                             tokenizer)  # fmt: skip
    # The first token of a document is no target: its bytes do not count.
    held.sizes = [
        len(bpe.decode(tokenizer, row[1:].tolist()).encode("utf-8")) for row in held.tokens
    ]
    asked, answers = told(new, tokenizer, end, chunk)
    questions = TokenDocuments([f"asked {n}" for n in range(len(new))], asked, size, end)
    return Inputs(
        train=database.neighbours(learned, neighbours, counts=counts),
        real=database.neighbours(held, neighbours),
        kept=database.neighbours(held, neighbours, shared=0),
        kinds=[kind for kind, _ in tests],
        facts=database.neighbours(questions, neighbours),
        answers=answers,
        database=database,
        lookups=counts,
        chunk=chunk,
        length=length,
    )


@functools.lru_cache(maxsize=1)
def named(vocabulary: int, chunk: int, length: int, characters: int) -> tuple[Inputs, tuple]:
    """Novels and terms of service, about `characters` of each to train on; read once."""
    books, terms = find_set("books_en"), open_set("legal_terms")
    novels = [document.text[len(document.text) // 2 :] for document in books.documents()]
    clauses = terms.table["text"].to_pylist()
    kinds = {}
    for name, texts in (("novels", novels), ("terms", clauses)):
        share = characters // (len(texts) * (TEST_SHARE - 1) // TEST_SHARE)
        kinds[name] = divide(texts, share, 3000)
    made = assemble(kinds, vocabulary=vocabulary, chunk=chunk, length=length, facts_trained=6000,
                    facts_tested=200, neighbours=1)  # fmt: skip
    return made, (*books.sources, *terms.sources)


def own(data: SetPath, vocabulary: int, chunk: int, length: int, characters: int) -> Inputs:
    """A user's documents in place of the novels and the terms."""
    texts = [document.text for document in data.documents()]
    train, test = divide(texts, max(200, characters // max(1, len(texts))), 3000)
    return assemble({"documents": (train, test)}, vocabulary=vocabulary, chunk=chunk,
                    length=length, facts_trained=6000, facts_tested=200,
                    neighbours=1)  # fmt: skip


@functools.lru_cache(maxsize=1)
def made() -> Inputs:
    """A made language and few facts, for the smoke test."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(3, 5))) for _ in range(40)]
    texts = [". ".join(" ".join(rng.choices(words[n:], k=8)) for _ in range(5)) for n in range(15)]
    return assemble({"made": divide(texts, 300, 160)}, vocabulary=380, chunk=8, length=32,
                    facts_trained=20, facts_tested=8, neighbours=1)  # fmt: skip


def prepare(
    scale: str, data: Any, vocabulary: int, chunk: int, length: int, characters: int
) -> tuple[Inputs, tuple[Source, ...]]:
    if scale == "smoke":
        return made(), ()
    options = (vocabulary, chunk, length, characters)
    return named(*options) if data is None else (own(data, *options), ())
