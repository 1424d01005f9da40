"""Superposed decoding: several drafts of one answer from one stream of the model.

    drafts = superpose(runner, cache, prompt, tokens=10, drafts=3)
    drafts[0].ids, drafts[0].logprob                       # the best first

Shen et al., 2024 (arXiv 2405.18400). After the prompt the model reads, at each position, not one
token but the sum of the drafts' last embeddings, weighted with how likely each draft is so far; its
one distribution p serves all drafts. What tells drafts apart is counted: each draft weighs p with
what followed its own last tokens in a text,

    score(draft, token) = (1 - alpha) log p(token) + alpha log p_ngram(token | draft)

over the `candidates` likeliest tokens of p at a low `temperature`, and of all continuations those
with the highest sums go on. A token that the n-grams of a draft do not know scores 200 less.

When: several short suggestions (completions, at most some ten tokens), where one stream's time
counts. When not: long or exact answers (the stream is a mixture of all drafts, and no draft's own),
samples (these are guesses), or where requests can share a row: one batch of k costs little more
than one stream on most machines. A draft cannot be gone on with without reading it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tilth.errors import DataError, UsageError
from tilth.serving.model_runner import Segment
from tilth.serving.strategies.stream import Stream

if TYPE_CHECKING:
    import numpy as np

    from tilth.serving.cache import KVCache

TEMPERATURE, ALPHA = 0.06, 0.54
UNKNOWN = 200.0
# How many of the likeliest tokens are looked at, for each draft.
CANDIDATES = 3


class Counts(Protocol):
    """What superposing asks of n-grams: see `ngrams.Grams`."""

    def chances(self, context: Sequence[int], tokens: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Superposed:
    """A draft without its end. `logprob`: its sum of scores; `ended`: whether it came to an end."""

    ids: list[int]
    logprob: float
    ended: bool = False


def superpose(
    runner: Any, cache: KVCache, prompt: Sequence[int], *, tokens: int, drafts: int = 3,
    ngrams: Counts | None = None, alpha: float = ALPHA, temperature: float = TEMPERATURE,
    candidates: int = 0, ends: Iterable[int] = (),
) -> list[Superposed]:  # fmt: skip
    """The `drafts` best continuations of at most `tokens` tokens, the best first.

    `candidates`: tokens looked at a step, 0 for 3 a draft. Without `ngrams` alpha does not count.
    One draft without n-grams is the greedy answer. Raises UsageError for numbers out of range or a
    model that runs through `transformers`, DataError for logits that are no numbers.
    """
    import numpy as np

    if drafts < 1 or tokens < 1 or temperature <= 0 or not 0 <= alpha <= 1:
        raise UsageError("drafts and tokens are at least 1, temperature above 0, alpha from 0 to 1")
    alpha, stops = (alpha if ngrams is not None else 0.0), frozenset(ends)
    candidates = candidates or CANDIDATES * drafts
    if not drafts <= candidates <= runner.shape.vocabulary:
        raise UsageError(f"{candidates:,} candidates for {drafts:,} drafts of a vocabulary of "
                         f"{runner.shape.vocabulary:,}")  # fmt: skip
    stream = Stream(runner, cache, prompt)
    try:
        logits = stream.feed(prompt[stream.length :], 1, tokens - 1)[0]
        # What follows is a mixture: no block of it may be found by its tokens.
        cache.open(stream.chain, ())
        likely, chances = _likeliest(logits, 1.0, drafts)
        live = [([int(token)], float(chance)) for token, chance in zip(likely, chances)]
        done: list[Superposed] = []
        for step in range(tokens):
            for ids, score in list(live):
                if ids[-1] in stops:
                    live.remove((ids, score))
                    done.append(Superposed(ids[:-1], score, True))
            if not live or step == tokens - 1:
                break
            scores = np.array([score for _, score in live])
            weights = np.exp(scores - scores.max())
            logits = _mixed(stream, [ids[-1] for ids, _ in live], weights / weights.sum())
            likely, chances = _likeliest(logits, temperature, candidates)
            live = _followed(live, likely, chances, prompt, ngrams, alpha, drafts - len(done))
        done += [Superposed(ids, score) for ids, score in live]
    finally:
        stream.close()
    return sorted(done, key=lambda one: -one.logprob)[:drafts]


def _mixed(stream: Stream, tokens: Sequence[int], weights: np.ndarray) -> np.ndarray:
    """Logits after the weighted sum of the tokens' embeddings."""
    import torch

    runner = stream.runner
    table = runner.weights.embed
    parts = table[torch.tensor(list(tokens), device=table.device)]
    mixed = torch.tensor(weights, dtype=table.dtype, device=table.device) @ parts
    segment = Segment(stream.chain, [tokens[0]])
    return runner.forward(stream.cache, [segment], embeds=mixed[None])[0].cpu().numpy()


def _likeliest(logits: np.ndarray, temperature: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` likeliest tokens, and their log-probabilities among themselves.

    In float64: at so low a temperature nearly all is at one token.
    """
    import numpy as np

    if not np.isfinite(logits.max()) or np.isnan(logits.min()):
        raise DataError("the model gives logits that are no numbers")
    order = np.argsort(-logits, kind="stable")[:count]
    scaled = logits[order].astype(np.float64) / temperature
    return order, scaled - (scaled[0] + np.log(np.exp(scaled - scaled[0]).sum()))


def _followed(
    live: list[tuple[list[int], float]], likely: np.ndarray, chances: np.ndarray,
    prompt: Sequence[int], ngrams: Counts | None, alpha: float, count: int,
) -> list[tuple[list[int], float]]:  # fmt: skip
    """The `count` best of all drafts with all candidates, the best first."""
    import numpy as np

    scores = np.empty((len(live), len(likely)))
    for row, (ids, score) in zip(scores, live):
        row[:] = score + (1 - alpha) * chances
        if alpha and ngrams is not None:
            known = ngrams.chances([*prompt, *ids], likely)
            with np.errstate(divide="ignore"):
                row += np.where(known > 0, alpha * np.log(known), -UNKNOWN)
    best = np.argsort(-scores, axis=None, kind="stable")[:count]
    found = []
    for draft, token in zip(*np.unravel_index(best, scores.shape)):
        found.append(([*live[draft][0], int(likely[token])], float(scores[draft, token])))
    return found
