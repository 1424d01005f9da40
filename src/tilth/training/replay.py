"""Replay: some of the old text among the new, so that a model that goes on forgets less.

Robins (1995); for language models Scialom et al. (2022), and Ibrahim et al. (2024), who find 1 to
5 % enough with a schedule that warms up again. The new text is read slower by that share.
"""

from __future__ import annotations

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.tokens.documents import TokenDocuments, TokenSource


def replayed(new: TokenSource, old: TokenSource, share: float, seed: int = 0) -> TokenDocuments:
    """All of `new`, and of `old` so many whole documents that they are `share` of all tokens.

    They are drawn without putting back; a share of 0 gives exactly the new documents. The end
    token and the vocabulary must be the same. Raises DataError where the old text is too short.
    """
    if not 0 <= share < 1:
        raise UsageError(f"a share of {share} does not lie from 0 to 1")
    if (new.vocabulary, new.end) != (old.vocabulary, old.end):
        raise DataError("old and new text come from different vocabularies")
    if share and getattr(new, "extra", {}).keys() != getattr(old, "extra", {}).keys():
        raise DataError("old and new text do not have the same columns")
    mine = new.select(range(len(new)))
    wanted = share / (1 - share) * new.total_tokens
    if wanted == 0:
        return mine
    order = np.random.default_rng([seed, 5]).permutation(len(old))
    ends = np.cumsum(old.lengths[order])
    count = int(np.searchsorted(ends, wanted)) + 1
    if count > len(order):
        raise DataError(
            f"{share:.0%} of the tokens are to be old text, {wanted:,.0f} tokens, but there are "
            f"{old.total_tokens:,}"
        )
    theirs = old.select(order[:count].tolist())
    return TokenDocuments(
        [*mine.ids, *(f"old {id}" for id in theirs.ids)],
        [*mine.tokens, *theirs.tokens],
        new.vocabulary,
        new.end,
        [*mine.sizes, *theirs.sizes],
        {name: [*values, *theirs.extra[name]] for name, values in mine.extra.items()},
    )
