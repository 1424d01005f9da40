"""Bits per byte on texts of one's own, text by text, beside the n-gram model of a run.

Nothing is cut: a text longer than the window is read in windows that overlap by half, and every
token and the end of each text count once (`evaluation.bits`). Texts without a letter are left out
and counted. Compare models on the same texts only. `fitting` says which texts a score that reads
each text at once can take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The longest window where none is asked for, and tokens in one pass: memory grows with both.
WINDOW, TOKENS = 2048, 4096


def text_bits(
    folder: str | Path, rows: Sequence[tuple[str, str]], *, run: str | Path | None = None,
    window: int = 0, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """Bits per byte of a causal model on rows of (name, text); JSON values.

    `window`: tokens that the model sees at once, 0 for its context, at most `WINDOW`. `run`: a
    folder that `tilth build` left, whose n-gram model scores the same bytes with its own tokens.
    In `per_document` are `document`, `bits_per_byte`, `bytes`, `tokens`, `windows` and `ngram`.
    Raises DataError where there is no text, no causal model, or no n-gram model.
    """
    from tilth.evaluation.bits import bits_per_byte, windows
    from tilth.models.folder import load_model, load_tokenizer
    from tilth.tokens.documents import TokenDocuments
    from tilth.training.plan import context_of

    kept = [(name, text) for name, text in rows if text.strip()]
    if not kept:
        raise DataError("there is no text to score")
    names, texts = [name for name, _ in kept], [text for _, text in kept]
    # First what may be wrong at once.
    beside = None if run is None else ngram_bits(run, texts)
    model = load_model(folder, "causal", dtype="float32")
    context = context_of(model)
    window = window or min(WINDOW, context or WINDOW)
    if window < 1:
        raise UsageError(f"a window of {window} tokens is none")
    data = TokenDocuments.of(names, texts, load_tokenizer(folder))
    found = bits_per_byte(
        model, data, window, batch=max(1, TOKENS // window), progress=progress
    )  # fmt: skip
    each = found.pop("per_document")
    counts = [len(windows(n + 1, window, max(1, window // 2))) for n in each["tokens"]]
    longer = sum(count > 1 for count in counts)
    made = {
        "documents": len(kept), "left_out": len(rows) - len(kept), **found, "context": context,
        "window": window, "longer_than_window": longer, "share_longer": longer / len(kept),
        "cut": 0,
    }  # fmt: skip
    if beside is not None:
        better = sum(a < b for a, b in zip(each["bits"], beside))
        made |= {"ngram": float(beside.sum()) / found["bytes"],
                 "better_than_ngram": better / len(kept)}  # fmt: skip
    made["per_document"] = [
        {"document": name, "bits_per_byte": bits / size, "bytes": size, "tokens": tokens,
         "windows": count}
        for name, bits, size, tokens, count in zip(
            names, each["bits"], each["bytes"], each["tokens"], counts
        )
    ]  # fmt: skip
    for row, bits in zip(made["per_document"], () if beside is None else beside.tolist()):
        row["ngram"] = bits / row["bytes"]
    return made


def ngram_bits(run: str | Path, texts: Sequence[str]) -> np.ndarray:
    """Bits of each text under the n-gram model of a run, its end among them: float64 (texts,)."""
    from tilth.models.folder import load_tokenizer
    from tilth.models.ngram import NGram
    from tilth.tokens.bpe import encode

    run = Path(run)
    if not (run / "ngram").is_dir():
        raise DataError("holds no n-gram model", where=str(run), hint="a folder of tilth build")
    rows = encode(load_tokenizer(run / "tokens" / "tokenizer"), list(texts))
    ends = np.cumsum([len(row) for row in rows])
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    flat = np.concatenate([np.array(row, np.uint32) for row in rows])
    nats = -NGram.load(run / "ngram").score(flat, offsets)
    # Text i has its tokens and one end: its events begin at offsets[i] + i.
    return np.add.reduceat(nats, offsets[:-1] + np.arange(len(rows))) / math.log(2)


def fitting(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    context: int | None,
    *,
    begin: bool,
) -> list[bool]:
    """Whether each text can be scored in one pass by `evaluation.membership`, as it is and in
    lower case: the last token is predicted only, and `begin` puts a token in front."""
    from tilth.tokens.bpe import encode

    if context is None:
        return [True] * len(texts)
    most = context + 1 - int(begin)
    lowered = encode(tokenizer, [text.lower() for text in texts])
    return [
        max(len(row), len(lower)) <= most
        for row, lower in zip(encode(tokenizer, list(texts)), lowered)
    ]
