"""Tokenized documents in memory: what an objective prepares, and a small data set for `fit`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tilth.tokens.bpe import encode, end_id

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenSource(Protocol):
    """Numbered documents of token ids, on disk (`TokenBlocks`) or in memory (`TokenDocuments`).

    `end` is the id of the end-of-document token, which is not stored; `lengths` and `text_bytes`
    are int64 arrays with one entry a document.
    """

    vocabulary: int
    end: int

    def __len__(self) -> int: ...

    @property
    def total_tokens(self) -> int: ...

    @property
    def ids(self) -> list[str]: ...

    @property
    def lengths(self) -> np.ndarray: ...

    @property
    def text_bytes(self) -> np.ndarray: ...

    def document(self, number: int) -> np.ndarray: ...

    def select(self, numbers: Iterable[int]) -> TokenDocuments: ...


@dataclass
class TokenDocuments:
    """Documents in memory: ids, one integer array each, and the UTF-8 bytes of their texts.

    `extra`: name -> a list with one entry a document (labels, choices, prompts), which goes along
    where documents are chosen; what it holds is between the reader of the data and the objective.
    """

    ids: list[str]
    tokens: list[np.ndarray]
    vocabulary: int
    end: int = 0
    sizes: list[int] = field(default_factory=list)
    extra: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, ids: Sequence[str], texts: Sequence[str], tokenizer: Tokenizer) -> TokenDocuments:
        """Tokenize texts."""
        rows = [np.array(row, dtype=np.uint32) for row in encode(tokenizer, list(texts))]
        sizes = [len(text.encode("utf-8")) for text in texts]
        return cls(list(ids), rows, tokenizer.get_vocab_size(), end_id(tokenizer), sizes)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def total_tokens(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.tokens], dtype=np.int64)

    @property
    def text_bytes(self) -> np.ndarray:
        return np.array(self.sizes, dtype=np.int64)

    def document(self, number: int) -> np.ndarray:
        return self.tokens[number]

    def select(self, numbers: Iterable[int]) -> TokenDocuments:
        chosen = list(numbers)
        return TokenDocuments(
            [self.ids[n] for n in chosen],
            [self.tokens[n] for n in chosen],
            self.vocabulary,
            self.end,
            [self.sizes[n] for n in chosen] if self.sizes else [],
            {name: [values[n] for n in chosen] for name, values in self.extra.items()},
        )
