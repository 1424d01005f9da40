"""Perplexity under an n-gram model (Wenzek et al. 2019, "CCNet"; Jansen et al. 2022).

What: 10 to the mean of -log10 p over a text's units and its end; low means that the text is like
what the model was fitted on. CCNet fits it on clean text and keeps the low side; "Perplexed by
quality" fits it on harmful text and keeps the high side: say which by `good`.

When: to bring documents into an order of likeness to a source; to cut by `tilth.signals.threshold`.
When not: as quality itself. Boilerplate and lists are the most predictable text of all, and a
model also measures genre and dialect. Values of other models, units or languages do not compare.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tilth import __version__
from tilth.errors import UsageError
from tilth.signals.scorers.signal import ScorerSignal, check_digest, check_least
from tilth.signals.scorers.texts import read_training, source_digest
from tilth.signals.scorers.trained import Trained, cached, folder_digest, loaded, train
from tilth.store.digest import digest_value

UNIT, ORDER, TRAIN_BYTES = "characters", 5, 20_000_000


class Perplexity(ScorerSignal):
    """Columns `perplexity` (per unit of the model) and `bits_per_byte`, less is better.

    - `model`: a folder that `NGramScorer.save` or `scorers.trained.save` wrote; or
    - `train`: a file, a folder or a named set; a model of `unit` ("characters", "bytes", "words")
      and `order` is fitted on at most `train_bytes` of it, in lower case with digits as 0, and
      kept in the cache.
    - `good`: "low", or "high" where the model was fitted on what you do not want.
    - `least_characters`: shorter texts have no value (null): few units say little. A perplexity
      beyond what a float holds is null too.
    - `digest`: refuse another training text or model than this; empty for whatever is there.

    A model of two classes gives the perplexity of its positive one.
    """

    name = "perplexity"
    version = 1

    def __init__(
        self,
        *,
        model: str = "",
        train: str = "",
        unit: str = "",
        order: int = 0,
        train_bytes: int = TRAIN_BYTES,
        good: str = "low",
        least_characters: int = 50,
        digest: str = "",
    ) -> None:
        if bool(model) == bool(train):
            raise UsageError(
                "perplexity needs a model or a text to train one on, and not both",
                hint='model = "FOLDER" or train = "FILE, FOLDER or named set"',
            )
        if good not in ("low", "high"):
            raise UsageError(f"good is low or high, not {good!r}")
        if model and (unit or order or train_bytes != TRAIN_BYTES):
            raise UsageError("unit, order and train_bytes have no effect on a model that is there")
        if train and unit not in ("", "characters", "bytes", "words"):
            raise UsageError(f"there is no unit {unit!r}", hint="characters, bytes or words")
        if train and not 0 <= order <= 8:
            raise UsageError(f"order must lie from 1 to 8, not {order}")
        if train_bytes < 1:
            raise UsageError(f"train_bytes must be at least 1, not {train_bytes}")
        self.model, self.train, self.good = model, train, good
        self.unit, self.order = (unit or UNIT, order or ORDER) if train else (unit, order)
        self.train_bytes, self.least_characters = train_bytes, check_least(least_characters)
        found = folder_digest(model) if model else source_digest(train)
        self.digest = check_digest(digest, found, model or train)
        direction = -1 if good == "low" else 1
        self.columns = {"perplexity": direction, "bits_per_byte": direction}

    def parameters(self) -> dict[str, Any]:
        names = "model train unit order train_bytes good least_characters digest".split()
        return {name: getattr(self, name) for name in names}

    def _open(self) -> Trained:
        if self.model:
            trained = loaded(self.model, self.digest)
            if not hasattr(trained.scorer, "perplexity"):
                raise UsageError("holds no n-gram scorer", where=self.model)
            return trained
        return _fitted(self.train, self.unit, self.order, self.train_bytes, self.digest)

    def _values(self, trained: Trained, texts: list[str]) -> list[np.ndarray]:
        bits, events, sizes = trained.scorer.code_lengths(texts)
        with np.errstate(over="ignore"):
            return [np.exp2(bits[0] / events), bits[0] / sizes]


@functools.lru_cache(maxsize=4)
def _fitted(source: str, unit: str, order: int, limit: int, digest: str) -> Trained:
    options = {"unit": unit, "order": order, "fold": True}

    def make() -> tuple[Trained, dict[str, Any]]:
        texts, _, left_out = read_training(source, None, limit=limit)
        fields = {"source": source, "digest": digest, "left_out": left_out}
        return train("ngram", options, texts), fields

    key = digest_value(["perplexity", __version__, options, limit, digest])
    folder = cached(key, make)
    return loaded(str(folder), folder_digest(folder))
