"""A text that was read, by whatever means, and how an answer is written behind it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tilth.errors import LimitError, UsageError
from tilth.serving import sampler
from tilth.serving.cache import Chain, KVCache, Rows
from tilth.serving.model_runner import ModelRunner, Segment
from tilth.serving.sampler import Drawn, Sampling

if TYPE_CHECKING:
    import torch

    from tilth.serving.engine import Engine


@dataclass(eq=False)
class Reading:
    """`ids` lie in `chain`, one row each; `logits` (vocabulary) are those after the last one.

    `run`: how many tokens went through the layers for it, a token that went through some of them
    counted in parts: what it has cost, beside the length of `ids`, which a whole reading costs.
    """

    chain: Chain
    ids: list[int]
    logits: torch.Tensor
    run: float


def read(runner: ModelRunner, cache: KVCache, ids: Sequence[int]) -> Reading:
    """All tokens through all layers: what the methods are compared with, and begin from."""
    if not ids:
        raise UsageError("a text without tokens cannot be read")
    chain = cache.chain()
    logits = runner.forward(cache, [Segment(chain, list(ids))])[-1]
    return Reading(chain, list(ids), logits, len(ids))


def blank(runner: ModelRunner, count: int) -> Rows:
    """Rows that hold nothing yet: room for tokens whose rows will be written."""
    import torch

    shape = runner.shape
    size = (shape.layers, count, shape.key_heads, shape.head)
    none = torch.zeros(size, dtype=runner.dtype, device=runner.device)
    return Rows(none, none)


def answer(
    runner: ModelRunner,
    cache: KVCache,
    reading: Reading,
    tokens: int = 64,
    sampling: Sampling | None = None,
    ends: Collection[int] = (),
) -> list[Drawn]:
    """Up to `tokens` tokens behind a reading, which stays as it is; an end is not among them."""
    sampling = sampling or Sampling()
    ends = frozenset(sampling.stop_tokens) | (frozenset() if sampling.ignore_end else set(ends))
    chain, logits = cache.fork(reading.chain), reading.logits
    made: list[Drawn] = []
    try:
        while len(made) < tokens:
            drawn = sampler.sample(
                logits.cpu().numpy(), sampling, reading.ids, [one.id for one in made]
            )
            if drawn.id in ends:
                break
            made.append(drawn)
            if len(made) < tokens:
                logits = runner.forward(cache, [Segment(chain, [drawn.id])])[-1]
    finally:
        cache.free(chain)
    return made


class Desk:
    """What the methods need of an `Engine`: its model and tokenizer, and a cache beside its own.

    The engine goes on serving meanwhile, and its requests cannot lack the blocks that are held
    here; calls come from the engine's thread. Raises UsageError for a model that the engine runs
    through `transformers`: its cache cannot be edited.
    """

    def __init__(self, engine: Engine, *, texts: int = 1) -> None:
        if not isinstance(engine.runner, ModelRunner):
            raise UsageError(f"the cache of this model cannot be edited: {engine.note}")
        if engine.runner.weights.rotary is None:
            raise UsageError("the keys of a model with learned positions cannot be moved")
        self.engine, self.runner = engine, engine.runner
        # One for the text, one for an answer behind it, of which all but the last is shared.
        each = -(-engine.context // engine.cache.block) + 2
        self.cache = self.runner.cache(
            2 * texts * each,
            engine.cache.block,
            share=False,
            keys="turned" if engine.cache.turned else "plain",
        )

    def fits(self, count: int) -> None:
        """Raises LimitError for a text of `count` tokens that is longer than the context."""
        if count > self.engine.context:
            raise LimitError(
                f"the text takes {count:,} tokens; the model's context is {self.engine.context:,}"
            )

    def write(self, reading: Reading, tokens: int, settings: dict[str, Any]) -> str:
        """The text of an answer. `settings`: those of `Sampling`, but `stop` by texts."""
        if settings.get("stop"):
            raise UsageError("answers behind an edited cache stop at stop_tokens, not at texts")
        tokens = min(tokens, self.engine.context - len(reading.ids) + 1)
        made = answer(
            self.runner, self.cache, reading, tokens, Sampling(**settings), self.engine.ends
        )
        return self.engine.tokenizer.decode([one.id for one in made])
