"""An engine whose requests are answered one after the other, each by rounds of a strategy.

The same interface as `engine.Engine` (submit, step, cancel, complete, generate; a step is a
round), the same cache with prefix sharing, the same sampling, ends and stop texts. What it does not
do: many requests in one row, and log-probabilities of prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, LimitError, UsageError
from tilth.serving.engine import Engine
from tilth.serving.live import Event, Live
from tilth.serving.opening import model_folder, open_model
from tilth.serving.sampler import Drawn, Sampling
from tilth.serving.strategies.drafting import Drafter, Writes
from tilth.serving.strategies.length import Forecast, best, measure
from tilth.serving.strategies.remote import RemoteDrafter
from tilth.serving.strategies.speculative import Speculative, Tally
from tilth.serving.strategies.stream import Stream

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


class SpeculativeEngine(Engine):
    """`draft`: a folder, or a model. `pre`, `post`: see `speculative`; where one is set and the
    draft is a folder, it runs in a process of its own. `length`, `say`: see `open_engine`.

    `forecast`: what was expected when the length was measured; None where it was given.

    Raises UsageError where the two tokenizers differ, or a model runs through `transformers`.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: Tokenizer | None = None,
        *,
        draft: str | Path | PreTrainedModel,
        pre: bool = False,
        post: bool = False,
        length: int | None = None,
        say: Callable[[str], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        dtype, device = (options.get(name, default) for name, default in (
            ("dtype", "float32"), ("device", "cpu")))  # fmt: skip
        folder = model_folder(draft) if isinstance(draft, (str, Path)) else None
        opened = open_model(folder or draft, None if folder else self.tokenizer, dtype, device)
        if opened.tokenizer.get_vocab() != self.tokenizer.get_vocab():
            raise UsageError("the draft model has another tokenizer",
                             hint="a draft of the same family, or distilled")  # fmt: skip
        for one in (self, opened):
            if one.note:
                raise UsageError(f"no draft and target: {one.note}")
        self._draft_context = opened.context
        self.forecast: Forecast | None = None
        if length is None:
            if say is not None:
                say("the model and its draft are measured, for how many tokens to draft at a time")
            costs = measure(self.runner), measure(opened.runner)
            self.forecast = best("pearl" if pre and post else "turns", *costs)
            length = self.forecast.length
        drafter: Writes = Drafter(opened.runner)
        if folder is not None and (pre or post) and device == "cpu":
            drafter = RemoteDrafter(folder, dtype)
            drafter.run()
        self.strategy = Speculative(drafter, length=length, pre=pre, post=post)
        self._rounds: Iterator[list[Drawn]] | None = None
        self._stream: Stream | None = None
        self._served: Live | None = None

    @property
    def tally(self) -> Tally:
        """What the rounds so far did."""
        return self.strategy.tally

    def check(self, prompt: int, tokens: int) -> None:
        """As for `Engine`; the draft's context counts too."""
        super().check(prompt, tokens)
        if prompt + max(tokens, 1) - 1 > self._draft_context:
            raise LimitError(f"the prompt takes {prompt:,} tokens and {tokens:,} are asked for; "
                             f"the draft model's context is {self._draft_context:,}")  # fmt: skip

    def submit(
        self, prompt: str | Sequence[int], tokens: int = 64, sampling: Sampling | None = None, *,
        scores: bool = False,
    ) -> int:  # fmt: skip
        """As for `Engine`, without `scores`."""
        if scores:
            raise UsageError("an engine with a draft gives no log-probabilities of prompts")
        return super().submit(prompt, tokens, sampling)

    def step(self) -> list[Event]:
        """One round of the oldest request."""
        events, self._events = self._events, []
        if not self.running and self.waiting:
            self.running.append(self.waiting.popleft())
        if not self.running:
            return events
        live = self.running[0]
        try:
            if self._rounds is None:
                self._served = live
                self._stream = Stream(self.runner, self.cache, live.prompt)
                self._rounds = self.strategy.rounds(
                    self._stream, live.prompt, live.tokens, live.sampling
                )
            given = next(self._rounds)
        except Exception as error:  # whatever it is, the engine goes on
            detail = f"{type(error).__name__}: {error}"[:300]
            if isinstance(error, (DataError, LimitError)):
                detail = str(error)
            return [*events, self._over(live, Event(live.id, reason="failed", detail=detail))]
        for token in given:
            event = live.took(token)
            if event.reason:
                return [*events, self._over(live, event)]
            events.append(event)
        return events

    def _release(self, live: Live) -> None:
        if live is self._served:
            if self._stream is not None:
                self._stream.close()
            self._served = self._stream = self._rounds = None

    def close(self) -> None:
        """End the draft's process, where there is one; it also ends with the engine."""
        if isinstance(self.strategy.drafter, RemoteDrafter):
            self.strategy.drafter.stop()
