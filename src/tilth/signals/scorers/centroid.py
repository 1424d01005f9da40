"""Topics by seed words: cosine to TF-IDF centroids, without labels.

What: the words that a team gives for a topic are a first query; the unlabelled texts nearest to it
are taken as examples; the topic is the mean of the query and their mean (Rocchio 1971, pseudo
relevance feedback; the same two steps as Lbl2Vec, Schopf, Braun and Matthes 2021, on word counts
in place of learned vectors). A score is the cosine of a text with the topic.

When: experts know their words and nobody has labelled anything; to route or to find more of a
topic. When not: where labels are there (take `linear`), or for meaning that no word shows.

Traps: a seed word that occurs in no text says nothing; such words are listed in `missing` and a
topic with none left is refused. Seeds are matched in lower case as whole words, so give the forms
that texts use ("fever", "fevers").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tilth.errors import DataError, UsageError, nearest
from tilth.signals.scorers.arrays import load_arrays, save_arrays
from tilth.signals.scorers.features import Features, inverse_frequency, read_only

KIND = {"kind": "scorer", "scorer": "centroid", "version": 1}


class Centroid:
    """A scorer: cosine with the nearest topic, from 0 to 1, higher is more like it.

    - `seeds`: topic -> words. `topic`: the one that is scored; empty for the best of all.
    - `candidates`: how many texts nearest to the seeds join the centroid; 0 takes seeds alone.
    - `bits`: 2^bits buckets of words and pairs of words.

    The order of topics and of words changes nothing. A text without any known word scores 0.
    """

    name = "centroid"
    version = 1
    direction = 1

    def __init__(
        self,
        *,
        seeds: Mapping[str, Sequence[str]],
        topic: str = "",
        candidates: int = 50,
        bits: int = 18,
    ) -> None:
        self.seeds = {name: sorted(set(words)) for name, words in sorted(seeds.items())}
        if not self.seeds or not all(self.seeds.values()):
            raise UsageError("each topic needs seed words", hint='like {"tax": ["vat", "income"]}')
        if topic and topic not in self.seeds:
            raise UsageError(f"there is no topic {topic!r}", hint=nearest(topic, self.seeds))
        if candidates < 0:
            raise UsageError(f"candidates must be 0 or more, not {candidates}")
        self.topic, self.candidates = topic, candidates
        self.features = Features(bits, words=2, shortest=0, longest=0)
        self.missing: dict[str, list[str]] = {}
        self._fitted: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def topics(self) -> list[str]:
        return list(self.seeds)

    def parameters(self) -> dict[str, Any]:
        return {
            "seeds": self.seeds,
            "topic": self.topic,
            "candidates": self.candidates,
            "bits": self.features.bits,
        }

    def fit(self, texts: Sequence[str], labels: Sequence[Any] | None = None) -> Centroid:
        """Learn weights of words and the centroids from unlabelled texts; `labels` are not used.

        Raises DataError without texts, or where no seed word of a topic occurs in them.
        """
        if not len(texts):
            raise DataError("there is no text to learn from", hint="give at least one document")
        _, hits = self.features.count(texts)
        idf = inverse_frequency(hits, len(texts))
        rows = self.features.rows(texts, idf)
        centroids = np.zeros((self.features.buckets, len(self.seeds)))
        self.missing = {}
        for number, (name, words) in enumerate(self.seeds.items()):
            query = self._query(name, words, hits, idf)
            cosines = rows @ query
            # By score, then by place; only texts that hold a seed word at all.
            order = np.argsort(-cosines, kind="stable")[: self.candidates]
            chosen = order[cosines[order] > 0]
            centroid = query
            if len(chosen):
                centroid = unit(query) + unit(np.asarray(rows[chosen].mean(axis=0)).ravel())
            centroids[:, number] = unit(centroid)
        self._fitted = idf, read_only(centroids)
        return self

    def _query(
        self, name: str, words: Sequence[str], hits: np.ndarray, idf: np.ndarray
    ) -> np.ndarray:
        """The unit vector of the seed words that occur."""
        seeds = self.features.rows(words, idf)
        known = np.asarray((seeds @ (hits > 0).astype(float)) > 0).ravel()
        if lost := [word for word, there in zip(words, known) if not there]:
            self.missing[name] = lost
        if not known.any():
            raise DataError(
                f"no text holds a seed word of the topic {name!r}: {', '.join(words[:5])}",
                hint="give words in the form that the texts use",
            )
        query = np.asarray(seeds[np.flatnonzero(known)].sum(axis=0)).ravel()
        return unit(query * (hits > 0))

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Cosines with every topic, float64 (texts, topics), in the order of `topics`."""
        if self._fitted is None:
            raise UsageError(
                "the centroid scorer has learned nothing yet", hint="call fit, or load"
            )
        return np.clip(self.features.project(texts, *self._fitted), 0.0, 1.0)

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """Cosine with the topic, or with the nearest one, float64 (texts,)."""
        found = self.scores(texts)
        return found[:, self.topics.index(self.topic)] if self.topic else found.max(axis=1)

    def save(self, folder: str | Path) -> None:
        """Write the centroids and, last, the manifest. Same fit, same bytes."""
        self.scores([])
        arrays = dict(zip(("idf", "centroids"), self._fitted or ()))
        save_arrays(folder, arrays, **KIND, parameters=self.parameters(), missing=self.missing)

    @classmethod
    def load(cls, folder: str | Path) -> Centroid:
        """A fitted scorer. Raises DamagedError where the folder is unfinished or does not fit."""
        manifest, arrays = load_arrays(folder, KIND, ("idf", "centroids"))
        scorer = cls(**manifest["parameters"])
        buckets, topics = scorer.features.buckets, len(scorer.topics)
        arrays.check({"idf": (buckets,), "centroids": (buckets, topics)})
        scorer.missing = manifest["missing"]
        scorer._fitted = arrays["idf"], arrays["centroids"]
        return scorer


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1; one of length 0 as it is."""
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector
