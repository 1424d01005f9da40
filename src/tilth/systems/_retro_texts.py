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
from tilth.systems._rates import Chosen
from tilth.systems._retro_sides import Sides, divide
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments

CODE, CODES = 7, 24
FACTS_TRAINED, FACTS_TESTED, TEST_CHARACTERS = 6000, 200, 3000


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
    `kinds` says what each is, `tuning` chooses rates. `near_copies` of held-out texts were left
    out. `lookups` counts what the look-up of training found.
    """

    train: TokenDocuments
    tuning: TokenDocuments
    real: TokenDocuments
    kept: TokenDocuments
    kinds: list[str]
    facts: TokenDocuments
    answers: list[np.ndarray]
    database: ChunkDatabase
    lookups: Lookups
    chunk: int
    length: int
    near_copies: int
    chosen: Chosen = field(default_factory=Chosen)
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


def assemble(
    kinds: dict[str, Sides], *, vocabulary: int, chunk: int, length: int,
    facts_trained: int = FACTS_TRAINED, facts_tested: int = FACTS_TESTED, neighbours: int = 1,
) -> Inputs:  # fmt: skip
    """Tokens, the database, neighbours of everything. Nothing of the test is in the database."""
    train = [text for sides in kinds.values() for text in sides.train]
    tests = [(kind, text) for kind, sides in kinds.items() for text in sides.test]
    tried = [text for sides in kinds.values() for text in sides.tuning]
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
    held = _held_out("test", [text for _, text in tests], tokenizer)
    tuning = _held_out("tuning", tried, tokenizer)
    asked, answers = told(new, tokenizer, end, chunk)
    questions = TokenDocuments([f"asked {n}" for n in range(len(new))], asked, size, end)
    return Inputs(
        train=database.neighbours(learned, neighbours, counts=counts),
        tuning=database.neighbours(tuning, neighbours),
        real=database.neighbours(held, neighbours),
        kept=database.neighbours(held, neighbours, shared=0),
        kinds=[kind for kind, _ in tests],
        facts=database.neighbours(questions, neighbours),
        answers=answers,
        database=database,
        lookups=counts,
        chunk=chunk,
        length=length,
        near_copies=sum(sides.near_copies for sides in kinds.values()),
    )


def _held_out(name: str, texts: Sequence[str], tokenizer: Any) -> TokenDocuments:
    made = TokenDocuments.of([f"{name} {n}" for n in range(len(texts))], texts, tokenizer)
    # The first token of a document is no target: its bytes do not count.
    made.sizes = [
        len(bpe.decode(tokenizer, row[1:].tolist()).encode("utf-8")) for row in made.tokens
    ]
    return made


@functools.lru_cache(maxsize=1)
def named(vocabulary: int, chunk: int, length: int, characters: int) -> tuple[Inputs, tuple]:
    """Novels and terms of service, about `characters` of each to train on; read once.

    Authors and services lie on one side.
    """
    books, terms = find_set("books_en"), open_set("legal_terms")
    novels, authors = [], []
    for document in books.documents():
        novels.append(document.text[len(document.text) // 2 :])
        authors.append(document.metadata["author"])
    clauses, services = (terms.table[name].to_pylist() for name in ("text", "group"))
    kinds = {
        "novels": divide(novels, authors, characters, TEST_CHARACTERS),
        "terms": divide(clauses, services, characters, TEST_CHARACTERS),
    }
    made = assemble(kinds, vocabulary=vocabulary, chunk=chunk, length=length)
    return made, (*books.sources, *terms.sources)


_own: dict[Any, Inputs] = {}


def own(data: SetPath, vocabulary: int, chunk: int, length: int, characters: int) -> Inputs:
    """A user's documents in place of the novels and the terms; read once."""
    key = (data.digest, vocabulary, chunk, length, characters)
    if key not in _own:
        _own.clear()
        texts = [document.text for document in data.documents()]
        sides = divide(texts, list(map(digest, texts)), characters, TEST_CHARACTERS)
        _own[key] = assemble(
            {"documents": sides}, vocabulary=vocabulary, chunk=chunk, length=length
        )  # fmt: skip
    return _own[key]


@functools.lru_cache(maxsize=1)
def made() -> Inputs:
    """A made language and few facts, for the smoke test."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghilmnoprstu", k=rng.randint(3, 5))) for _ in range(40)]
    texts = [". ".join(" ".join(rng.choices(words[n:], k=8)) for _ in range(5)) for n in range(15)]
    return assemble({"made": divide(texts, texts, 300 * len(texts), 160)}, vocabulary=380, chunk=8,
                    length=32, facts_trained=20, facts_tested=8)  # fmt: skip


def prepare(
    scale: str, data: Any, vocabulary: int, chunk: int, length: int, characters: int
) -> tuple[Inputs, tuple[Source, ...]]:
    if scale == "smoke":
        return made(), ()
    options = (vocabulary, chunk, length, characters)
    return named(*options) if data is None else (own(data, *options), ())
