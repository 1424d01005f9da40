"""How long a text is: bytes, characters, words, lines (after the counts of Rae et al. 2021).

Gopher's rules ("Scaling language models", appendix A1.1) ask for 50 to 100,000 words of 3 to 10
characters on average. Use these columns for such rules, for budgets and statistics. What a word
is here, is said in `tilth.signals.kernels`: simpler than Gopher's, the same for every script, and
so not for scripts without blanks between words, where a word is a whole phrase.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.signals.kernels import character_classes, count_lengths, text_buffers


class Length:
    """Columns `bytes`, `characters`, `words`, `lines`, `longest_line`, `mean_word_length`.

    Lengths of lines and words are in characters. `mean_word_length` is null where there is no word.
    """

    name = "length"
    version = 1
    columns: ClassVar[dict[str, int]] = {
        "bytes": 0,
        "characters": 0,
        "words": 0,
        "lines": 0,
        "longest_line": 0,
        "mean_word_length": 0,
    }

    def parameters(self) -> dict[str, Any]:
        return {}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Length:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets, data = text_buffers(batch)
        counts = count_lengths(offsets, data, character_classes())
        characters, words, word_characters, lines, longest = counts.T
        mean = ratio(word_characters, words)
        values = [np.diff(offsets), characters, words, lines, longest]
        return pa.RecordBatch.from_arrays([*map(pa.array, values), mean], list(self.columns))


def ratio(above: np.ndarray, below: np.ndarray) -> pa.Array:
    """Quotients as float64, null where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pa.array(np.true_divide(above, below), pa.float64(), mask=below == 0)
