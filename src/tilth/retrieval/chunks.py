"""A database of chunks, and the neighbours of each chunk of a text (Borgeaud et al., 2022).

Documents are cut in chunks of m tokens, the last one shorter; what is found for a chunk is it and
the chunk that follows it, 2 m tokens. Search is exact and lexical (BM25) over the chunks' texts.
The paper finds neighbours by frozen BERT vectors and an approximate index; with another retriever
of `types.Retriever` this module does the first half of that.

Two traps are kept out. Neighbours of the same document are never given: they would show what comes
next. Nor are near-duplicates, which inflate what retrieval seems to be worth: a neighbour that
shares `shared` tokens in a row, by default a whole chunk, with the chunk that asks or with the one
behind it is left out. Look-ups while text is made have nothing behind them, and no document.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.retrieval.bm25 import BM25
from tilth.tokens.bpe import decode
from tilth.tokens.documents import TokenDocuments

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tilth.types import Retriever

COLUMN = "neighbours"
# Candidates that are looked up for each neighbour wanted: many are of the same document.
CANDIDATES = 16


@dataclass
class Lookups:
    """What a look-up of documents counted."""

    chunks: int = 0
    found: int = 0
    same_document: int = 0
    near_duplicates: int = 0


class ChunkDatabase:
    """Chunks of documents, searched by the text of a chunk.

    `values`: (chunks, 2 m) token ids, -1 behind the end of a document; `owners`: the number of each
    chunk's document in `ids`.
    """

    def __init__(
        self,
        documents: TokenDocuments,
        tokenizer: Tokenizer,
        *,
        chunk: int = 16,
        retriever: Retriever | None = None,
    ) -> None:
        if chunk < 2:
            raise UsageError(f"chunks of {chunk} tokens", hint="at least 2")
        self.chunk, self.tokenizer, self.ids = chunk, tokenizer, list(documents.ids)
        values, owners = [], []
        for number, row in enumerate(documents.tokens):
            made = _values(row, chunk)
            values.append(made)
            owners += [number] * len(made)
        self.values = np.concatenate([np.zeros((0, 2 * chunk), np.int32), *values])
        self.owners = np.array(owners, np.int64)
        self.retriever = BM25() if retriever is None else retriever
        self.retriever.fit({str(n): self.text(v[:chunk]) for n, v in enumerate(self.values)})

    def __len__(self) -> int:
        return len(self.values)

    def text(self, tokens: np.ndarray) -> str:
        return decode(self.tokenizer, [int(one) for one in tokens if one >= 0])

    def lookup(self, tokens: np.ndarray, k: int = 2) -> np.ndarray:
        """The neighbours (k, 2 m) of one chunk, as while text is made: nothing is left out."""
        made = np.full((k, 2 * self.chunk), -1, np.int32)
        answers = self.retriever.search([self.text(tokens)], k).rows["0"]
        for place, (name, _) in enumerate(answers):
            made[place] = self.values[int(name)]
        return made

    def neighbours(
        self,
        documents: TokenDocuments,
        k: int = 2,
        *,
        shared: int | None = None,
        counts: Lookups | None = None,
    ) -> TokenDocuments:
        """The documents with the extra column `neighbours`, as `objectives.retrieved` takes it.

        For each document (chunks, k, 2 m), -1 where nothing was found and for a last chunk that is
        not whole. A document is the same where its id is. `shared` 0 keeps near-duplicates.
        """
        shared = self.chunk if shared is None else shared
        counts = Lookups() if counts is None else counts
        places = {name: number for number, name in enumerate(self.ids)}
        column = []
        for name, row in zip(documents.ids, documents.tokens):
            whole = len(row) // self.chunk
            asking = row[: whole * self.chunk].reshape(whole, self.chunk)
            answers = self._search([self.text(one) for one in asking], k)
            made = np.full((-(-len(row) // self.chunk), k, 2 * self.chunk), -1, np.int32)
            for number, candidates in enumerate(answers):
                start = number * self.chunk
                seen = _runs(row[start : start + 2 * self.chunk], shared)
                kept = self._kept(candidates, places.get(name, -1), seen, shared, k, counts)
                made[number, : len(kept)] = self.values[kept]
                counts.found += len(kept)
            counts.chunks += whole
            column.append(made)
        return replace(documents, extra={**documents.extra, COLUMN: column})

    def _search(self, texts: Sequence[str], k: int) -> list[list[int]]:
        found = self.retriever.search(list(texts), k * CANDIDATES).rows
        return [[int(name) for name, _ in found[str(n)]] for n in range(len(texts))]

    def _kept(
        self, candidates: list[int], owner: int, seen: set, shared: int, k: int, counts: Lookups
    ) -> list[int]:
        kept: list[int] = []
        for place in candidates:
            if self.owners[place] == owner:
                counts.same_document += 1
            elif seen & _runs(self.values[place], shared):
                counts.near_duplicates += 1
            else:
                kept.append(place)
                if len(kept) == k:
                    break
        return kept


def shuffled(documents: TokenDocuments, seed: int = 0) -> TokenDocuments:
    """The same documents with each other's neighbours: what retrieval is worth without fitting."""
    column = documents.extra[COLUMN]
    flat = np.concatenate(column)
    flat = flat[np.random.default_rng([seed, 17]).permutation(len(flat))]
    cuts = np.cumsum([len(one) for one in column])[:-1]
    return replace(documents, extra={**documents.extra, COLUMN: np.split(flat, cuts)})


def without(documents: TokenDocuments) -> TokenDocuments:
    """The same documents with no neighbour at all."""
    column = [np.full_like(one, -1) for one in documents.extra[COLUMN]]
    return replace(documents, extra={**documents.extra, COLUMN: column})


def searcher(database: ChunkDatabase, k: int = 2) -> Callable[[Any], np.ndarray]:
    """What `models.retro.continue_tokens` takes to look up each chunk."""
    return lambda tokens: database.lookup(tokens, k)


def _values(row: np.ndarray, chunk: int) -> np.ndarray:
    """Each chunk of a document with its continuation, (chunks, 2 m)."""
    count = -(-len(row) // chunk)
    filled = np.full((count + 1) * chunk, -1, np.int32)
    filled[: len(row)] = row
    parts = filled.reshape(-1, chunk)
    return np.concatenate([parts[:-1], parts[1:]], 1)


def _runs(tokens: np.ndarray, length: int) -> set[bytes]:
    """All `length` tokens in a row, none where length is 0."""
    tokens = tokens.astype(np.int32)
    tokens = tokens[tokens >= 0]
    if not length or len(tokens) < length:
        return set()
    raw, size = tokens.tobytes(), tokens.itemsize
    return {raw[n * size : (n + length) * size] for n in range(len(tokens) - length + 1)}
