"""Any fitted scorer as a signal: a folder, and the name of the column.

What: the number that a scorer of `tilth.signals.scorers` gives each text: a topic by seed words
(after Schopf et al. 2021), a quality classifier (as in Brown et al. 2020), a genre. A scorer with a
calibration gives a probability too.

When: a scorer was fitted and saved, by `scorers.trained.save` or its own `save`. When not: as a
verdict: choose where to cut by `tilth.signals.threshold`, on texts of the kind that you have.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tilth.errors import UsageError
from tilth.signals.scorers.signal import ScorerSignal, check_digest, check_least
from tilth.signals.scorers.trained import Trained, folder_digest, loaded

COLUMN = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Score(ScorerSignal):
    """Column `column`; and `column`_probability, null where the scorer has no calibration.

    - `scorer`: the folder. `column`: lower-case letters, digits and underscores.
    - `wanted`: whether the scorer was fitted on what you want more of; it turns the direction.
    - `least_characters`: shorter texts have no value (null).
    - `digest`: refuse another scorer than this; empty for whatever is there.
    """

    name = "score"
    version = 1

    def __init__(
        self,
        *,
        scorer: str = "",
        column: str = "score",
        wanted: bool = True,
        least_characters: int = 0,
        digest: str = "",
    ) -> None:
        if not scorer:
            raise UsageError("score needs the folder of a scorer", hint='scorer = "FOLDER"')
        if not COLUMN.fullmatch(column):
            raise UsageError(f"{column!r} is no name for a column", hint="like topic_tax")
        self.scorer, self.column, self.wanted = scorer, column, wanted
        self.least_characters = check_least(least_characters)
        self.digest = check_digest(digest, folder_digest(scorer), scorer)
        side = self._open().scorer.direction
        good = 1 if wanted else -1
        self.columns = {column: side * good, f"{column}_probability": good}

    def parameters(self) -> dict[str, Any]:
        names = "scorer column wanted least_characters digest".split()
        return {name: getattr(self, name) for name in names}

    def _open(self) -> Trained:
        return loaded(self.scorer, self.digest)

    def _values(self, trained: Trained, texts: list[str]) -> list[np.ndarray]:
        scores = trained.scorer.score(texts)
        unknown = np.full(len(scores), np.nan)
        return [scores, unknown if trained.calibration is None else trained.calibration(scores)]
