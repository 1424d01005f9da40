"""The model that the system `rewarm` goes on from, trained once for all seeds, and its texts."""

from __future__ import annotations

from typing import Any

from tilth.data.sets import SetPath, Source
from tilth.evaluation.card import ModelSource
from tilth.models.decoder import build
from tilth.objectives.causal import Causal
from tilth.systems import _continued_texts as given
from tilth.systems._continued_texts import Continued
from tilth.systems._rewarm_arms import MINIMUM, WARMUP
from tilth.tokens import bpe
from tilth.training.loop import fit
from tilth.training.plan import context_of

CHARACTERS = 75_000
NOVELS, ENCYCLOPEDIA = "books_en", "wiki_plain"
SMOKE_LENGTH, SMOKE_BATCH = 32, 256

_last: dict[Any, Continued] = {}


def prepare(
    scale: str, data: SetPath | None, model: str | None, old: str, *, base_tokens: int, size: str,
    vocabulary: int, length: int, batch_tokens: int, rate: float,
) -> tuple[Continued, int, int]:  # fmt: skip
    """(model and texts, tokens of a row, tokens of a batch). The last one asked for is kept."""
    if scale == "smoke":
        length, batch_tokens = SMOKE_LENGTH, SMOKE_BATCH
    key = (
        scale, data and data.digest, model, old, base_tokens, size, vocabulary, length,
        batch_tokens, rate,
    )  # fmt: skip
    if key not in _last:
        _last.clear()
        if scale == "smoke":
            base, old_side, new_side = given.smoke()
            moments = _train(base, old_side, 12 * batch_tokens, length, batch_tokens, rate)
            _last[key] = Continued(base, moments, old_side, new_side)
        else:
            _last[key] = _made(
                data, model, old, base_tokens, size, vocabulary, length, batch_tokens, rate
            )
    found = _last[key]
    context = context_of(found.base) or length
    return found, min(length, context), batch_tokens


def _made(
    data: SetPath | None, model: str | None, old: str, base_tokens: int, size: str,
    vocabulary: int, length: int, batch_tokens: int, rate: float,
) -> Continued:  # fmt: skip
    old_place = given.open_text(old, NOVELS)
    new_place = data if data is not None else given.open_text("", ENCYCLOPEDIA)
    old_texts, new_texts = (given.texts_of(place, CHARACTERS) for place in (old_place, new_place))
    sources: tuple[Source, ...] = (*old_place.sources, *new_place.sources)
    models: tuple[ModelSource, ...] = ()
    if model is not None:
        base, tokenizer, source = given.given_model(model)
        models = (source,)
    else:
        held_out = max(1, round(given.HELD_OUT * len(old_texts)))
        tokenizer = bpe.train(old_texts[held_out:], vocabulary)
        base = build(size, vocabulary=tokenizer.get_vocab_size(), context=length, seed=0)
    old_side = given.side(old_texts, tokenizer, "old")
    new_side = given.side(new_texts, tokenizer, "new")
    moments = {}
    if model is None:
        moments = _train(base, old_side, base_tokens, length, batch_tokens, rate)
    return Continued(base, moments, old_side, new_side, sources, models)


def _train(
    base: Any, side: given.Side, tokens: int, length: int, batch_tokens: int, rate: float
) -> dict[str, Any]:
    moments: dict[str, Any] = {}
    fit(
        base, Causal(length=length), side.train, tokens=tokens, batch_tokens=batch_tokens,
        learning_rate=rate, minimum=MINIMUM, warmup=WARMUP, moments=moments,
    )  # fmt: skip
    return moments
