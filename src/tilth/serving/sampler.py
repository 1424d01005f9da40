"""From logits to a token: filters, draws, log-probabilities; everything a function of its
arguments.

Order, as in `transformers`: penalties and biases on logits, temperature, top-k, top-p (nucleus:
Holtzman et al., 2020, arXiv 1904.09751), min-p (Nguyen et al., 2024, arXiv 2407.01082). The random
number of a token depends on the request's seed and the token's position only: a counter-based
generator (Philox: Salmon et al., 2011) has no state that another request could move. So a request
gets the same numbers alone and in any batch, and again when it is preempted and read anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilth.errors import DataError, UsageError

if TYPE_CHECKING:
    import torch

MOST_STOPS, LONGEST_STOP = 64, 1000
MOST_LOGPROBS = 100
WORD = 2**64


@dataclass(frozen=True)
class Sampling:
    """How the tokens of one request are chosen. Raises UsageError for values out of range or of
    another type.

    `temperature` 0 takes the most likely token. `top_k` 0 and `top_p` 1 keep all; `min_p`: tokens
    at least so likely, in parts of the likeliest. `repetition`: CTRL's penalty (1 is none) on
    tokens that prompt or text hold; `frequency` and `presence`: OpenAI's, on those of the text, for
    each time and once. `bias`: what is added to the logits of single tokens. `seed`, and `sample`
    for several texts of one seed. `stop`: a text, or texts, that end the answer and are no part of
    it; `stop_tokens`: ids that do, besides the model's own ends, which `ignore_end` turns off.
    `logprobs`: also give the log-probabilities of so many likeliest tokens; None for none.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    sample: int = 0
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    ignore_end: bool = False
    logprobs: int | None = None

    def __post_init__(self) -> None:
        # A text alone is one stop text, and not each of its letters.
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        for name, found in (("stop", stop), ("stop_tokens", self.stop_tokens)):
            if not isinstance(found, Iterable):
                raise UsageError(f"{name} is a list, not {found!r}")
            object.__setattr__(self, name, tuple(found))
        self._typed()
        finite = all(np.isfinite([self.temperature, self.repetition, self.frequency,
                                  self.presence, *self.bias.values()]))  # fmt: skip
        rules = {
            "numbers are finite": finite,
            "temperature is 0 or more": self.temperature >= 0,
            "top_k is 0 or more": self.top_k >= 0,
            "top_p is above 0 and at most 1": 0 < self.top_p <= 1,
            "min_p is from 0 to 1": 0 <= self.min_p <= 1,
            "repetition is above 0": self.repetition > 0,
            f"logprobs are at most {MOST_LOGPROBS}": 0 <= (self.logprobs or 0) <= MOST_LOGPROBS,
            f"stop texts are at most {MOST_STOPS}, of 1 to {LONGEST_STOP:,} letters": (
                len(self.stop) <= MOST_STOPS
                and all(0 < len(text) <= LONGEST_STOP for text in self.stop)
            ),
        }
        for rule, kept in rules.items():
            if not kept:
                raise UsageError(rule)

    def _typed(self) -> None:
        bias = self.bias.items() if isinstance(self.bias, Mapping) else ((None, None),)
        ids, added = zip(*bias) if bias else ((), ())
        reals = (self.temperature, self.top_p, self.min_p, self.repetition, self.frequency,
                 self.presence)  # fmt: skip
        kinds: tuple[tuple[str, Any, Iterable[Any]], ...] = (
            ("temperature, top_p, min_p and penalties are numbers", Real, reals),
            ("top_k, seed and sample are whole numbers", Integral,
             (self.top_k, self.seed, self.sample)),
            ("bias has numbers by token ids", Integral, ids),
            ("bias has numbers by token ids", Real, added),
            ("stop has texts", str, self.stop),
            ("stop_tokens has token ids", Integral, self.stop_tokens),
            ("logprobs is a whole number or None", Integral,
             () if self.logprobs is None else (self.logprobs,)),
        )  # fmt: skip
        for rule, kind, values in kinds:
            if not all(isinstance(one, kind) and not isinstance(one, bool) for one in values):
                raise UsageError(rule)

    @property
    def plain(self) -> bool:
        """Whether the logits are taken as they are."""
        return (self.repetition, self.frequency, self.presence) == (1, 0, 0) and not self.bias


