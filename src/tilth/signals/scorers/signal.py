"""What the signals that score texts share: short texts, missing values, one model a process."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tilth.errors import UsageError
from tilth.signals.scorers.trained import Trained


class ScorerSignal:
    """A signal that keeps its options only: it is cheap to send, and opens its scorer where it
    measures. Its parts are `_open()` and `_values(trained, texts)`, one array a column."""

    columns: ClassVar[dict[str, int]] = {}
    least_characters = 0

    def fit(self, batches: Iterable[pa.RecordBatch]) -> Any:
        return self

    def _open(self) -> Trained:
        raise NotImplementedError

    def _values(self, trained: Trained, texts: list[str]) -> list[np.ndarray]:
        raise NotImplementedError

    def measure(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # Also for no row at all: so a corpus trains once, before its workers start.
        trained = self._open()
        texts = [text or "" for text in batch.column("text").to_pylist()]
        long = np.array([len(text) >= max(1, self.least_characters) for text in texts], bool)
        found = self._values(trained, [text for text, there in zip(texts, long) if there])
        arrays = []
        for values in found:
            whole = np.zeros(len(texts))
            whole[long] = values
            arrays.append(pa.array(whole, pa.float64(), mask=~long | ~np.isfinite(whole)))
        return pa.RecordBatch.from_arrays(arrays, list(self.columns))


def check_digest(given: str, found: str, what: str) -> str:
    """The digest found. Raises UsageError where another one was asked for."""
    if given and given != found:
        raise UsageError(
            f"{what} is not the one that the digest {given} names", hint="leave digest out"
        )
    return found


def check_least(characters: int) -> int:
    if characters < 0:
        raise UsageError(f"least_characters must be 0 or more, not {characters}")
    return characters
