"""Pairs to learn search from, made of the documents themselves; nobody has to judge anything.

- A sentence of a passage against the passage without it (the inverse cloze task: Lee, Chang and
  Toutanova, 2019). In half of them the sentence loses all but a few of its words, as people type
  them.
- A document's title against its first passage.

Each draw depends on (seed, round, document, passage) alone. When: no queries with answers are
there. When not: where there are; those say what people really ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tilth.corpus.sentences import sentence_spans
from tilth.retrieval.dense import passage_spans
from tilth.store.digest import digest

# A passage shorter than this says too little without its sentence.
SHORTEST = 200
# Words of a sentence that may be a query, and of one that lost words.
FEWEST_WORDS = 4
KEYWORDS = (2, 8)
KEYWORD_SHARE = 0.5
# A sentence that is more of its passage leaves nothing to find.
LARGEST_SHARE = 0.7


class Pair(NamedTuple):
    """A query and the passage that answers it; `document` numbers its document."""

    query: str
    passage: str
    document: int


def make_pairs(
    documents: Iterable[tuple[str, str, str]], target: int = 800, *, seed: int = 0, round: int = 0
) -> Iterator[Pair]:
    """Pairs of documents (id, title, text), in order; `target` as in the dense index.

    Passages of less than `SHORTEST` characters, or without a sentence of `FEWEST_WORDS`, give none.
    """
    for number, (id, title, text) in enumerate(documents):
        name = int(digest("pairs", seed, round, id), 16)
        random = np.random.Generator(np.random.PCG64(name))
        for place, (start, stop) in enumerate(passage_spans(text, target)):
            passage = text[start:stop]
            if title and not place and round == 0 and title != passage.strip():
                yield Pair(title, passage, number)
            if len(passage) < SHORTEST:
                continue
            fitting = [
                (a, b)
                for a, b in sentence_spans(passage)
                if b - a <= LARGEST_SHARE * len(passage)
                and len(passage[a:b].split()) >= FEWEST_WORDS
            ]
            if not fitting:
                continue
            a, b = fitting[int(random.integers(len(fitting)))]
            words = passage[a:b].split()
            if random.random() < KEYWORD_SHARE:
                count = min(len(words), int(random.integers(KEYWORDS[0], KEYWORDS[1] + 1)))
                kept = np.sort(random.choice(len(words), count, replace=False))
                words = [words[at] for at in kept]
            yield Pair(" ".join(words), passage[:a] + passage[b:], number)
