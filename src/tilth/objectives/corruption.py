"""What a masked objective hides and what it puts there: pure functions of one document and chance.

A unit is a token, a whole word, a span of words, or a word that is the likelier taken the more it
tells (TF-IDF). A chosen unit is treated as one: all of it becomes the mask, all of it is replaced,
or all of it stays, so that no word is hidden in part. Replacements are never a special token and
never what stood there: uniform over the other tokens, or another informative word of as many
tokens (uniform where there is none).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tilth.errors import UsageError, nearest
from tilth.tokens.words import word_starts

UNITS = ("token", "word", "span", "tfidf")
REPLACEMENTS = ("uniform", "tfidf")
# SpanBERT (Joshi et al., 2020): lengths are geometric with p = 0.2, cut at 10; 3.8 on average.
SPAN_CHANCE, LONGEST_SPAN = 0.2, 10


@dataclass(frozen=True)
class Corruption:
    """How texts are corrupted; see `objectives.masked` for what the fields mean."""

    rate: float = 0.15
    unit: str = "token"
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    replacement: str = "uniform"
    words: str = ""
    informative: Sequence[tuple[tuple[int, ...], float]] = field(default=())

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UsageError(f"a rate of {self.rate} hides nothing or all", hint="such as 0.15")
        if self.unit not in UNITS:
            raise UsageError(f"there is no unit {self.unit!r}", hint=nearest(self.unit, UNITS))
        if self.replacement not in REPLACEMENTS:
            raise UsageError(
                f"there is no replacement {self.replacement!r}",
                hint=nearest(self.replacement, REPLACEMENTS),
            )
        if len(self.split) != 3 or min(self.split) < 0 or abs(sum(self.split) - 1) > 1e-9:
            raise UsageError("split is three shares that add up to 1: masked, replaced, kept")
        tfidf = "tfidf" in (self.unit, self.replacement)
        if (self.unit != "token" or tfidf) and not self.words:
            raise UsageError(
                f"unit {self.unit}, replacement {self.replacement} need to know where words begin",
                hint="words=word_table(tokenizer), from tilth.tokens.words",
            )
        if tfidf and not self.informative:
            raise UsageError(
                "tfidf needs the informative words of the texts",
                hint="informative=informative_words(...), from tilth.tokens.words",
            )

    @cached_property
    def weights(self) -> dict[tuple[int, ...], float]:
        return {tuple(word): weight for word, weight in self.informative}

    @cached_property
    def by_size(self) -> dict[int, tuple[list[tuple[int, ...]], np.ndarray]]:
        """Informative words of so many tokens, and the running sum of their weights."""
        sizes: dict[int, list[tuple[int, ...]]] = {}
        for word in self.weights:
            sizes.setdefault(len(word), []).append(word)
        return {n: (some, np.cumsum([self.weights[w] for w in some])) for n, some in sizes.items()}


def corrupt(
    ids: np.ndarray, how: Corruption, chance: np.random.Generator, mask: int, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(corrupted ids, where they are to be predicted) of one document; `ids` stays as it is.

    `allowed`: of each id whether it is no special token; others are never chosen, never put in.
    The share that is predicted is `rate` on average; a document of no token has none.
    """
    starts, chosen = choose(ids, how, chance)
    chosen &= allowed[ids]
    made = ids.copy()
    drawn = chance.random(len(ids))
    if how.unit != "token":  # one draw a unit: that of its first token
        drawn = drawn[np.maximum.accumulate(np.where(starts, np.arange(len(ids)), 0))]
    first, second = how.split[0], how.split[0] + how.split[1]
    made[chosen & (drawn < first)] = mask
    replaced = chosen & (drawn >= first) & (drawn < second)
    if replaced.any():
        made[replaced] = _others(ids[replaced], chance, allowed)
    if how.replacement == "tfidf":
        _put_words(made, ids, starts, replaced, how, chance)
    return made, chosen


def choose(
    ids: np.ndarray, how: Corruption, chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(where units begin, what is chosen), bool (tokens,)."""
    size = len(ids)
    if how.unit == "token":
        return np.ones(size, dtype=bool), chance.random(size) < how.rate
    starts = word_starts(how.words, ids)
    lengths = np.diff(np.flatnonzero(starts), append=size)
    if how.unit == "span":
        return starts, np.repeat(_spans(lengths, how.rate, chance), lengths)
    rates = np.full(len(lengths), how.rate)
    if how.unit == "tfidf" and size:
        rates = _by_weight(_weights(ids, lengths, how), lengths, how.rate)
    return starts, np.repeat(chance.random(len(lengths)) < rates, lengths)


def _weights(ids: np.ndarray, lengths: np.ndarray, how: Corruption) -> np.ndarray:
    """TF-IDF weight of each word; words that are not listed weigh half of the least listed one."""
    least = min(how.weights.values()) / 2
    ends = np.cumsum(lengths)
    tokens = ids.tolist()
    found = [
        how.weights.get(tuple(tokens[end - length : end]), least)
        for end, length in zip(ends, lengths)
    ]
    return np.array(found, dtype=float)


def _by_weight(weights: np.ndarray, lengths: np.ndarray, rate: float) -> np.ndarray:
    """A chance for each word, in proportion to its weight, with `rate` of the tokens on average."""
    rates = weights * (rate * lengths.sum() / (weights * lengths).sum())
    for _ in range(20):  # what lies above 1 is given to the others
        over = rates >= 1
        free = ~over
        short = rate * lengths.sum() - lengths[over].sum()
        mass = (rates[free] * lengths[free]).sum()
        rates = np.where(over, 1.0, rates * (max(short, 0.0) / mass if mass > 0 else 0.0))
        if (rates <= 1).all():
            break
    return rates


def _spans(lengths: np.ndarray, rate: float, chance: np.random.Generator) -> np.ndarray:
    """Spans of words until `rate` of the tokens is chosen, to the nearest word by chance."""
    chosen = np.zeros(len(lengths), dtype=bool)
    left = rate * float(lengths.sum())
    while left > 0 and not chosen.all():
        span = min(int(chance.geometric(SPAN_CHANCE)), LONGEST_SPAN)
        start = int(chance.integers(len(lengths)))
        for word in range(start, min(start + span, len(lengths))):
            if chosen[word] or left <= 0:
                continue
            # The last word would overshoot: taken with the chance that makes the mean right.
            if left < lengths[word] and chance.random() >= left / lengths[word]:
                return chosen
            chosen[word] = True
            left -= lengths[word]
    return chosen


def _others(ids: np.ndarray, chance: np.random.Generator, allowed: np.ndarray) -> np.ndarray:
    """For each id another one that is `allowed`, all alike."""
    known = np.flatnonzero(allowed)
    if len(known) < 2:
        raise UsageError("there is no other token to put in")
    drawn = chance.integers(len(known) - 1, size=len(ids))
    return known[drawn + (drawn >= np.searchsorted(known, ids))]


def _put_words(
    made: np.ndarray, ids: np.ndarray, starts: np.ndarray, replaced: np.ndarray,
    how: Corruption, chance: np.random.Generator,
) -> None:  # fmt: skip
    """Informative words of the same number of tokens in place of replaced units."""
    begins = np.flatnonzero(starts)
    for begin, end in zip(begins, [*begins[1:], len(ids)]):
        if not replaced[begin] or end - begin not in how.by_size:
            continue
        words, mass = how.by_size[end - begin]
        word = words[int(np.searchsorted(mass, chance.random() * mass[-1], side="right"))]
        if word != tuple(ids[begin:end].tolist()):
            made[begin:end] = word
