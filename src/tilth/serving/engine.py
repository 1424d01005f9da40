"""The engine: prompts in, texts out, many at a time.

    engine = Engine("my-model")
    print(engine.generate(["The function returns", "Raises"], tokens=20, temperature=0))

Underneath is a loop of steps, for those who serve requests as they come (an HTTP server does it
from one thread; nothing here may be called from two):

    number = engine.submit("The function returns", tokens=20, sampling=Sampling(seed=4))
    while engine.busy:
        for event in engine.step():             # one row of tokens through the model
            event.request, event.text           # letters that are settled; never half a letter
            event.token                         # Drawn(id, logprob, top), None for an end
            event.reason                        # "" goes on; stop, length, cancelled, failed
    engine.cancel(number)                       # any time between steps; its blocks go back

`submit` raises LimitError, with both numbers, for what can never fit, and UsageError for settings
that are none; nothing that a request holds can stop the others: what goes wrong in a step becomes
an event with reason "failed". Memory is bounded: the cache is allocated once, and a request waits,
or gives its blocks back and is read again later, when they are short. How long the queue may be is
the caller's affair (`len(engine.waiting)`).

One paged cache with prefix sharing (PagedAttention: Kwon et al., 2023, arXiv 2309.06180), one row a
step whose make-up a policy decides (Orca: Yu et al., 2022; Sarathi-Serve: Agrawal et al., 2024,
arXiv 2403.02310), one sampler. Texts depend neither on the policy nor on who else is served, apart
from rounding: where two tokens are nearly equally likely, another batch may take the other.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError, LimitError, TilthError, UsageError, nearest
from tilth.serving import sampler
from tilth.serving.letters import Letters
from tilth.serving.live import Completion, Event, Live
from tilth.serving.model_runner import Segment
from tilth.serving.opening import Opened, open_model
from tilth.serving.sampler import Sampling
from tilth.serving.scheduler import Limits, Plan, policy_named, schedule
from tilth.tokens.bpe import encode

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

MEMORY = 512 * 2**20


class Engine:
    """Serves one model: the folder of one, or a model with its tokenizer.

    `policy`: one of `scheduler.POLICIES`. `row`: tokens a step; `sequences`: requests that run at
    once. `memory`: bytes for the cache, or `blocks`, of `block` tokens each; no more is taken than
    so many requests of full length need. `share`: find beginnings that were read before. `dtype`:
    such as "bfloat16"; float32 by default, so that texts depend on the batch as little as can be.

    `note` says why a model runs through `transformers` instead, without paging; empty for the
    families that the engine has a decoder for. Errors as for `models.folder.load_model`.
    """

    def __init__(
        self,
        model: str | Path | PreTrainedModel,
        tokenizer: Tokenizer | None = None,
        *,
        policy: str = "stall_free",
        row: int = 512,
        sequences: int = 32,
        memory: int = MEMORY,
        blocks: int | None = None,
        block: int = 16,
        share: bool = True,
        keys: str = "turned",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> None:
        sizes = (row, sequences, memory, block)
        if not all(isinstance(one, Integral) for one in sizes) or min(sizes) < 1:
            raise UsageError("row, sequences, memory and block are whole numbers of at least 1")
        opened: Opened = open_model(model, tokenizer, dtype, device)
        self.runner, self.tokenizer, self.note = opened.runner, opened.tokenizer, opened.note
        self.begin, self.ends = opened.begin, opened.ends
        self.context, self.policy = opened.context, policy_named(policy)
        if getattr(self.runner, "turn", None) is not None:
            # Read in parts, such a prompt is read otherwise.
            self.policy = replace(self.policy, chunked=False)
        if block > self.context:
            raise UsageError(f"block is at most the model's context, {self.context:,}")
        if blocks is None:
            blocks = max(1, memory // (block * max(1, self.runner.bytes_per_token())))
            blocks = min(blocks, sequences * -(-self.context // block))
        try:
            self.cache = self.runner.cache(blocks, block, share=share, keys=keys)
        except (RuntimeError, MemoryError):
            size = blocks * block * self.runner.bytes_per_token()
            raise LimitError(f"there is no room for a cache of {size:,} bytes",
                             hint="less memory, or fewer sequences") from None  # fmt: skip
        # A decode takes a token of the row: a row that cannot hold all would starve the youngest.
        self.row, self.sequences = max(row, sequences), sequences
        self.waiting: deque[Live] = deque()
        self.running: list[Live] = []
        # What the last step ran, for those who watch.
        self.plan = Plan()
        self._numbers = itertools.count()
        self._events: list[Event] = []

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self.waiting or self.running or self._events)

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a prompt, as the beginning of a document. DataError for what is no text."""
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(f"the prompt is no valid text: {error.reason}") from None
        # By the call for many texts: that for one keeps Python's lock, and all threads would wait.
        return [self.begin, *encode(self.tokenizer, [prompt])[0]]

    def check(self, prompt: int, tokens: int) -> None:
        """Raises LimitError where a prompt of so many tokens, and an answer of so many, cannot
        fit."""
        if prompt < 1 or tokens < 0:
            raise UsageError("a prompt has at least one token, an answer not fewer than none")
        # The last token is only given back, never read.
        most = prompt + max(tokens, 1) - 1
        asked = f"the prompt takes {prompt:,} tokens and {tokens:,} are asked for; the model's "
        hint = "a shorter prompt or fewer tokens"
        if most > self.context:
            raise LimitError(f"{asked}context is {self.context:,}", hint=hint)
        room = self.cache.table.total * self.cache.block
        if self.cache.blocks_for(most) > self.cache.table.total:
            raise LimitError(f"{asked}cache holds {room:,}", hint=f"{hint}, or more memory")

    def submit(
        self,
        prompt: str | Sequence[int],
        tokens: int = 64,
        sampling: Sampling | None = None,
        *,
        scores: bool = False,
    ) -> int:
        """Queue a request; the number by which its events name it.

        `prompt`: a text, or token ids. `tokens`: how many to give at most. `scores`: also the
        log-probabilities of the prompt's tokens, with its last event; `tokens` may then be 0.
        """
        sampling = sampling or Sampling()
        ids = self.encode(prompt) if isinstance(prompt, str) else _whole(prompt)
        (tokens,) = _whole([tokens])
        self.check(len(ids), tokens)
        size = self.runner.shape.vocabulary
        if strange := next((one for one in ids if not 0 <= one < size), None):
            raise UsageError(f"there is no token {strange}: the vocabulary has {size:,}")
        if not tokens and not scores:
            raise UsageError("tokens is at least 1")
        ends = frozenset(sampling.stop_tokens)
        ends |= frozenset() if sampling.ignore_end else self.ends
        live = Live(next(self._numbers), ids, tokens, sampling,
                    Letters(self.tokenizer, ids, sampling.stop), ends,
                    [] if scores else None)  # fmt: skip
        self.waiting.append(live)
        return live.id

    def close(self) -> None:
        """End processes of its own, which only engines with a draft have."""

    def cancel(self, request: int) -> bool:
        """End a request; whether it was there. Its event comes with the next step."""
        for live in (*self.waiting, *self.running):
            if live.id == request:
                self._events.append(self._over(live, Event(request, reason="cancelled")))
                return True
        return False

    def step(self) -> list[Event]:
        """Run one row of tokens; what came of it, in the order of the row."""
        events, self._events = self._events, []
        limits = Limits(self.row, self.sequences, self.cache.table.free, self.cache.block)
        # No more need be looked at than could be admitted.
        look = len(self.waiting) if self.policy.packed else self.sequences - len(self.running)
        waiting = list(itertools.islice(self.waiting, look))
        plan = schedule(
            [live.job(self.cache) for live in waiting],
            [live.job(self.cache) for live in self.running],
            limits,
            self.policy,
        )
        self.plan = plan
        by_id = {live.id: live for live in (*self.running, *waiting)}
        for number in reversed(plan.preempted):
            live = by_id[number]
            self.running.remove(live)
            self._release(live)
            self.waiting.appendleft(live)
        # Beginnings are taken first, before anybody's new blocks could take their place.
        for number in plan.admitted:
            live = by_id[number]
            self.waiting.remove(live)
            self.running.append(live)
            live.chain = live.begin(self.cache)
        self.running.sort(key=lambda live: live.id)
        return events + self._run([(by_id[number], count) for number, count in plan.work])

    def _run(self, work: list[tuple[Live, int]]) -> list[Event]:
        """One row, and what its requests get from it."""
        if not work:
            return []
        try:
            segments = [live.segment(count) for live, count in work]
            for (live, _), segment in zip(work, segments):
                ahead = live.length + live.tokens - len(live.made) - len(segment.ids)
                self.cache.reserve(segment.chain, len(segment.ids), ahead)
            logits = self.runner.forward(self.cache, segments).cpu().numpy()
        except Exception as error:  # whatever it is (memory, a broken model), the engine goes on
            detail = f"{type(error).__name__}: {error}"[:300]
            return [self._over(live, Event(live.id, reason="failed", detail=detail))
                    for live, _ in work]  # fmt: skip
        events, at = [], 0
        for (live, _), segment in zip(work, segments):
            rows = logits[at : at + segment.want]
            at += segment.want
            if (event := self._after(live, segment, rows)) is not None:
                events.append(event)
        return events

    def _after(self, live: Live, segment: Segment, logits: np.ndarray) -> Event | None:
        """What one request gets from its wanted logits; None while its prompt is read."""
        if live.scores is not None:
            live.score(logits, segment.chain.length - len(logits))
        if segment.chain.length < live.length:
            return None
        if not live.tokens:
            return self._over(live, Event(live.id, reason="length"))
        try:
            token = sampler.sample(logits[-1], live.sampling, live.prompt, live.made)
        except Exception as error:
            detail = (
                str(error) if isinstance(error, TilthError) else f"{type(error).__name__}: {error}"
            )
            return self._over(live, Event(live.id, reason="failed", detail=detail[:300]))
        event = live.took(token)
        return self._over(live, event) if event.reason else event

    def _over(self, live: Live, event: Event) -> Event:
        """Let a request go: its blocks are free, its scores go out with its last event."""
        for held in (self.waiting, self.running):
            if live in held:
                held.remove(live)
        self._release(live)
        if event.reason == "cancelled":
            event = replace(event, text=live.letters.finish())
        return replace(event, prompt=tuple(live.scores or ()))

    def _release(self, live: Live) -> None:
        if live.chain is not None:
            self.cache.free(live.chain)
            live.chain = None

    # All at once ---------------------------------------------------------------------------------

    def complete(
        self,
        prompts: Sequence[str | Sequence[int]],
        tokens: int = 64,
        sampling: Sampling | Sequence[Sampling] | None = None,
        *,
        scores: bool = False,
    ) -> list[Completion]:
        """Answer all prompts; one completion each, in order. `sampling`: for all, or one for each.

        A prompt that is there several times, under one sampling, gives several samples. Raises what
        `submit` raises before anything has run, and UsageError while other requests are served.
        Interrupted, it leaves nothing behind.
        """
        if isinstance(prompts, str):
            raise UsageError("prompts are a list of texts, not one text")
        if self.busy:
            raise UsageError("the engine is serving requests: use submit and step")
        each = list(sampling) if isinstance(sampling, Sequence) else None
        if each is not None and len(each) != len(prompts):
            raise UsageError(f"{len(each):,} samplings for {len(prompts):,} prompts")
        seen: Counter[Any] = Counter()
        found: dict[int, Completion] = {}
        try:
            for place, prompt in enumerate(prompts):
                one = each[place] if each is not None else sampling or Sampling()
                assert isinstance(one, Sampling)
                name = prompt if isinstance(prompt, str) else tuple(_whole(prompt))
                if each is None:
                    one = replace(one, sample=one.sample + seen[name])
                seen[name] += 1
                found[self.submit(prompt, tokens, one, scores=scores)] = Completion()
            while self.busy:
                for event in self.step():
                    found[event.request].add(event)
        except BaseException:
            # Ctrl-C in a notebook among them: what is left would keep the engine busy for ever.
            for number in found:
                self.cancel(number)
            self._events.clear()
            raise
        return list(found.values())

    def generate(
        self, prompts: Sequence[str | Sequence[int]], tokens: int = 64, **settings: Any
    ) -> list[str]:
        """The continuation of each prompt, without the prompt. `settings`: those of `Sampling`.

        Raises DataError where one failed, with its reason.
        """
        for name in settings:
            if name not in Sampling.__dataclass_fields__:
                raise UsageError(f"no sampling setting {name!r}",
                                 hint=nearest(name, Sampling.__dataclass_fields__))  # fmt: skip
        found = self.complete(prompts, tokens, Sampling(**settings))
        for one in found:
            if one.reason == "failed":
                raise DataError(one.detail)
        return [one.text for one in found]


def _whole(numbers: Any) -> list[int]:
    """Token ids, or how many: of a list, an array or a tensor. Raises UsageError for others."""
    try:
        return [operator.index(one) for one in numbers]
    except TypeError:
        raise UsageError("a prompt is a text or token ids, and tokens a whole number") from None
