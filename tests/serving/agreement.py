"""The steps of generation that the tests compare, counted over all of them.

Two ways to add the same numbers round otherwise, so where two tokens are nearly equally likely
either may be taken, by us or by `transformers`. The tests count how often that could happen and how
often it did; `conftest` fails where it could in more than one of a hundred, and prints all.
"""

from collections import defaultdict
from dataclasses import dataclass

# The logits of two tokens that rounding may decide between; those of transformers are within a
# tenth of it.
NEAR = 1e-3
# How far rounding may move what a random number in [0, 1) is compared with: as far as logits.
NEAR_NUMBER = 1e-5
# Of all steps, those that rounding may decide.
MOST = 0.01


@dataclass
class Count:
    """`steps` that were compared, how many of them are `near`, and how many gave `other` tokens."""

    steps: int = 0
    near: int = 0
    other: int = 0


class Agreement:
    def __init__(self):
        self.counts = defaultdict(Count)
        self.shares = defaultdict(Count)
        self.furthest = {}

    def step(self, what, token, expected, near):
        """One step in 32 bits; whether it gave the expected token. Fails where it did not and no
        rounding can be the reason."""
        count = self.counts[what]
        count.steps += 1
        count.near += near
        count.other += token != expected
        assert near or token == expected, f"{what}: token {token}, not {expected}"
        return token == expected

    def share(self, what, token, expected):
        """One step in 16 bits, where tokens are only counted."""
        self.shares[what].steps += 1
        self.shares[what].other += token != expected
        return token == expected

    def logits(self, what, found, expected, bound=1e-4):
        """Logits that are to be equal within `bound`."""
        distance = float((found - expected).abs().max())
        self.furthest[what] = max(self.furthest.get(what, 0.0), distance)
        assert distance <= bound, f"{what}: logits differ by {distance:.1e}"

    def total(self):
        counts = self.counts.values()
        return Count(*(sum(getattr(one, name) for one in counts) for name in vars(Count())))

    def check(self):
        """At most one of a hundred steps; a few where few tests were chosen to run."""
        total = self.total()
        assert total.near <= max(5, MOST * total.steps), f"{total} near ties"

    def lines(self):
        for what, one in [*sorted(self.counts.items()), ("all in float32", self.total())]:
            if one.steps:
                share = 100 * one.near / one.steps
                yield (f"{what}: {one.steps:,} steps, {one.near:,} of them near ties "
                       f"({share:.2f} %), {one.other:,} other tokens")  # fmt: skip
        for what, one in sorted(self.shares.items()):
            equal = 100 - 100 * one.other / one.steps
            yield f"{what}: {equal:.1f} % of {one.steps:,} tokens are equal"
        for what, distance in sorted(self.furthest.items()):
            yield f"{what}: logits within {distance:.1e}"
