"""Draft, test, correct: so that a drafted token is distributed as one drawn from the target.

A token x drawn from q is kept with probability min(1, p(x) / q(x)); else one is drawn from
max(p - q, 0), normalised. What comes out has distribution p, whatever q is (Leviathan et al., 2023,
arXiv 2211.17192; Chen et al., 2023, arXiv 2302.01318). Both p and q are what is drawn from: after
penalties, temperature and filters. At temperature 0 both have one token, and the rule is equality.

Each position has three random numbers, functions of (seed, sample, position): one for the plain
draw or the correction, one for the draft, one for the test. A position may be drafted several
times; whatever was drafted before was thrown away unlooked at, so its numbers are still fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tilth.errors import DataError
from tilth.serving.sampler import (
    Drawn,
    Sampling,
    draw,
    log_probabilities,
    penalised,
    probabilities,
    uniform,
)

if TYPE_CHECKING:
    import numpy as np

OWN, DRAFT, TEST = 0, 1, 2


def chances(
    logits: np.ndarray, sampling: Sampling, prompt: Sequence[int], made: Sequence[int]
) -> np.ndarray:
    """What the token behind `prompt` and `made` is drawn from, (vocabulary), float64.

    Raises DataError for logits that are no numbers.
    """
    import numpy as np

    if not np.isfinite(logits.max()) or np.isnan(logits.min()):
        raise DataError("the model gives logits that are no numbers")
    if not sampling.plain:
        logits = penalised(logits, sampling, prompt, made)
    return probabilities(logits, sampling)


def number(sampling: Sampling, position: int, stream: int) -> float:
    """The random number of a position for one of the three purposes, in [0, 1)."""
    return uniform(sampling.seed, position, sampling.sample, stream)


def left_over(p: np.ndarray, q: np.ndarray | None, token: int) -> np.ndarray:
    """max(p - q, 0), normalised: what is drawn from where `token` was refused.

    `q` None: the draft had one choice, `token`.
    """
    import numpy as np

    if q is None:
        rest = p.copy()
        rest[token] = 0.0
    else:
        rest = np.maximum(p - q, 0.0)
    total = rest.sum()
    # Equal up to rounding: whatever is refused then had next to no chance of it.
    return rest / total if total > 0 else p


def settle(
    p: np.ndarray, q: np.ndarray | None, token: int, sampling: Sampling, position: int
) -> tuple[int, bool]:
    """The token of a position for which `token` was drawn from `q`, and whether it is that one."""
    chance = 1.0 if q is None else float(q[token])
    if number(sampling, position, TEST) * chance < p[token]:
        return token, True
    return draw(left_over(p, q, token), number(sampling, position, OWN)), False


def drawn(logits: np.ndarray, token: int, sampling: Sampling) -> Drawn:
    """A token with the log-probabilities that were asked for; logits are the target's."""
    if sampling.logprobs is None:
        return Drawn(token)
    own, top = log_probabilities(logits[None], [token], sampling.logprobs)[0]
    return Drawn(token, own, top)
