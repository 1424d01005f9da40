"""Bits per byte of held-out documents: the measure that models with other tokenizers share.

Every document starts fresh after `<|end|>`; each of its tokens and its end are scored once, as the
n-gram model scores them. A document longer than the context is read in windows that overlap by
half, so every token but the first few has at least half a context before it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """(start, stop, first scored) over inputs 0..length-1; each position is scored once."""
    found, scored, start = [], 0, 0
    while scored < length:
        start = min(start, max(0, length - context))
        stop = min(length, start + context)
        found.append((start, stop, scored))
        scored, start = stop, start + max(1, context // 2)
    return found


def nats_per_document(
    model: Any, flat: np.ndarray, offsets: np.ndarray, context: int, *, end: int = 0, rows: int = 16
) -> np.ndarray:
    """Negative log-probability of each document, its end counted, in nats."""
    import torch

    work = []
    for document in range(len(offsets) - 1):
        count = int(offsets[document + 1] - offsets[document]) + 1
        work += [(document, *window) for window in windows(count, context)]
    # Equal lengths together: little padding. The order does not change a result's place.
    work.sort(key=lambda item: (item[2] - item[1], item[0], item[1]))
    result = np.zeros(len(offsets) - 1, dtype=np.float64)
    with torch.inference_mode():
        for begin in range(0, len(work), rows):
            part = work[begin : begin + rows]
            width = max(stop - start for _, start, stop, _ in part)
            inputs = np.full((len(part), width), end, dtype=np.int64)
            targets = np.full((len(part), width), -100, dtype=np.int64)
            for row, (document, start, stop, first) in enumerate(part):
                # The model reads end, t0 .. t(n-1) and is to say t0 .. t(n-1), end.
                text = flat[offsets[document] : offsets[document + 1]]
                whole = np.concatenate([[end], text, [end]])
                inputs[row, : stop - start] = whole[start:stop]
                targets[row, first - start : stop - start] = whole[first + 1 : stop + 1]
            logits = model(input_ids=torch.from_numpy(inputs), use_cache=False).logits
            losses = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1).float(), torch.from_numpy(targets).flatten(),
                reduction="none", ignore_index=-100,
            )  # fmt: skip
            sums = losses.view(len(part), width).double().sum(dim=1).numpy()
            np.add.at(result, [item[0] for item in part], sums)
    return result


def bits_per_byte(nats: np.ndarray, sizes: np.ndarray) -> float:
    """Total nats of some documents over their total bytes, in bits."""
    total = int(np.sum(sizes))
    return float(np.sum(nats)) / math.log(2) / total if total else float("nan")
