"""What the systems of serving share: a model of random weights, its costs, lengths of real texts,
and checks that every policy gives the same tokens."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from tilth.data.sets import Source
from tilth.errors import UsageError
from tilth.evaluation.card import Invariant
from tilth.serving.cost_table import CostTable, measured
from tilth.serving.engine import Engine
from tilth.serving.load import pairs, serve
from tilth.serving.model_runner import Segment
from tilth.serving.scheduler import POLICIES
from tilth.serving.virtual import Ask, Real, Virtual
from tilth.tokens import bpe

# name -> (width, inner width, layers, heads): parameters with a vocabulary of 4,096.
SIZES = {"tiny": (32, 64, 2, 2), "23m": (384, 1024, 10, 6), "138m": (768, 2560, 16, 12)}
VOCABULARY, CONTEXT = 4096, 4096


@functools.cache
def random_model(size: str) -> Any:
    """A Qwen2 of random weights, float32; time does not depend on what they are."""
    import torch
    import transformers

    if size not in SIZES:
        raise UsageError(f"there is no size {size!r}", hint=", ".join(SIZES))
    width, inner, layers, heads = SIZES[size]
    config = transformers.Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=inner,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=heads,
        max_position_embeddings=CONTEXT, pad_token_id=None, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.Qwen2ForCausalLM(config).eval()


@functools.cache
def _tokenizer(name: str = "") -> Any:
    if not name:
        return bpe.train(["one two three"] * 3, 260)
    texts = [text for pair in pairs(name)[0][:400] for text in pair]
    return bpe.train(texts, 2048)


def engine_of(size: str, model: str | None = None, **options: Any) -> Engine:
    """An engine over random weights, or over one's own folder; prefixes are not shared."""
    options = {"share": False, "sequences": 32, **options}
    if model is not None:
        return Engine(model, **options)
    return Engine(random_model(size), _tokenizer(), **options)


def costs_of(scale: str, size: str, model: str | None) -> CostTable:
    """The costs measured now: medians of nine interleaved repeats, at smoke of one."""
    if scale == "smoke":
        return measured(engine_of(size, model), size, longest=64, context=32, batch=4, repeats=1)
    return measured(engine_of(size, model), size, longest=512, context=256, batch=32, repeats=9)


@functools.cache
def _lengths(name: str) -> list[tuple[int, int]]:
    found, _ = pairs(name)
    sides = [bpe.encode(_tokenizer(name), [pair[side] for pair in found]) for side in (0, 1)]
    return [(len(ask) + 1, len(answer) + 1) for ask, answer in zip(*sides)]


def real_lengths(
    names: Sequence[str], count: int, seed: int
) -> tuple[list[tuple[int, int]], tuple[Source, ...]]:
    """(prompt, answer) lengths in tokens, drawn in equal parts from the named sets of pairs."""
    import numpy as np

    rng = np.random.default_rng(seed)
    pools = [[one for one in _lengths(name) if sum(one) < CONTEXT] for name in names]
    picks = [(pool[rng.integers(len(pool))]) for pool in (pools * count)[:count]]
    order = rng.permutation(count)
    return [picks[n] for n in order], tuple(s for name in names for s in pairs(name)[1])


def made_lengths(count: int, seed: int) -> list[tuple[int, int]]:
    """Lengths for a trial run."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return [(int(p), int(t)) for p, t in zip(rng.integers(4, 60, count), rng.integers(2, 8, count))]


def prompt_ids(number: int, length: int) -> list[int]:
    """Token ids that depend on the number only."""
    draw = hashlib.shake_256(str(number).encode()).digest(2 * length)
    return [1 + int.from_bytes(draw[2 * n : 2 * n + 2], "big") % 200 for n in range(length)]


def same_tokens(names: Sequence[str], row: int = 12) -> Iterable[Invariant]:
    """On tiny random weights: all policies give the tokens of one request at a time, and virtual
    time makes the batches of the engine."""
    asks = [Ask(p, t, n * 2.0) for n, (p, t) in enumerate(made_lengths(6, 3))]
    alone = Real(engine_of("tiny"), lambda n: prompt_ids(n, 64))
    serve(alone, asks, at_once=1)
    for name in names:
        ticks = itertools.count()
        # 20 blocks of 4: some are preempted and read again.
        engine = engine_of("tiny", policy=name, row=row, sequences=4, blocks=20, block=4)
        real = Real(engine, lambda n: prompt_ids(n, 64), clock=functools.partial(next, ticks))
        found = serve(real, asks)
        virtual = Virtual(lambda work: 1.0, name, row=row, sequences=4, blocks=20, block=4)
        yield Invariant(f"{name}: the tokens of one at a time", real.texts == alone.texts)
        yield Invariant(f"{name}: virtual batches are the engine's", serve(virtual, asks) == found)
        if POLICIES[name].chunked:
            sums = [sum(count for _, count, _ in step.work) for step in found.steps]
            yield Invariant(f"{name}: rows keep to the budget", max(sums) <= row)
        yield Invariant(f"{name}: all blocks are free again", found.steps[-1].free == 20)


def chunked_cache() -> Invariant:
    """Keys and values of a prompt read in chunks are those of the prompt read at once."""
    runner, ids = engine_of("tiny").runner, prompt_ids(5, 50)
    cache = runner.cache(16, 8, share=False)
    whole, cut = cache.chain(), cache.chain()
    runner.forward(cache, [Segment(whole, ids)])
    for start in range(0, 50, 12):
        runner.forward(cache, [Segment(cut, ids[start : start + 12])])
    one, other = cache.slice(whole), cache.slice(cut)
    worst = max((one.keys - other.keys).abs().max(), (one.values - other.values).abs().max())
    return Invariant("a chunked cache is the whole one's within 1e-5", float(worst) < 1e-5)
