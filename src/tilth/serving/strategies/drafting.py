"""Who writes drafts: a small model in this process, or in a process of its own.

    drafter = Drafter(open_model(FOLDER).runner)          # or RemoteDrafter(FOLDER)
    drafter.begin(prompt, sampling, vocabulary=2048, tokens=40)
    drafter.start(known, count=4)                         # known: what follows the prompt so far
    tokens, chances = drafter.finish()

`start` says what is known now; whatever the drafter had read beyond that, its cache takes back. A
drafter in this process has drafted when `start` returns; a remote one drafts until `finish`. Both
run the same code, so that tokens and chances are equal bit for bit where both have as many threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tilth.errors import LimitError
from tilth.serving.sampler import Sampling, draw
from tilth.serving.strategies import acceptance
from tilth.serving.strategies.stream import Stream

if TYPE_CHECKING:
    import numpy as np

BLOCK = 16


class Draft(NamedTuple):
    """`chances` (tokens, vocabulary of the target), float64: what each was drawn from; None where
    each had one choice."""

    tokens: list[int]
    chances: np.ndarray | None

    def pairs(self) -> list[tuple[int, np.ndarray | None]]:
        """Each token with what it was drawn from."""
        if self.chances is None:
            return [(token, None) for token in self.tokens]
        return list(zip(self.tokens, self.chances))


@dataclass(frozen=True)
class Script:
    """For measuring time without trained models: what the draft is to propose at each position, and
    how often (`rate`); else it proposes another token. The model runs all the same. Only at
    temperature 0."""

    tokens: Sequence[int]
    rate: float
    seed: int = 0


class Writes(Protocol):
    """What a strategy asks of a drafter."""

    def begin(
        self, prompt: Sequence[int], sampling: Sampling, *, vocabulary: int, tokens: int,
        script: Script | None = None,
    ) -> None: ...  # fmt: skip

    def start(self, known: Sequence[int], count: int) -> None: ...

    def finish(self) -> Draft: ...

    def close(self) -> None: ...


@dataclass(eq=False)
class Drafter:
    """A model in this process. `runner`: a `ModelRunner`; one sequence at a time, a cache of its
    own. `begin` raises LimitError where prompt and answer do not fit into the model's context."""

    runner: Any
    _stream: Stream | None = None
    _prompt: list[int] = field(default_factory=list)
    _sampling: Sampling = field(default_factory=Sampling)
    _vocabulary: int = 0
    _script: Script | None = None
    _made: Draft | None = None
    _cache: Any = None

    def begin(
        self, prompt: Sequence[int], sampling: Sampling, *, vocabulary: int, tokens: int,
        script: Script | None = None,
    ) -> None:  # fmt: skip
        """A new request of a target with so large a vocabulary."""
        most, context = len(prompt) + tokens - 1, self.runner.shape.context
        if most > context:
            raise LimitError(f"prompt and answer take {most:,} tokens; the draft model's context "
                             f"is {context:,}")  # fmt: skip
        self._prompt, self._sampling = list(prompt), sampling
        self._vocabulary, self._script, self._made = vocabulary, script, None
        if self._stream is not None:
            self._stream.close()
        needed = -(-(most + 1) // BLOCK)
        if self._cache is None or self._cache.table.total < needed:
            self._cache = self.runner.cache(needed, BLOCK, share=False)
        self._stream = Stream(self.runner, self._cache)

    def start(self, known: Sequence[int], count: int) -> None:
        """Draft `count` tokens behind prompt and `known`."""
        stream = self._stream
        assert stream is not None
        whole = [*self._prompt, *known]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(stream.tokens, self._own(whole)))
        stream.keep(min(sum(1 for _ in same), len(whole) - 1))
        tokens: list[int] = []
        chances: list[np.ndarray] = []
        for _ in range(count):
            new = self._own(whole[stream.length :])
            logits = self._fitted(stream.feed(new, ahead=count)[0])
            token, chance = self._propose(logits, whole[len(self._prompt) :])
            tokens.append(token)
            chances.append(chance)
            whole.append(token)
        if self._sampling.temperature == 0:
            self._made = Draft(tokens, None)
        else:
            import numpy as np

            self._made = Draft(tokens, np.stack(chances))

    def finish(self) -> Draft:
        """What was drafted."""
        made, self._made = self._made, None
        assert made is not None
        return made

    def close(self) -> None:
        """Forget the request."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _propose(self, logits: np.ndarray, made: Sequence[int]) -> tuple[int, np.ndarray]:
        chances = acceptance.chances(logits, self._sampling, self._prompt, made)
        place = len(made)
        token = draw(chances, acceptance.number(self._sampling, place, acceptance.DRAFT))
        if (script := self._script) is not None and place < len(script.tokens):
            right = acceptance.uniform(script.seed, place, stream=acceptance.DRAFT) < script.rate
            token = script.tokens[place] if right else (script.tokens[place] + 1) % len(logits)
        return token, chances

    def _own(self, ids: Sequence[int]) -> list[int]:
        """Tokens that only the target's padded vocabulary has are read as the first one."""
        size = self.runner.shape.vocabulary
        return [id if id < size else 0 for id in ids]

    def _fitted(self, logits: np.ndarray) -> np.ndarray:
        """Vocabularies may differ by what they are padded with: the target's counts."""
        import numpy as np

        lacking = self._vocabulary - len(logits)
        if lacking <= 0:
            return logits[: self._vocabulary]
        return np.pad(logits, (0, lacking), constant_values=-np.inf)