class Drawn(NamedTuple):
    """A token. `logprob`: of the model's own distribution, before temperature and filters; `top`:
    the likeliest tokens with theirs. Both are there where they were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def uniform(seed: int, position: int, sample: int = 0, stream: int = 0) -> float:
    """The random number of a position, in [0, 1). `stream`: for more than one number a position."""
    bits = np.random.Philox(
        key=seed % WORD + (sample % WORD) * WORD, counter=position % WORD + stream % WORD * WORD
    )
    return float(bits.random_raw() >> 11) * 2.0**-53


def penalised(
    logits: np.ndarray, sampling: Sampling, prompt: Sequence[int], made: Sequence[int]
) -> np.ndarray:
    """Logits (vocabulary) with penalties and biases; a new array, float64."""
    found = logits.astype(np.float64)
    if sampling.repetition != 1 and (len(prompt) or len(made)):
        seen = np.unique(np.fromiter((*prompt, *made), np.int64))
        values = found[seen]
        found[seen] = np.where(
            values > 0, values / sampling.repetition, values * sampling.repetition
        )
    if (sampling.frequency or sampling.presence) and len(made):
        ids, counts = np.unique(np.asarray(made, np.int64), return_counts=True)
        found[ids] -= sampling.frequency * counts + sampling.presence
    for token, value in sampling.bias.items():
        if 0 <= token < len(found):
            found[token] += value
    return found


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution that is drawn from, (vocabulary), float64. Temperature 0 has one token.

    Of equally likely tokens those of lower id are kept first.
    """
    if sampling.temperature == 0:
        found = np.zeros(len(logits))
        found[int(np.argmax(logits))] = 1.0
        return found
    # In 64 bits: in 32 a tiny temperature is 0, and 0 / 0 no number.
    below = (logits - logits.max()).astype(np.float64)
    with np.errstate(over="ignore"):
        found = np.exp(below / sampling.temperature)
    found /= found.sum()
    if 0 < sampling.top_k < len(found) or sampling.top_p < 1:
        order = np.argsort(-found, kind="stable")
        if sampling.top_k:
            found[order[sampling.top_k :]] = 0
            found /= found.sum()
        if sampling.top_p < 1:
            # The smallest set that reaches top_p: what stands before a token has not reached it.
            before = np.cumsum(found[order]) - found[order]
            found[order[before >= sampling.top_p]] = 0
    if sampling.min_p > 0:
        found[found < sampling.min_p * found.max()] = 0
    return found / found.sum()


def draw(chances: np.ndarray, number: float) -> int:
    """The token at `number` in [0, 1) of the summed distribution; never one without a chance."""
    sums = np.cumsum(chances)
    place = int(np.searchsorted(sums, number * sums[-1], side="right"))
    if place >= len(chances) or chances[place] == 0:
        return int(np.flatnonzero(chances)[-1])
    return place


def sample(
    logits: np.ndarray, sampling: Sampling, prompt: Sequence[int], made: Sequence[int]
) -> Drawn:
    """The next token of a request that has `prompt` and has made `made`; logits (vocabulary).

    Raises DataError for logits that are no numbers.
    """
    if not np.isfinite(logits.max()) or np.isnan(logits.min()):
        raise DataError("the model gives logits that are no numbers")
    chosen_from = logits if sampling.plain else penalised(logits, sampling, prompt, made)
    if sampling.temperature == 0:
        token = int(np.argmax(chosen_from))
    else:
        chances = probabilities(chosen_from, sampling)
        token = draw(chances, uniform(sampling.seed, len(made), sampling.sample))
    if sampling.logprobs is None:
        return Drawn(token)
    own, top = log_probabilities(logits[None], [token], sampling.logprobs)[0]
    return Drawn(token, own, top)


def log_probabilities(
    logits: np.ndarray | torch.Tensor, tokens: Sequence[int], top: int
) -> list[tuple[float, tuple[tuple[int, float], ...]]]:
    """Of each row of logits: the log-probability of its token, and the `top` likeliest with
    theirs."""
    rows = np.asarray(logits, dtype=np.float64)
    highest = rows.max(1, keepdims=True)
    rows = rows - (highest + np.log(np.exp(rows - highest).sum(1, keepdims=True)))
    found = []
    for row, token in zip(rows, tokens):
        best: list[int] = []
        if top:
            kept = min(top, len(row))
            ids = np.argpartition(-row, kept - 1)[:kept]
            best = sorted(ids.tolist(), key=lambda id: (-row[id], id))
        found.append((float(row[token]), tuple((id, float(row[id])) for id in best)))
    return found
