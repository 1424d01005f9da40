"""Which characters a text is made of (after Rae et al. 2021, "Gopher", appendix A1.1).

Gopher drops texts with a symbol-to-word ratio above 0.1 for the hash sign or the ellipsis, with
more than 90 % of lines that begin with a bullet or more than 30 % that end with an ellipsis, and
with fewer than 80 % of words that hold a letter. The columns are those measures, or close to
them, for any script; the thresholds belong to rules. Not for source code, which is symbols.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.signals.kernels import SYMBOL_COUNTS, character_classes, count_symbols, text_buffers
from tilth.signals.length import ratio


class Symbols:
    """Shares of kinds of characters and lines, 0 where there is nothing to take a share of.

    - `alphabetic_share`, `digit_share`, `damaged_share`: letters and marks, numbers, and control
      characters or U+FFFD among all characters that are not white space.
    - `uppercase_share`: upper-case and title-case letters among letters.
    - `symbol_to_word_ratio`: hash signs, or ellipses where these are more, for each word; three or
      more full stops in a row are one ellipsis. Null where there is no word.
    - `bullet_line_share`, `ellipsis_line_share`: lines that begin with a bullet (or with "-" or "*"
      before a blank), or end with an ellipsis, among lines that are not blank.
    """

    name = "symbols"
    version = 1
    columns: ClassVar[dict[str, int]] = {
        "alphabetic_share": 1,
        "digit_share": -1,
        "uppercase_share": 0,
        "damaged_share": -1,
        "symbol_to_word_ratio": -1,
        "bullet_line_share": -1,
        "ellipsis_line_share": -1,
    }

    def parameters(self) -> dict[str, Any]:
        return {}

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Symbols:
        return self

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        offsets, data = text_buffers(batch)
        counts = dict(zip(SYMBOL_COUNTS, count_symbols(offsets, data, character_classes()).T))
        values = [
            share(counts["alphabetic"], counts["visible"]),
            share(counts["numbers"], counts["visible"]),
            share(counts["upper"], counts["letters"]),
            share(counts["damaged"], counts["visible"]),
            ratio(np.maximum(counts["hashes"], counts["ellipses"]), counts["words"]),
            share(counts["bullet_lines"], counts["lines"]),
            share(counts["ellipsis_lines"], counts["lines"]),
        ]
        return pa.RecordBatch.from_arrays(values, list(self.columns))


def share(part: np.ndarray, whole: np.ndarray) -> pa.Array:
    """Part of a whole as float64; a share of nothing is 0."""
    return pa.array(part / np.maximum(whole, 1), pa.float64())
