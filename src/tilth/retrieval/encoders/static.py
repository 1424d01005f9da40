"""One vector a token and their mean: an encoder without attention (Arora, Liang and Ma, 2017).

A text costs a look-up a token, hundreds of times less than a transformer. A token that says little
learns a short vector, so that the mean is weighted without being told how. When: many documents
and few cores, keywords, short passages. When not: where the order of words matters, or one word has
several meanings: nothing here looks at the neighbours.

The folder is that of `sentence-transformers`' StaticEmbedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.retrieval.encoders.base import TextEncoder
from tilth.store.write import write_bytes

WEIGHTS = "model.safetensors"


class Static(TextEncoder):
    """The encoder of this module. `weights`: float32 (vocabulary, dimensions)."""

    name = "static"

    def __init__(self, weights: Any, tokenizer: Any, **settings: Any) -> None:
        self.weights = np.ascontiguousarray(weights, np.float32)
        self.dimensions = self.weights.shape[1]
        super().__init__(tokenizer, **{"normalize": True, "special": False, **settings})

    def weights_digest(self) -> str:
        return hashlib.sha256(self.weights.tobytes()).hexdigest()

    def vectors(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        import torch
        import torch.nn.functional as F

        offsets = np.cumsum([0, *(len(row) for row in ids[:-1])])
        flat = np.fromiter((token for row in ids for token in row), np.int64)
        made = F.embedding_bag(
            torch.from_numpy(flat), torch.from_numpy(self.weights), torch.from_numpy(offsets),
            mode="mean",
        )  # fmt: skip
        return made.numpy()

    def save(self, folder: str | Path) -> list[str]:
        """Write the folder; the names of its files, the manifest last."""
        from safetensors.numpy import save as to_bytes

        folder = Path(folder)
        write_bytes(folder / WEIGHTS, to_bytes({"embedding.weight": self.weights}))
        for name, content in self.files.items():
            write_bytes(folder / name, content)
        return self._save(folder, [("StaticEmbedding", ""), *self._ends()], [WEIGHTS, *self.files])

    def _ends(self) -> list[tuple[str, str]]:
        return [("Normalize", "1_Normalize")] if self.normalize else []
