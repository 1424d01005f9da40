"""Harm: how much a document is like harmful texts that you name (Jansen et al. 2022).

What: a scorer trained on your harmful text and, where you have it, on clean text. There is no
built-in notion of harm: without training text there is no such signal.

When: you have a few hundred texts or more of what must not be learned from. With harmful text
alone take the n-gram scorer; with clean text of the same genre too, both scorers calibrate, and
`linear` is usually sharper on the genres that it saw. When not: to judge people or single posts,
or in a language or genre that the training text does not hold.

Traps: a scorer of one class also measures genre: text that is merely like the harmful one in form
(tweets, dialogue, dialect, health advice) scores high, so look at the rates of each group. Words of
minority dialects and of sexual health are the well-known false alarms. Texts of a few words have
wild scores, and none here. A cut does not transfer to another language or genre.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tilth import __version__
from tilth.errors import UsageError, nearest
from tilth.signals.scorers.signal import ScorerSignal, check_digest, check_least
from tilth.signals.scorers.texts import read_training, source_digest
from tilth.signals.scorers.trained import Trained, cached, folder_digest, loaded, train
from tilth.store.digest import digest as digest_of
from tilth.store.digest import digest_value

NOT_MEASURED = "harm: not measured, no training text"
OPTIONS: dict[str, dict[str, Any]] = {
    "ngram": {"unit": "characters", "order": 6, "fold": True},
    "linear": {},
}


class Harm(ScorerSignal):
    """Columns `harm` (the scorer's number, turned so that more is worse) and `harm_probability`.

    - `train`: harmful texts: a file, a folder or a named set; or rows with a column `label`, where
      `harmful` names the labels that are harmful and all others are clean.
    - `clean`: clean texts, where `train` has no labels; empty for none.
    - `scorer`: "ngram" (bits per byte under the harmful model; with clean text less those under
      the clean one; sign turned) or "linear" (log-odds; needs clean text).
    - `calibration`: "platt" or "isotonic". `harm_probability` is null without clean text; it is
      meant for the share of harmful texts that the training text has.
    - `least_characters`: shorter texts have no value (null).
    - `train_bytes`: at most so much of each source. `digest`: refuse other training text than this.
    """

    name = "harm"
    version = 1
    columns: ClassVar[dict[str, int]] = {"harm": -1, "harm_probability": -1}

    def __init__(
        self,
        *,
        train: str = "",
        clean: str = "",
        harmful: Sequence[str] = (),
        scorer: str = "ngram",
        calibration: str = "platt",
        train_bytes: int = 20_000_000,
        least_characters: int = 30,
        digest: str = "",
    ) -> None:
        if not train:
            raise UsageError(NOT_MEASURED, hint='train = "FILE, FOLDER or named set"')
        if scorer not in OPTIONS:
            hint = nearest(scorer, OPTIONS)
            raise UsageError(f"harm has no scorer {scorer!r}", hint=hint)
        if calibration not in ("platt", "isotonic"):
            raise UsageError(f"no calibration is called {calibration!r}", hint="platt or isotonic")
        if clean and harmful:
            raise UsageError("labels say what is clean, so clean cannot be given beside harmful")
        if scorer == "linear" and not (clean or harmful):
            raise UsageError(
                "the linear scorer needs clean text too", hint='clean = "...", or scorer = "ngram"'
            )
        if train_bytes < 1:
            raise UsageError(f"train_bytes must be at least 1, not {train_bytes}")
        self.train, self.clean, self.harmful = train, clean, tuple(harmful)
        self.scorer, self.calibration, self.train_bytes = scorer, calibration, train_bytes
        self.least_characters = check_least(least_characters)
        found = digest_of(*(source_digest(given) for given in (train, clean) if given))
        self.digest = check_digest(digest, found, f"the training text of {train}")

    def parameters(self) -> dict[str, Any]:
        names = "train clean scorer calibration train_bytes least_characters digest".split()
        return {"harmful": list(self.harmful), **{name: getattr(self, name) for name in names}}

    def _open(self) -> Trained:
        return _fitted(
            self.train, self.clean, self.harmful, self.scorer, self.calibration,
            self.train_bytes, self.digest,
        )  # fmt: skip

    def _values(self, trained: Trained, texts: list[str]) -> list[np.ndarray]:
        scores = trained.scorer.score(texts)
        probability = trained.calibration
        unknown = np.full(len(scores), np.nan)
        return [
            trained.scorer.direction * scores,
            unknown if probability is None else probability(scores),
        ]

    def report(self) -> dict[str, Any]:
        """How good the scorer is on training text that was held out; a JSON value."""
        return self._open().report


@functools.lru_cache(maxsize=4)
def _fitted(
    source: str, clean: str, harmful: tuple[str, ...], scorer: str, calibration: str, limit: int,
    state: str,
) -> Trained:  # fmt: skip
    def make() -> tuple[Trained, dict[str, Any]]:
        texts, labels, left_out = read_training(source, harmful, limit=limit)
        if clean:
            others, _, left = read_training(clean, None, limit=limit)
            labels = [True] * len(texts) + [False] * len(others)
            texts, left_out = texts + others, left_out + left
        made = train(scorer, OPTIONS[scorer], texts, labels, calibration=calibration)
        return made, {"sources": [source, clean], "digest": state, "left_out": left_out}

    key = digest_value(
        ["harm", __version__, scorer, OPTIONS[scorer], calibration, list(harmful), limit, state]
    )
    folder = cached(key, make)
    return loaded(str(folder), folder_digest(folder))
