"""Strategies: how the next tokens of one sequence are found, over the same runner, cache, sampler.

    engine = open_engine("my-model", draft="my-small-model", strategy="pearl")
    engine.generate(["def add(a, b):"], tokens=40, temperature=0)

- `plain`: one token a step, many requests at once: `engine.Engine` itself.
- `turns`: a small draft model writes some tokens, the target tests them all at once (speculative
  decoding: Leviathan, Kalman and Matias, 2023, arXiv 2211.17192; Chen et al., 2023).
- `pearl`: draft and target work at the same time, in two processes (PEARL: Liu et al., 2024).
- `superposed.superpose`: several drafts of one answer from one stream (Superposed Decoding: Shen et
  al., 2024, arXiv 2405.18400); it gives guesses, not samples, and is a function of its own.

What `turns` and `pearl` give has exactly the target's distribution; only the time differs. They pay
for one request at a time, on a machine whose time for a row of several tokens is well below that of
as many steps, with a draft that is much faster and often right. With many requests at once the
plain engine makes better use of the same products.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError, nearest

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from tilth.serving.engine import Engine

# A draft that is expected to be faster by less than this is not worth its memory.
WORTH = 1.05
# Of strategies with a draft: whether the target reads while the first tokens are drafted
# (pre-verify), and whether drafting goes on while it tests them (post-verify).
STRATEGIES = {"plain": (False, False), "turns": (False, False), "pearl": (True, True)}


def open_engine(
    model: str | Path | PreTrainedModel,
    tokenizer: Tokenizer | None = None,
    *,
    draft: str | Path | PreTrainedModel | None = None,
    strategy: str = "",
    length: int | None = None,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> Engine:
    """An engine that decodes by this strategy; by default `turns` with a draft, else `plain`.

    `draft`: the folder of a small model with the same tokenizer, or a model (then all happens in
    this process). `length`: how many tokens are drafted at a time; None measures both models, which
    `say` is told, and takes what their times make best. `options`: those of `Engine`.
    """
    name = strategy or ("plain" if draft is None else "turns")
    if name not in STRATEGIES:
        raise UsageError(f"there is no strategy {name!r}", hint=nearest(name, STRATEGIES))
    if (draft is None) != (name == "plain"):
        raise UsageError(f"strategy {name!r} takes {'a' if draft is None else 'no'} draft model")
    if draft is None:
        if length is not None:
            raise UsageError("length is that of drafts, and there is no draft model")
        from tilth.serving.engine import Engine

        return Engine(model, tokenizer, **options)
    from tilth.serving.strategies.serial import SpeculativeEngine

    pre, post = STRATEGIES[name]
    return SpeculativeEngine(
        model, tokenizer, draft=draft, pre=pre, post=post, length=length, say=say, **options
    )


def advice(engine: Engine) -> str:
    """What a draft is expected to save, where its length was measured; else empty."""
    from tilth.serving.strategies.length import ACCEPTANCE

    found = getattr(engine, "forecast", None)
    if found is None:
        return ""
    without = "" if found.factor > WORTH else ": leave it out, it saves no time here"
    return (
        f"tokens that the draft writes at a time: {found.length:,}; where {ACCEPTANCE:.0%} of them "
        f"are kept, {found.factor:.2f} times the tokens a second of the model alone{without}"
    )
