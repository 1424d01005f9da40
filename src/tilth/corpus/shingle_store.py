"""Sets of shingles on disk while pairs of them are compared: memory stays at a few of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from tilth.corpus.candidates import connected
from tilth.corpus.shingle_kernels import similarities

# Shingles held at a time, of 8 bytes each.
HELD = 1 << 23


class ShingleStore:
    """A file without a name in `folder`: it is gone when the store, or its process, ends.

    sizes: shingles of each text; a text's number is its place there.
    """

    def __init__(self, folder: Path, sizes: np.ndarray, held: int = HELD) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._sizes, self._held = sizes, held
        self._starts = np.full(len(sizes), -1)
        self._stop = 0

    def __enter__(self) -> ShingleStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, texts: np.ndarray, sizes: np.ndarray, shingles: np.ndarray) -> None:
        """The sets of some texts, one after the other in `shingles`."""
        self._starts[texts] = self._stop + np.cumsum(sizes) - sizes
        self._stop += len(shingles)
        self._file.write(shingles.tobytes())

    def similarities(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Jaccard of the sets of each pair of texts."""
        self._file.flush()
        # Pairs that hang together stand together, so that few sets are read twice.
        label = connected(len(self._sizes), left, right)[left]
        order = np.lexsort((right, left, label))
        cost = np.cumsum(self._sizes[left[order]] + self._sizes[right[order]])
        cuts = np.flatnonzero(np.diff(cost // self._held)) + 1
        result = np.zeros(len(left))
        for pairs in np.split(order, cuts):
            if len(pairs):
                result[pairs] = self._compare(left[pairs], right[pairs])
        return result

    def _compare(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        texts, place = np.unique(np.concatenate([left, right]), return_inverse=True)
        starts = np.concatenate([[0], np.cumsum(self._sizes[texts])])
        shingles = np.empty(starts[-1], dtype=np.uint64)
        view, descriptor = memoryview(shingles.data).cast("B"), self._file.fileno()
        for number, offset in enumerate(self._starts[texts].tolist()):
            piece = view[8 * starts[number] : 8 * starts[number + 1]]
            if os.preadv(descriptor, [piece], 8 * offset) != len(piece):
                raise OSError("the sets of shingles could not be read again")
        return similarities(starts, shingles, place[: len(left)], place[len(left) :])
