"""Texts to bits per byte under a modified Kneser-Ney n-gram model (see `ngram`).

What: the code length that the model gives a text, divided by the text's bytes of UTF-8: perplexity
that does not depend on the unit. Low means "like the texts it was fitted on". Fitted on two
classes it is the difference of the two: how many bits a byte costs more under the model of the
positive class than under the model of the other; below 0 means "like the positive class".

When: to rank documents by likeness to a clean source, as CCNet does (Wenzek et al. 2019, with KenLM
5-grams over words); to find what is like harmful text (Jansen et al. 2022, "Perplexed by quality");
to draw a baseline beside a neural model, to score in milliseconds. When not: as a measure of
quality by itself (boilerplate is the most predictable text of all), or between models fitted on
different texts.

Traps: a model of one class also measures genre, so look at clean text of the same genre; texts of
a few words have wild scores. A rare word is never cheap here: what was not seen is spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models.ngram import NGram
from tilth.models.ngram_units import Encoded, batches, unit_named
from tilth.store.digest import digest
from tilth.store.manifest import NAME as MANIFEST
from tilth.store.manifest import is_complete, read_manifest, write_manifest

SCORED_AT_ONCE = 1 << 22  # characters
DIGIT = re.compile(r"\d")
MODELS = ("model", "other")
KIND = {"kind": "ngram scorer", "version": 1}


class NGramScorer:
    """A scorer: bits per byte of each text; less is more like what it was fitted on.

    - `unit`: "bytes", "characters", "words" or "tokens"; see `ngram_units` for how each cuts text
      and what an unknown piece costs.
    - `order`: of the n-grams.
    - `tokenizer`: for unit "tokens", a `tokenizers.Tokenizer` or what has its `encode_batch`.
    - `fold`: read all text in lower case, each digit as 0, each run of white space as one blank
      (after CCNet); bytes are then those of the folded text.

    A text is one sequence: its end counts as an event. A lone surrogate is read as U+FFFD.
    """

    name = "ngram"
    version = 1
    direction = -1

    def __init__(
        self,
        *,
        unit: str = "bytes",
        order: int = 5,
        tokenizer: Any = None,
        fold: bool = False,
    ) -> None:
        self.unit, self.order, self.tokenizer, self.fold = unit, order, tokenizer, fold
        self._unit: Any = None
        self._models: tuple[NGram, ...] = ()

    def parameters(self) -> dict[str, Any]:
        """The options as JSON values; a tokenizer by the digest of its definition."""
        definition = getattr(self.tokenizer, "to_str", None)
        return {
            "unit": self.unit,
            "order": self.order,
            "tokenizer": digest(definition()) if definition else None,
            "fold": self.fold,
        }

    @property
    def model(self) -> NGram:
        """The n-gram model, of the positive class where there are two. UsageError before `fit`."""
        return self._fitted()[0]

    def _fitted(self) -> tuple[NGram, ...]:
        if not self._models:
            raise UsageError("the n-gram scorer has no model yet", hint="call fit, or load")
        return self._models

    @property
    def classes(self) -> int:
        """1, or 2 where it was fitted with labels."""
        return len(self._models)

    def fit(self, texts: Iterable[str], labels: Iterable[Any] | None = None) -> NGramScorer:
        """Count the texts; an earlier fit is forgotten. Raises DataError where there is none.

        With `labels` (true for the positive class) there are two models over one set of units, so
        what is unknown costs the same in both. Raises DataError where a class is missing.
        """
        if self.unit == "tokens" and self.tokenizer is None:
            raise UsageError("the unit 'tokens' needs a tokenizer", hint="give tokenizer=")
        unit = unit_named(self.unit, self.tokenizer)
        valid = [self._read(text) for text in texts]
        unit.fit(valid)
        classes = [valid]
        if labels is not None:
            positive = [bool(label) for label in labels]
            if len(positive) != len(valid):
                raise DataError(f"{len(valid)} texts and {len(positive)} labels do not pair")
            classes = [
                [text for text, label in zip(valid, positive) if label is wanted]
                for wanted in (True, False)
            ]
            if not all(classes):
                raise DataError("texts of both classes are needed", where="n-gram scorer")
        models = []
        for some in classes:
            encoded = unit.encode(some)
            models.append(
                NGram.train(
                    encoded.tokens, encoded.offsets, vocabulary=unit.vocabulary, order=self.order
                )
            )
        self._unit, self._models = unit, tuple(models)
        return self

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Bits per byte of each text, float64 (texts,); with two classes the difference.

        An empty text is taken as one byte long: its value is the bits of its end.
        """
        bits, _, sizes = self.code_lengths(texts)
        return (bits[0] - bits[1] if self.classes == 2 else bits[0]) / sizes

    def total_bits(self, texts: Sequence[str]) -> np.ndarray:
        """The bits of each text with its end, float64 (texts,), under `model`."""
        return self.code_lengths(texts)[0][0]

    def perplexity(self, texts: Sequence[str]) -> np.ndarray:
        """2 to the mean bits of a unit, float64 (texts,), under `model`; the end is one unit more.

        It depends on the unit: compare it only within one scorer. Infinite where it is beyond
        what a float holds.
        """
        bits, events, _ = self.code_lengths(texts)
        with np.errstate(over="ignore"):
            return np.exp2(bits[0] / events)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """The texts as the model reads them: sequences of ids, and the bits of what is unknown."""
        self._fitted()
        return self._unit.encode([self._read(text) for text in texts])

    def code_lengths(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(bits under each model, units with the end, bytes), float64.

        Shapes (models, texts), (texts,), (texts,). Each text is scored by itself; the model of the
        positive class comes first.
        """
        models = self._fitted()
        parts = [np.empty((len(models) + 2, 0))]
        for some in batches(texts, SCORED_AT_ONCE):
            valid = [self._read(text) for text in some]
            encoded = self._unit.encode(valid)
            # Each text has at least its end, so no piece between two starts is empty.
            starts = encoded.offsets[:-1] + np.arange(len(some))
            rows = []
            for model in models:
                bits = -model.score(encoded.tokens, encoded.offsets) / np.log(2)
                rows.append(np.add.reduceat(bits, starts) + encoded.spelling)
            rows += [np.diff(encoded.offsets) + 1.0]
            rows += [np.array([max(1, len(text.encode())) for text in valid], np.float64)]
            parts.append(np.stack(rows))
        found = np.concatenate(parts, axis=1)
        return found[:-2], found[-2], found[-1]

    def _read(self, text: str) -> str:
        text = _valid(text)
        return DIGIT.sub("0", " ".join(text.lower().split())) if self.fold else text

    def save(self, folder: str | Path) -> None:
        """Write the models, what their unit learned and, last, the manifest.

        The same fit gives the same bytes.
        """
        folder, models = Path(folder), self._fitted()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        files = self._unit.save(folder)
        for name, model in zip(MODELS, models):
            model.save(folder / name)
            inside = (read_manifest(folder / name) or {})["files"]
            files += [*(f"{name}/{file}" for file in inside), f"{name}/{MANIFEST}"]
        parameters = {"unit": self.unit, "order": self.order, "fold": self.fold}
        write_manifest(
            folder, files, **KIND, scorer=self.name, classes=self.classes, parameters=parameters
        )

    @classmethod
    def load(cls, folder: str | Path) -> NGramScorer:
        """A fitted scorer. Raises DamagedError where the folder is unfinished."""
        folder = Path(folder)
        if not is_complete(folder, KIND):
            raise DamagedError("not a finished n-gram scorer", where=str(folder))
        manifest = read_manifest(folder) or {}
        parameters = manifest["parameters"]
        unit = unit_named(parameters["unit"])
        unit.load(folder)
        scorer = cls(**parameters, tokenizer=getattr(unit, "tokenizer", None))
        names = MODELS[: manifest.get("classes", 1)]
        scorer._unit = unit
        scorer._models = tuple(NGram.load(folder / name) for name in names)
        return scorer


def warm() -> None:
    """Compile the loops, or load them compiled."""
    NGramScorer(order=2).fit(["warm"]).score(["warm"])


def _valid(text: str) -> str:
    """The text itself, or, with lone surrogates replaced, what UTF-8 can say of it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
