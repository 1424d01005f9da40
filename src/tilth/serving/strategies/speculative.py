"""Speculative decoding, by turns or at the same time: one rule of rounds.

In a round the target reads what it has not read yet and gives a distribution for every token that
was drafted ahead, and for the one behind them. The tokens are tested in turn (`acceptance`) up to
the first that is refused, which is replaced.

- By turns (`pre` and `post` both False; Leviathan et al., 2023, arXiv 2211.17192): `length` tokens
  are drafted, then the target reads them. Where all are kept it gives one more token of its own.
- PEARL (both True; Liu et al., 2024): drafting goes on while the target reads. With nothing ahead
  the target's reading tests the first token of the draft that is being written (pre-verify); with
  tokens ahead it tests those while the next are written (post-verify). Where all are kept drafts
  follow each other without an end, so their length adapts itself. A refusal throws away what is
  ahead, and both caches take it back. With one of the two flags: the paper's ablations.

A token drafted during a round is tested as soon as the target has its distribution: the first one
within the round, where the official code waits for the next.

The distribution of the answer is the target's own. With both flags the answer is a function of the
models, the prompt and the seed alone, whatever `length` is: every token is drafted, tested and
replaced with the numbers of its position. By turns the token behind a kept draft is drawn plainly,
so another length gives another, equally likely answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tilth.errors import UsageError
from tilth.serving.sampler import Drawn, Sampling, draw
from tilth.serving.strategies import acceptance
from tilth.serving.strategies.drafting import Script, Writes
from tilth.serving.strategies.stream import Stream


class Round(NamedTuple):
    """What one round did. `before`: tokens drafted while the target waited; `beside`: while it
    read `read` tokens; `tested` of the drafted ones, `kept` of them, `given` in all."""

    before: int
    beside: int
    read: int
    tested: int
    kept: int
    given: int


@dataclass
class Tally:
    """All rounds since it was made."""

    rounds: list[Round] = field(default_factory=list)

    @property
    def acceptance(self) -> float:
        """The share of tested tokens that were kept."""
        tested = sum(one.tested for one in self.rounds)
        return sum(one.kept for one in self.rounds) / tested if tested else float("nan")

    @property
    def tokens_a_round(self) -> float:
        """Tokens given for each time that the target read."""
        return sum(one.given for one in self.rounds) / max(1, len(self.rounds))

    def runs(self) -> list[int]:
        """How many tokens were kept between one refusal and the next."""
        found, run = [], 0
        for one in self.rounds:
            run += one.kept
            if one.kept < one.tested:
                found.append(run)
                run = 0
        return [*found, run]


class Speculative:
    """`length`: tokens drafted at a time; for PEARL about as many as the draft writes while the
    target reads so many (`length.for_pearl`)."""

    def __init__(
        self, drafter: Writes, *, length: int = 4, pre: bool = False, post: bool = False
    ) -> None:
        if length < 1:
            raise UsageError("a draft has at least one token")
        self.drafter, self.length, self.pre, self.post = drafter, length, pre, post
        self.tally = Tally()

    def rounds(
        self, target: Stream, prompt: Sequence[int], tokens: int, sampling: Sampling,
        script: Script | None = None,
    ) -> Iterator[list[Drawn]]:  # fmt: skip
        """The next tokens, some a round, `tokens` in all; ends of texts are the caller's affair.

        `target`: a new stream of the prompt. Raises LimitError where the draft's context is too
        short, DataError for logits that are no numbers, and what the drafter raises.
        """
        prompt = list(prompt)
        made: list[int] = []
        ahead: list[tuple[int, object]] = []
        size, limit = target.runner.shape.vocabulary, len(prompt) + tokens
        self.drafter.begin(
            prompt, sampling, vocabulary=size, tokens=tokens, script=script
        )  # fmt: skip
        while len(made) < tokens:
            room, before = tokens - len(made), 0
            if not ahead and not self.pre:
                # By turns the target gives the last token itself.
                before = min(self.length, room - (not self.post))
                ahead = self._drafted(made, before)
            overlap = self.post if ahead else self.pre
            beside = min(self.length, room - len(ahead)) if overlap else 0
            known = [*made, *(token for token, _ in ahead)]
            if beside:
                self.drafter.start(known, beside)
            # The last token of the answer is only given, never read.
            stop = min(len(prompt) + len(known), limit - 1)
            new = [*prompt, *known][target.length : stop]
            logits = target.feed(
                new, stop - (len(prompt) + len(made) - 1), limit - 1 - stop
            )  # fmt: skip
            following = self.drafter.finish().pairs() if beside else []
            tested = [*ahead, *following[:1]]
            given, kept = self._settled(logits, tested, prompt, made, sampling)
            if kept == len(tested) < len(logits) and len(given) < room:
                given.append(self._own(logits[kept], prompt, [*made, *_ids(given)], sampling))
            self.tally.rounds.append(
                Round(before, beside, len(new), kept + (kept < len(tested)), kept, len(given))
            )
            made += _ids(given)
            ahead = following[1:] if kept == len(tested) else []
            if not ahead:
                target.keep(len(prompt) + len(made) - 1)
            yield given

    def _drafted(self, made: Sequence[int], count: int) -> list:
        if not count:
            return []
        self.drafter.start(made, count)
        return self.drafter.finish().pairs()

    def _settled(
        self, logits, tested, prompt: list[int], made: list[int], sampling: Sampling
    ) -> tuple[list[Drawn], int]:
        """The tokens of the positions up to the first refusal, and how many were kept."""
        given: list[Drawn] = []
        for row, (token, q) in zip(logits, tested):
            before = [*made, *_ids(given)]
            p = acceptance.chances(row, sampling, prompt, before)
            settled, kept = acceptance.settle(p, q, token, sampling, len(before))
            given.append(acceptance.drawn(row, settled, sampling))
            if not kept:
                return given, len(given) - 1
        return given, len(given)

    def _own(self, row, prompt: list[int], made: list[int], sampling: Sampling) -> Drawn:
        """A token from the target's distribution itself."""
        p = acceptance.chances(row, sampling, prompt, made)
        token = draw(p, acceptance.number(sampling, len(made), acceptance.OWN))
        return acceptance.drawn(row, token, sampling)


def _ids(given: Sequence[Drawn]) -> list[int]:
    return [token.id for token in given]
