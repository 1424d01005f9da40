"""The small model, the large ones made from it, and the measures of `bert2bert`."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tilth.data.sets import SetPath, find_set
from tilth.evaluation.bits import bits_per_byte, bits_ratio
from tilth.evaluation.card import Invariant, Measured, ModelSource
from tilth.models.axes import layouts, shape_of
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import inner_width
from tilth.models.surgery.layers import from_layers
from tilth.models.surgery.promise import logit_difference
from tilth.models.surgery.run import operate
from tilth.models.surgery.widen import widen
from tilth.objectives.causal import Causal
from tilth.systems import _continued_texts as given
from tilth.systems._rates import TUNING_SEED, Chosen, set_aside
from tilth.tokens import bpe
from tilth.training.loop import fit

REACH = "share of the operations that scratch needs for its final loss"
START = "bits per byte at the start"
END = "bits per byte at the end"
NOVELS, CHARACTERS, GLANCES = "books_en", 60_000, 16


@dataclass(frozen=True)
class Inputs:
    """`small` is as deep as the target and half as wide, `shallow` as wide and one layer deep.
    `scratch`: the course of the new model, (share of the operations, bits per byte)."""

    small: Checkpoint
    shallow: Checkpoint
    text: given.Side
    width: int
    tokens: int
    length: int
    batch: int
    rate: float = 0.0
    scratch: list[tuple[float, float]] = field(default_factory=list)
    ended: dict[str, Any] = field(default_factory=dict)


_made: dict[Any, tuple[Any, ...]] = {}


def prepared(
    scale: str, data: SetPath | None, model: str | None, *, width: int, layers: int,
    small_tokens: int, vocabulary: int, length: int, batch: int, rate: float,
) -> tuple[Any, ...]:  # fmt: skip
    """(small, shallow, text, `Side` and choice of rates, sources, models), once for all seeds."""
    key = (scale, data and data.digest, model, width, layers, small_tokens, vocabulary, length,
           batch, rate)  # fmt: skip
    if key in _made:
        return _made[key]
    _made.clear()
    models: tuple[ModelSource, ...] = ()
    sources: tuple[Any, ...] = ()
    tokenizer = None
    if scale == "smoke":
        small, text, _ = given.smoke()
    else:
        place = data if data is not None else find_set(NOVELS)
        sources = place.sources
        texts = given.texts_of(place, CHARACTERS)
        if model is not None:
            small, tokenizer, source = given.given_model(model)
            models = (source,)
        else:
            held_out = max(1, round(given.HELD_OUT * len(texts)))
            tokenizer = bpe.train(texts[held_out:], vocabulary)
        text = given.side(texts, tokenizer, "text")
    text, tuning = set_aside(text)
    if scale != "smoke" and model is None:
        small = llama(width // 2, layers, tokenizer.get_vocab_size(), length)
        _train(small, text, small_tokens, length, batch, rate)
    grown = widen(Checkpoint.of(small), width=2 * small.config.hidden_size)
    shallow = _new(from_layers(grown, [0]), seed=1).model()
    _train(shallow, text, small_tokens, length, batch, rate)
    _made[key] = (Checkpoint.of(small), Checkpoint.of(shallow), text, tuning, Chosen(), sources,
                  models)  # fmt: skip
    return _made[key]


def llama(width: int, layers: int, vocabulary: int, context: int, seed: int = 0) -> Any:
    """A Llama of this shape, heads of 32 numbers, tied."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary, hidden_size=width, intermediate_size=inner_width(width),
                num_hidden_layers=layers, num_attention_heads=width // 32, bos_token_id=0,
                eos_token_id=0, max_position_embeddings=context, tie_word_embeddings=True,
            )
        ).eval()  # fmt: skip


def _train(
    model: Any, text: given.Side, tokens: int, length: int, batch: int, rate: float, seed: int = 0,
    **options: Any,
) -> Any:  # fmt: skip
    return fit(
        model, Causal(length=length), text.train, tokens=tokens, batch_tokens=batch,
        learning_rate=rate, seed=seed, **options,
    )  # fmt: skip


