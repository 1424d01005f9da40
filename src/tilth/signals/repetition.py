"""How much a text repeats itself (Rae et al. 2021, "Scaling language models", appendix A1.1).

The measures behind Gopher's repetition rules, which drop a document where, for instance, more than
30 % of its lines are duplicates or one 2-gram holds more than 20 % of it. Here in bytes of words
instead of characters of the whole text, with the words of `tilth.signals.kernels`. Use it on web
pages, forms and scans; poems, dictionaries and tables repeat by nature.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import pyarrow as pa

from tilth.signals.kernels import (
    REPETITION_COUNTS,
    character_classes,
    count_repetition,
    text_buffers,
)
from tilth.signals.symbols import share

GRAMS = REPETITION_COUNTS[8:]


class Repetition:
    """Shares from 0 to 1, all 0 for a text in which nothing occurs twice.

    - `duplicate_line_share`, `duplicate_paragraph_share`: lines (paragraphs) that are equal to an
      earlier one, among those that are not blank; `..._bytes_share`: their bytes.
    - `top_2gram_bytes_share` to `top_4gram_bytes_share`: bytes of words inside the most frequent
      2-gram (3-gram, 4-gram) of words, of equally frequent ones the longest. An n-gram that
      occurs once counts 0.
    - `duplicate_5gram_bytes_share` to `duplicate_10gram_bytes_share`: bytes of words inside
      n-grams that occurred before; bytes in several of them count once.
    """

    name = "repetition"
    version = 1
    columns: ClassVar[dict[str, int]] = {
        "duplicate_line_share": -1,
        "duplicate_line_bytes_share": -1,
        "duplicate_paragraph_share": -1,
        "duplicate_paragraph_bytes_share": -1,
        **{f"{gram}_bytes_share": -1 for gram in GRAMS},
    }

    def parameters(self) -> dict[str, Any]:
        return {}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Repetition:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets, data = text_buffers(batch)
        rows = count_repetition(offsets, data, character_classes())
        counts = dict(zip(REPETITION_COUNTS, rows.T))
        values = [
            share(counts["repeated_lines"], counts["lines"]),
            share(counts["repeated_line_bytes"], counts["line_bytes"]),
            share(counts["repeated_paragraphs"], counts["paragraphs"]),
            share(counts["repeated_paragraph_bytes"], counts["line_bytes"]),
            *(share(counts[gram], counts["word_bytes"]) for gram in GRAMS),
        ]
        return pa.RecordBatch.from_arrays(values, list(self.columns))
