"""Bits per byte: how well a model predicts held-out text, comparable between tokenizers.

- sum of log2 p over all tokens, and the end of each document, divided by the bytes of the texts.
Lower is better. What is scored is what the n-gram model scores: every token of a document and one
end event, each document for itself, beginning after an end token. An empty document has one event
and no bytes. Not comparable between different sets of texts, and blind to what is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.evaluation.card import Ratio
from tilth.tokens.documents import TokenSource
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Window(NamedTuple):
    """Inputs `start:stop` of a document; its targets from `first` on are scored here."""

    start: int
    stop: int
    first: int


def windows(targets: int, length: int, stride: int) -> list[Window]:
    """Windows of at most `length` over a document of so many targets, each scored exactly once.

    The first window scores all it sees; each later one moves on by `stride` and scores what is new,
    so that a target has at least length - stride tokens before it (all, where there are fewer).
    """
    made = [Window(0, min(length, targets), 0)]
    while made[-1].stop < targets:
        done = made[-1].stop
        stop = min(done + stride, targets)
        made.append(Window(max(0, stop - length), stop, done))
    return made


def bits_per_byte(
    model: PreTrainedModel,
    data: TokenSource,
    length: int = 256,
    batch: int = 16,
    *,
    stride: int | None = None,
    documents: Sequence[int] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score documents (all, or the numbers given); JSON values.

    `bits_per_byte`, `bits`, `bytes`, `tokens`, `end_events` (one a document, in `bits`), and
    `per_document` with lists `ids`, `bits`, `bytes`, `tokens`. `length` is at most the model's
    context, `stride` by default half of it; `batch` changes only the speed. Raises DataError where
    there is no byte to score.
    """
    import torch

    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and length > context:
        raise UsageError(f"windows of {length:,} tokens, but the model's context is {context:,}")
    stride = max(1, length // 2) if stride is None else stride
    if length < 1 or batch < 1 or not 1 <= stride <= length:
        raise UsageError("length and batch must be at least 1, stride from 1 to length")
    if data.vocabulary > model.config.vocab_size:
        raise DataError("the tokens come from a larger vocabulary than the model's")
    numbers = list(range(len(data))) if documents is None else list(documents)
    sizes = [int(data.text_bytes[number]) for number in numbers]
    if sum(sizes) == 0:
        raise DataError("there is no byte of text to score")
    lengths = [int(data.lengths[number]) for number in numbers]
    work = [
        (window.stop - window.start, place, window)
        for place, count in enumerate(lengths)
        for window in windows(count + 1, length, stride)
    ]
    # Windows of like length together: little padding. The sort is stable, so the order is fixed.
    work.sort(key=lambda entry: -entry[0])
    bits = np.zeros(len(numbers))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(work), batch):
                part = work[start : start + batch]
                places = [place for _, place, _ in part]
                np.add.at(bits, places, _score(model, data, numbers, part))
                progress("score", min(start + batch, len(work)), len(work))
    finally:
        model.train(was_training)
    return {
        "bits_per_byte": float(bits.sum()) / sum(sizes),
        "bits": float(bits.sum()),
        "bytes": sum(sizes),
        "tokens": sum(lengths),
        "end_events": len(numbers),
        "per_document": {
            "ids": data.select(numbers).ids,
            "bits": bits.tolist(),
            "bytes": sizes,
            "tokens": lengths,
        },
    }


def bits_ratio(
    model: PreTrainedModel, data: TokenSource, length: int = 256, **options: Any
) -> Ratio:
    """Bits per byte as what an arm measures: bits over bytes, document by document.

    `options` are those of `bits_per_byte`, which is what the ratio of the sums gives.
    """
    found = bits_per_byte(model, data, length, **options)["per_document"]
    return Ratio(np.array(found["bits"]), np.array(found["bytes"], dtype=float))


def _score(
    model: PreTrainedModel,
    data: TokenSource,
    numbers: Sequence[int],
    part: Sequence[tuple[int, int, Window]],
) -> np.ndarray:
    """Bits of the scored targets of each window, float64."""
    import torch

    from tilth.models.packed import forward, packs

    rows = np.full((len(part), part[0][0] + 1), data.end, dtype=np.int64)
    scored = np.zeros((len(part), part[0][0]), dtype=bool)
    for row, (size, place, window) in enumerate(part):
        tokens = data.document(numbers[place])
        # Position 0 of the framed document is the end token before it, the last the one after it;
        # rows are filled with end tokens, which causal attention keeps from being seen.
        start, stop = max(0, window.start - 1), min(len(tokens), window.stop)
        shift = start + 1 - window.start
        rows[row, shift : shift + stop - start] = tokens[start:stop]
        scored[row, window.first - window.start : size] = True
    inputs, at = (torch.from_numpy(part).to(model.device) for part in (rows, scored))
    if packs(model):
        # Half of the positions are only there to be looked back at, and the head is the dearest
        # part of a small model.
        logits = forward(model, inputs[:, :-1], at=at)
    else:
        logits = model(input_ids=inputs[:, :-1], use_cache=False).logits[at]
    nats = torch.nn.functional.cross_entropy(logits.float(), inputs[:, 1:][at], reduction="none")
    found = np.zeros(scored.shape)
    found[scored] = nats.double().cpu().numpy()
    return found.sum(axis=1) / math.log(2.0)
