"""Several sources of tokens as one, mixed by weight.

    Mixed({"law": law, "books": books}, {"law": 3, "books": 1})

What a weight says: the share of the tokens of a whole pass. A pass takes every source as often as
its weight asks for, measured against the source that would run out first under `limit` (how often a
source may be repeated in a pass; repeats beyond about 4 help little: Muennighoff et al., 2023).
Whole documents only, so that nothing is cut; a fraction of a source is the documents that come
first in a seeded order. So the mix is itself a source: an objective, `fit` and a checkpoint's
cursor see numbered documents, and each epoch draws their order anew. `report()` says how often each
source is taken, what was left out, and the shares that whole documents make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments, TokenSource

REPEATS = 4.0


class Mixed:
    """A `TokenSource` over `sources`; the same arguments give the same documents in the same order.

    `weights`: shares of the tokens of a pass, by name, above 0; they need not add up to 1. `limit`:
    how often a source may be taken in a pass. The document ids are `NAME/ID`, with `#2` and so on
    where a document is repeated, so that chance differs between repeats.
    Raises UsageError for weights that fit no source, DataError for sources of unequal vocabularies
    or without a token.
    """

    def __init__(
        self,
        sources: Mapping[str, TokenSource],
        weights: Mapping[str, float] | None = None,
        *,
        limit: float = REPEATS,
        seed: int = 0,
    ) -> None:
        if not sources:
            raise UsageError("there is nothing to mix")
        weights = dict.fromkeys(sources, 1.0) if weights is None else dict(weights)
        if set(weights) != set(sources) or min(weights.values()) <= 0 or limit <= 0:
            raise UsageError(
                f"weights above 0 are needed for {', '.join(sources)}, not for {', '.join(weights)}"
            )
        kinds = {(source.vocabulary, source.end) for source in sources.values()}
        if len(kinds) > 1:
            raise DataError("the sources do not share a vocabulary", where=", ".join(sources))
        if empty := [name for name, source in sources.items() if not source.total_tokens]:
            raise DataError("holds no token", where=empty[0])
        self.sources, self.weights = dict(sources), weights
        self.limit, self.seed = limit, seed
        ((self.vocabulary, self.end),) = kinds
        # So many tokens of each unit of weight as the scarcest source has under the limit.
        unit = min(limit * source.total_tokens / weights[name] for name, source in sources.items())
        self._picked = {
            name: _pick(source, unit * weights[name], digest("mix", seed, name))
            for name, source in sources.items()
        }
        self._names = list(sources)
        counts = [len(picked) for picked in self._picked.values()]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def total_tokens(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def ids(self) -> list[str]:
        """Document ids, `NAME/ID` or `NAME/ID#TIME`."""
        found = []
        for name, picked in self._picked.items():
            known, seen = self.sources[name].ids, dict.fromkeys(picked.tolist(), 0)
            for number in picked.tolist():
                seen[number] += 1
                again = f"#{seen[number]}" if seen[number] > 1 else ""
                found.append(f"{name}/{known[number]}{again}")
        return found

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each document, int64."""
        parts = [self.sources[n].lengths[picked] for n, picked in self._picked.items()]
        return np.concatenate(parts).astype(np.int64)

    @cached_property
    def text_bytes(self) -> np.ndarray:
        """UTF-8 bytes of each document's text, int64."""
        parts = [self.sources[n].text_bytes[picked] for n, picked in self._picked.items()]
        return np.concatenate(parts).astype(np.int64)

    def document(self, number: int) -> np.ndarray:
        """The token ids of one document."""
        name, inner = self._place(number)
        return self.sources[name].document(inner)

    def select(self, numbers: Iterable[int]) -> TokenDocuments:
        """Some documents, in the order asked for. Extra columns come along where all have them."""
        chosen = list(numbers)
        tokens: list[Any] = [None] * len(chosen)
        extra: dict[str, list[Any]] = {}
        wanted: dict[str, list[tuple[int, int]]] = {}
        for place, number in enumerate(chosen):
            name, inner = self._place(number)
            wanted.setdefault(name, []).append((place, inner))
        parts = {n: self.sources[n].select([i for _, i in w]) for n, w in wanted.items()}
        shared = [set(part.extra) for part in parts.values()]
        for column in sorted(set.intersection(*shared)) if shared else []:
            extra[column] = [None] * len(chosen)
        for name, part in parts.items():
            for row, (place, _) in enumerate(wanted[name]):
                tokens[place] = part.tokens[row]
                for column in extra:
                    extra[column][place] = part.extra[column][row]
        return TokenDocuments(
            [self.ids[n] for n in chosen], tokens, self.vocabulary, self.end,
            [int(self.text_bytes[n]) for n in chosen], extra,
        )  # fmt: skip

    def report(self) -> dict[str, dict[str, float]]:
        """For each source: `tokens` in a pass, `share` of the pass and `wanted` share, `times` it
        is taken, and `left_out`, its tokens that are in no document of a pass."""
        total, mass = self.total_tokens, sum(self.weights.values())
        found = {}
        for name, picked in self._picked.items():
            lengths = self.sources[name].lengths
            taken = int(lengths[picked].sum())
            found[name] = {
                "tokens": taken,
                "share": taken / total,
                "wanted": self.weights[name] / mass,
                "times": taken / int(lengths.sum()),
                "left_out": int(lengths.sum() - lengths[np.unique(picked)].sum()),
            }
        return found

    def _place(self, number: int) -> tuple[str, int]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        source = int(np.searchsorted(self._starts, number, side="right")) - 1
        name = self._names[source]
        return name, int(self._picked[name][number - int(self._starts[source])])


def _pick(source: TokenSource, tokens: float, seed: str) -> np.ndarray:
    """Document numbers with about so many tokens: whole passes, then the first of a seeded order.

    The document at the border is in where that comes nearer to what is asked for.
    """
    lengths = source.lengths
    whole = int(tokens // source.total_tokens + 1e-9)
    rest = tokens - whole * source.total_tokens
    order = np.random.Generator(np.random.PCG64(int(seed, 16))).permutation(len(lengths))
    ends = np.cumsum(lengths[order])
    middles = ends - lengths[order] / 2
    count = int(np.searchsorted(middles, rest, side="right")) if rest > 0 else 0
    if not whole and not count:
        count = 1
    return np.concatenate([*[np.arange(len(lengths))] * whole, np.sort(order[:count])])
