"""The base of `finance-merge`, its tokenizer and the texts of the domain."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilth.data.sets import SetPath, Source, find_set
from tilth.evaluation.card import ModelSource
from tilth.models.checkpoint import Checkpoint
from tilth.models.decoder import build
from tilth.objectives.causal import Causal
from tilth.systems import _continued_texts as given
from tilth.systems import _merge_instructions as instructions
from tilth.systems._rates import Chosen, set_aside
from tilth.tokens import bpe
from tilth.training.loop import fit

NOVELS, FINANCE, CHARACTERS = "books_en", "finance_tatqa", 75_000


@dataclass(frozen=True)
class Texts:
    """`base` and the `digest` that it had when it was made. `text`: domain text in tokens, `tuning`
    the same to choose rates with."""

    base: Checkpoint
    digest: str
    tokenizer: Any
    text: given.Side
    tuning: given.Side
    chosen: Chosen
    sources: tuple[Source, ...] = ()
    models: tuple[ModelSource, ...] = ()


_last: dict[Any, Texts] = {}


def prepared(
    scale: str, data: SetPath | None, model: str | None, *, base_tokens: int, size: str,
    vocabulary: int, length: int, rate: float,
) -> Texts:  # fmt: skip
    """Made once for all seeds; the last one asked for is kept."""
    key = (scale, data and data.digest, model, base_tokens, size, vocabulary, length, rate)
    if key not in _last:
        _last.clear()
        if scale == "smoke":
            from tilth.zoo import tiny

            base, _, text = given.smoke()
            _last[key] = _texts(base, tiny("causal")[1], text, (), ())
        else:
            _last[key] = _made(data, model, base_tokens, size, vocabulary, length, rate)
    return _last[key]


def _texts(base: Any, tokenizer: Any, text: given.Side, sources: Any, models: Any) -> Texts:
    text, tuning = set_aside(text)
    made = Checkpoint.of(base)
    return Texts(made, made.digest, tokenizer, text, tuning, Chosen(), sources, models)


def _made(
    data: SetPath | None, model: str | None, base_tokens: int, size: str, vocabulary: int,
    length: int, rate: float,
) -> Texts:  # fmt: skip
    place = data if data is not None else find_set(FINANCE)
    domain = given.texts_of(place, CHARACTERS) if data is not None else _reports(place)
    if model is not None:
        base, tokenizer, source = given.given_model(model)
        return _texts(base, tokenizer, given.side(domain, tokenizer, "domain"), place.sources,
                      (source,))  # fmt: skip
    novels = find_set(NOVELS)
    texts = given.texts_of(novels, CHARACTERS)
    # No text that is held out teaches the tokenizer.
    held_out = max(1, round(given.HELD_OUT * len(texts)))
    learned = instructions.told(instructions.pairs()[0], 2000, 0)
    asked = [text for pair in learned for text in pair]
    tokenizer = bpe.train([*texts[held_out:], *asked], vocabulary)
    base = build(size, vocabulary=tokenizer.get_vocab_size(), context=length, seed=0)
    fit(base, Causal(length=length), given.side(texts, tokenizer, "novels").train,
        tokens=base_tokens, batch_tokens=2048, learning_rate=rate)  # fmt: skip
    return _texts(base, tokenizer, given.side(domain, tokenizer, "domain"),
                  (*novels.sources, *place.sources), ())  # fmt: skip


def _reports(place: SetPath) -> list[str]:
    """Paragraphs and table of each report, without the questions, in the order of their digests."""
    with gzip.open(place.path / "tatqa_dev.json.gz", "rt", encoding="utf-8") as file:
        reports = json.load(file)
    texts = []
    for report in reports:
        rows = [" | ".join(row) for row in report["table"]["table"]]
        paragraphs = [part["text"] for part in sorted(report["paragraphs"], key=_order)]
        texts.append("\n".join([*paragraphs, *rows]))
    return sorted(set(texts), key=given.digest)


def _order(part: Mapping[str, Any]) -> int:
    return int(part["order"])
