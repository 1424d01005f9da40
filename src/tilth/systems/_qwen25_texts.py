"""The texts of the system `qwen2.5`: long documents of general text, and problems."""

from __future__ import annotations

from typing import Any

from tilth.data.sets import SetPath, Source
from tilth.systems import _arithmetic as arithmetic
from tilth.systems import _continued_texts as given
from tilth.systems._olmo2_texts import NOVELS, general
from tilth.systems._qwen25_arms import ROW, Inputs

HEAD = 16
SMOKE = {
    "first": 10 * 256, "second": 10 * 256, "third": 10 * 256, "batch_tokens": 256, "short": 16,
    "long": 32, "prompts": 4, "rounds": 2,
}  # fmt: skip


def prepare(
    scale: str, data: SetPath | None, *, vocabulary: int, width: int, layers: int, largest: int,
    **budgets: Any,
) -> tuple[Inputs, tuple[Source, ...]]:  # fmt: skip
    """What the arms of one seed share, and where the text comes from."""
    sources: tuple[Source, ...] = ()
    if scale == "smoke":
        from tilth.zoo import tiny

        _, side, _ = given.smoke()
        tokenizer, budgets = tiny("causal")[1], {**budgets, **SMOKE}
        width, largest = 32, 2
    else:
        place = data if data is not None else given.open_text("", NOVELS)
        side, tokenizer = general(place, vocabulary)
        sources = place.sources
    told, asked = (arithmetic.problems(largest, held_out=held_out) for held_out in (False, True))
    shape = {
        "width": width, "layers": layers, "vocabulary": tokenizer.get_vocab_size(),
        "context": max(budgets["long"], 2 * ROW), "end": side.train.end, "head": HEAD,
        "key_heads": max(1, width // HEAD // 2), "tied": True,
    }  # fmt: skip
    inputs = Inputs(side.train, side.test, told, asked or told[:4], tokenizer, shape, **budgets)
    return inputs, sources
