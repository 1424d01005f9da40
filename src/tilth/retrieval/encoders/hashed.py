"""Words to random signs, added up: an encoder without training (Weinberger et al., 2009).

Each term of the analyzer stands for one fixed vector of signs that its digest gives; a text is the
sum over its terms, one damped by how often it occurs, at unit length (random projection: Achlioptas
2003). Inner products are near the cosine of the bags of words. When: as a baseline that knows no
meaning, and where vectors must be exact and cheap. When not: to find other words for the same
thing; a lexical index finds the same words better.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import UsageError
from tilth.retrieval.analyzer import Words
from tilth.store.digest import digest_value
from tilth.store.write import write_json

FILE = "encoder.json"
# Words whose signs are kept: 256 bytes each.
KNOWN = 100_000


class Hashed:
    """The encoder of this module. `dimensions` 8 to 512, a multiple of 8."""

    name = "hashed"
    version = 1
    cut_tokens = 0

    def __init__(self, *, dimensions: int = 256) -> None:
        if not 8 <= dimensions <= 512 or dimensions % 8:
            raise UsageError(f"dimensions is {dimensions}", hint="a multiple of 8, up to 512")
        self.dimensions = dimensions
        self._analyzer = Words()
        self._known: dict[str, np.ndarray] = {}

    def parameters(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions}

    @property
    def fingerprint(self) -> str:
        return digest_value([self.name, self.version, self.dimensions, self._analyzer.digest])

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 (texts, dimensions); zeros for a text without a term."""
        found = np.zeros((len(texts), self.dimensions), np.float32)
        for place, text in enumerate(texts):
            total = np.zeros(self.dimensions)
            for term, times in sorted(Counter(self._analyzer.terms(text)).items()):
                total += self._signs(term) * (1 + math.log(times))
            length = math.sqrt(float(total @ total))
            if length:
                found[place] = total / length
        return found

    encode_queries = encode

    def _signs(self, term: str) -> np.ndarray:
        if term not in self._known:
            if len(self._known) >= KNOWN:  # in a server, words come without end
                self._known.clear()
            data = hashlib.blake2b(
                term.encode("utf-8", "surrogatepass"), digest_size=self.dimensions // 8
            ).digest()
            bits = np.unpackbits(np.frombuffer(data, np.uint8))
            self._known[term] = bits.astype(np.int8) * 2 - 1
        return self._known[term]

    def save(self, folder: str | Path) -> list[str]:
        """Write the folder; the names of its files."""
        write_json(Path(folder) / FILE, {"name": self.name, "parameters": self.parameters()})
        return [FILE]
