"""Prompts of the system `prepacking`: three sets of real prompts, whose lengths differ more and
more.

A set is a list of prompts in batches, as they come. Real prompts are GSM8K questions (short),
HumanEval functions and WikiTableQuestions tables with a question (long); at scale smoke docstrings
of the Python installation. Only those of the set of equal lengths are cut.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tilth.data.sets import SetPath, Source, open_set
from tilth.data.task import Task
from tilth.tokens import bpe

EQUAL, SOME, WIDE = "equal lengths", "GSM8K", "three sources"
# As the last, but more of them: only counted.
MANY = "512 prompts"
# Prompts a batch in padded baselines, and batches of the two sets of unlike lengths.
BATCH, BATCHES, MANY_BATCHES = 8, 2, 64
CUT = 64
# Tokens: of a question or function at most; of a table with its question.
SHORT, TABLE = (1, 200), (288, 352)
Prompts = list[list[int]]


def sets(
    short: Iterable[list[int]], middle: Iterable[list[int]], long: Iterable[list[int]], cut: int,
    many: int,
) -> dict[str, Prompts]:  # fmt: skip
    """The sets from streams of tokens. A batch of the last two has one long prompt, and every other
    one a prompt of middle length, so that no batch is spared its padding by the draw."""
    short, middle, long = iter(short), iter(middle), iter(long)
    enough = (ids for ids in short if len(ids) >= cut)
    found = {EQUAL: [next(enough)[:cut] for _ in range(BATCH)]}
    found[SOME] = [next(short) for _ in range(BATCH * BATCHES)]
    for name, batches in ((WIDE, BATCHES), (MANY, many)):
        found[name] = []
        for number in range(batches):
            batch = [next(long), next(middle) if number % 2 else next(short)]
            found[name] += [*(next(short) for _ in range(BATCH - 2)), *batch]
    return found


def real(
    seed: int, vocabulary: int, tokenizer: Any = None
) -> tuple[dict[str, Prompts], int, tuple[Source, ...]]:
    """(sets of a seed, size of the vocabulary, sources). Where no tokenizer is given, one of so
    many tokens is learned from the prompts."""
    questions, functions, tables, _, sources = texts()
    tokenizer = tokenizer or _tokenizer(vocabulary)
    return (*given(seed, tokenizer, questions, functions, tables), sources)


def given(
    seed: int, tokenizer: Any, questions: Sequence[str], functions: Sequence[str],
    tables: Sequence[str],
) -> tuple[dict[str, Prompts], int]:  # fmt: skip
    """The sets of a seed, and the size of the vocabulary."""

    def drawn(texts: Sequence[str], least: int, most: int) -> Iterator[list[int]]:
        for text in random.Random(f"prompts {seed}").sample(texts, len(texts)):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if least <= len(ids) <= most:
                yield ids

    streams = drawn(questions, *SHORT), drawn(functions, *SHORT), drawn(tables, *TABLE)
    return sets(*streams, CUT, MANY_BATCHES), tokenizer.get_vocab_size()


def smoke(seed: int) -> tuple[dict[str, Prompts], int]:
    """Docstrings: short ones, and beginnings of long ones."""
    from tilth.zoo.micro import tiny

    _, tokenizer, documents = tiny()
    texts = [one.tolist() for one in documents.tokens if len(one) >= 24]
    random.Random(f"prompts {seed}").shuffle(texts)
    short = [ids[: 8 + 3 * (place % 6)] for place, ids in enumerate(texts)]
    long = [ids[:60] for ids in texts if len(ids) >= 60]
    return sets(short, [ids[:32] for ids in long], long, 12, 1), tokenizer.get_vocab_size()


@functools.lru_cache(maxsize=1)
def texts() -> tuple[list[str], list[str], list[str], list[str], tuple[Source, ...]]:
    """(questions, functions, tables with a question, tables, sources): read once a process."""
    from pyarrow import parquet

    place = open_set("tables_wtq")
    assert isinstance(place, SetPath)
    sources = list(place.sources)
    found = []
    for name in ("math_gsm8k", "code_humaneval"):
        task = open_set(name)
        assert isinstance(task, Task)
        sources += task.sources
        found.append([row[0]["content"] for row in task.table["messages"].to_pylist()])
    tables = {row["context"]: row["csv"]
              for row in parquet.read_table(place.path / "tables.parquet").to_pylist()}  # fmt: skip
    asked = parquet.read_table(place.path / "questions.parquet").to_pylist()
    long = [f"{tables[row['context']]}\n{row['utterance']}\n" for row in asked
            if row["context"] in tables]  # fmt: skip
    return found[0], found[1], long, list(tables.values()), tuple(sources)


@functools.lru_cache(maxsize=1)
def _tokenizer(vocabulary: int) -> Any:
    questions, functions, _, tables, _ = texts()
    return bpe.train([*questions[::4], *functions, *tables], vocabulary)