def _new(made: Checkpoint, seed: int) -> Checkpoint:
    """The same shape with new weights."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(made.model())(copy.deepcopy(made.config))
    return Checkpoint.of(model)


def target(inputs: Inputs, seed: int) -> Checkpoint:
    """The large model with new weights."""
    return _new(widen(inputs.small, width=inputs.width), seed)


def corner(inputs: Inputs, seed: int) -> Checkpoint:
    """Direct copy: the small model's tensors in the corner of the new model's."""
    made = dict(target(inputs, seed).tensors)
    for name, layout in layouts(inputs.small).items():
        small, large = inputs.small.tensors[name], made[name].clone()
        # Queries, keys and values side by side are three blocks, each with a corner of its own.
        parts = 3 if "qkv" in layout.axes else 1
        axis = layout.axes.index("qkv") if parts == 3 else 0
        for old, new in zip(small.chunk(parts, axis), large.chunk(parts, axis)):
            new[tuple(slice(size) for size in old.shape)] = old
        made[name] = large
    return target(inputs, seed).with_(made)


def stacked(inputs: Inputs, seed: int) -> Checkpoint:
    """StackBERT: one trained layer of the full width, repeated."""
    return from_layers(inputs.shallow, [0] * inputs.small.config.num_hidden_layers)


def grown(method: str) -> Callable[[Inputs, int], Checkpoint]:
    return lambda inputs, seed: widen(inputs.small, width=inputs.width, method=method, seed=seed)


def course(inputs: Inputs, made: Checkpoint, seed: int) -> tuple[list[tuple[float, float]], Any]:
    """(share of the operations, bits per byte) on the way, and the history; the model is trained.

    All arms have the same shape, so operations a token are the same.
    """
    model = made.model()
    found = [(0.0, _glance(model, inputs))]
    steps = inputs.tokens // inputs.batch
    every = max(1, steps // GLANCES)

    def on_step(point: Any) -> None:
        if point.step % every == 0 or point.step == steps:
            found.append((point.tokens / inputs.tokens, _glance(model, inputs)))

    history = _train(
        model, inputs.text, inputs.tokens, inputs.length, inputs.batch, inputs.rate, seed,
        on_step=on_step,
    )  # fmt: skip
    end = bits_ratio(model, inputs.text.test, inputs.length)
    return found, {"history": history, "end": end}


def _glance(model: Any, inputs: Inputs) -> float:
    found = bits_per_byte(model, inputs.text.glance, inputs.length, stride=inputs.length)
    return float(found["bits_per_byte"])


def with_scratch(
    inputs: Inputs, tuning: given.Side, chosen: Chosen, rates: tuple[float, ...], seed: int
) -> Inputs:
    """The inputs with the rate that suits the new model best, and the course of that model."""

    def ends(rate: float) -> float:
        tried = replace(inputs, text=tuning, rate=rate)
        return course(tried, target(tried, TUNING_SEED), TUNING_SEED)[0][-1][1]

    key = (inputs.tokens, inputs.length, inputs.batch, inputs.width)
    inputs = replace(inputs, rate=chosen.rate(key, rates, ends))
    way, ended = course(inputs, target(inputs, seed), seed)
    return replace(inputs, scratch=way, ended=ended)


def reach(way: list[tuple[float, float]], goal: float) -> float:
    """The first share at which a course is at most `goal`, on the line between two looks; 1 where
    it is never."""
    for (x0, y0), (x1, y1) in itertools.pairwise(way):
        if y0 <= goal:
            return x0
        if y1 <= goal:
            return x0 + (x1 - x0) * (y0 - goal) / (y0 - y1)
    return 1.0


def arm(make: Callable[[Inputs, int], Checkpoint] | None) -> Callable[[Inputs, int], Measured]:
    """The arm that begins with what `make` gives; None is scratch, which is trained already."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        if make is None:
            way, ended = inputs.scratch, inputs.ended
        else:
            way, ended = course(inputs, make(inputs, seed), seed)
        plan = ended["history"].plan
        return Measured(
            {
                REACH: reach(way, inputs.scratch[-1][1]), START: way[0][1], END: ended["end"],
                "learning rate": inputs.rate,
            },
            tokens=plan["tokens"], flops=plan["flops"],
            parameters=plan["trainable_parameters"], products={"course": way},
        )  # fmt: skip

    return measure


def checked(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """The large model's function is the small one's, exactly where it is said to be."""
    done = operate("widen", inputs.small, width=inputs.width, seed=1)
    yield Invariant("twice the width: logits are equal within 1e-5", done.promise.function)
    shape = shape_of(inputs.small.config)
    inner = operate("widen", inputs.small, ffn=shape.ffn + 17, balanced=False, seed=2)
    yield Invariant("a random map of the inner width: within 1e-5", inner.promise.function)
    deep = operate("deepen", inputs.small, layers=shape.layers + 1, method="identity")
    yield Invariant("a silent layer more: within 1e-5", deep.promise.function)
    odd = operate("widen", inputs.small, width=inputs.width, balanced=False, seed=3)
    yield Invariant(
        "a random map of the residual width changes the function, and no promise is given",
        not odd.promise.function and (odd.kept.logit_difference or 0) > 1e-4,
    )
    again = logit_difference(done.checkpoint, widen(inputs.small, width=inputs.width, seed=1))
    yield Invariant("the same seed gives the same large model", again == 0)
    tested = set(map(bytes, inputs.text.test.tokens))
    apart = not tested & set(map(bytes, inputs.text.train.tokens))
    yield Invariant("no tested text is trained on", apart)
    yield Invariant(
        "a course reaches its own end at 1 at the latest", reach([(0, 2), (1, 1)], 1) == 1
    )
