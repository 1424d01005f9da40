"""Texts to bits per byte under a modified Kneser-Ney n-gram model (see `ngram`).

What: the code length that the model gives a text, divided by the text's bytes of UTF-8: perplexity
that does not depend on the unit. Low means "like the texts it was fitted on".

When: to rank documents by likeness to a clean source, as CCNet does (Wenzek et al. 2019, with KenLM
5-grams over words), to draw a baseline beside a neural model, to score in milliseconds. When not:
as a measure of quality by itself (boilerplate is the most predictable text of all), or between
models fitted on different texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError, UsageError
from tilth.models.ngram import NGram
from tilth.models.ngram_units import batches, unit_named
from tilth.store.digest import digest
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest

SCORED_AT_ONCE = 1 << 22  # characters


class NGramScorer:
    """A `Scorer`: bits per byte of each text, less is better (`direction` is -1).

    - `unit`: "bytes", "characters", "words" or "tokens"; see `ngram_units` for how each cuts text
      and what an unknown piece costs.
    - `order`: of the n-grams.
    - `tokenizer`: for unit "tokens", a `tokenizers.Tokenizer` or what has its `encode_batch`.

    A text is one sequence: its end counts as an event. A lone surrogate is read as U+FFFD.
    """

    direction = -1

    def __init__(self, *, unit: str = "bytes", order: int = 5, tokenizer: Any = None) -> None:
        self.unit, self.order, self.tokenizer = unit, order, tokenizer
        self._unit: Any = None
        self._model: NGram | None = None

    def parameters(self) -> dict[str, Any]:
        """The options as JSON values; a tokenizer by the digest of its definition."""
        definition = getattr(self.tokenizer, "to_str", None)
        return {
            "unit": self.unit,
            "order": self.order,
            "tokenizer": digest(definition()) if definition else None,
        }

    @property
    def model(self) -> NGram:
        """The n-gram model. Raises UsageError before `fit`."""
        if self._model is None:
            raise UsageError("the n-gram scorer has no model yet", hint="call fit, or load")
        return self._model

    def fit(self, texts: Iterable[str]) -> NGramScorer:
        """Count the texts; an earlier fit is forgotten. Raises DataError where there is none."""
        if self.unit == "tokens" and self.tokenizer is None:
            raise UsageError("the unit 'tokens' needs a tokenizer", hint="give tokenizer=")
        unit = unit_named(self.unit, self.tokenizer)
        valid = [_valid(text) for text in texts]
        unit.fit(valid)
        encoded = unit.encode(valid)
        self._model = NGram.train(
            encoded.tokens, encoded.offsets, vocabulary=unit.vocabulary, order=self.order
        )
        self._unit = unit
        return self

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Bits per byte of each text, float64 (texts,): `total_bits` over its bytes of UTF-8.

        An empty text is taken as one byte long: its value is the bits of its end.
        """
        sizes = [max(1, len(_valid(text).encode())) for text in texts]
        return self.total_bits(texts) / np.array(sizes, np.float64)

    def total_bits(self, texts: Sequence[str]) -> np.ndarray:
        """The bits of each text with its end, float64 (texts,); each is scored by itself."""
        model, parts = self.model, [np.empty(0)]
        for some in batches(texts, SCORED_AT_ONCE):
            encoded = self._unit.encode([_valid(text) for text in some])
            bits = -model.score(encoded.tokens, encoded.offsets) / np.log(2)
            # Each text has at least its end, so no piece between two starts is empty.
            starts = encoded.offsets[:-1] + np.arange(len(some))
            parts.append(np.add.reduceat(bits, starts) + encoded.spelling)
        return np.concatenate(parts)

    def save(self, folder: str | Path) -> None:
        """Write the model, what its unit learned and, last, the manifest. Same fit, same bytes."""
        folder, model = Path(folder), self.model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        files = self._unit.save(folder)
        model.save(folder / "model")
        inside = [f"model/{name}" for name in (read_manifest(folder / "model") or {})["files"]]
        parameters = {"unit": self.unit, "order": self.order}
        write_manifest(
            folder,
            [*files, *inside, f"model/{MANIFEST}"],
            kind="ngram scorer",
            version=1,
            parameters=parameters,
        )

    @classmethod
    def load(cls, folder: str | Path) -> NGramScorer:
        """A fitted scorer. Raises DamagedError where the folder is unfinished."""
        folder = Path(folder)
        if not is_complete(folder, {"kind": "ngram scorer", "version": 1}):
            raise DamagedError("not a finished n-gram scorer", where=str(folder))
        parameters = (read_manifest(folder) or {})["parameters"]
        unit = unit_named(parameters["unit"])
        unit.load(folder)
        scorer = cls(**parameters, tokenizer=getattr(unit, "tokenizer", None))
        scorer._unit, scorer._model = unit, NGram.load(folder / "model")
        return scorer


def _valid(text: str) -> str:
    """The text itself, or, with lone surrogates replaced, what UTF-8 can say of it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
