"""Perplexed by quality: harmful text is what a language model of harmful text finds easy.

Jansen, Tong, Zevallos and Ortiz Suarez (2022). Their twist: train the model on harmful text alone
and drop what has a low perplexity, where CCNet trains on clean text and drops the high. Here the
harmful texts are tweets, and what must be told from them are seven genres of clean text, neutral
tweets among them. A model or classifier that needs clean text gets one genre, each in turn, and is
judged on the six that it has not seen; the harmful model has seen none. All texts are cut to the
same number of words, without the marks that only tweets have, so that neither length nor form
tells them apart; training and test share no six words in a row. Genres are the examples of the
interval: it says what another genre might do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.ngram_scorer import NGramScorer
from tilth.signals.scorers.linear import Linear
from tilth.systems import _perplexed_texts
from tilth.systems._perplexed_judged import AUC, Score, arm, scorer_invariants, text_invariants
from tilth.systems._perplexed_texts import Inputs

CARD = Card(
    slug="perplexed",
    title="Perplexed by Quality: A Perplexity-based Method for Adult and Harmful Content "
    "Detection in Multilingual Heterogeneous Web Data",
    year=2022,
    family="corpus",
    claim="An n-gram model of harmful text alone separates harmful from clean text, of kinds that "
    "nobody named, better than a model of clean text does.",
    part="[signals.harm] in a plan",
    modules=(
        "tilth.models.ngram", "tilth.models.ngram_kernels", "tilth.models.ngram_scorer",
        "tilth.models.ngram_units", "tilth.signals.calibration", "tilth.signals.harm",
        "tilth.signals.hills", "tilth.signals.scorers.features", "tilth.signals.scorers.linear",
        "tilth.signals.threshold", "tilth.systems._perplexed_judged",
        "tilth.systems._perplexed_texts",
    ),
    data_kind="classify",
    arxiv="2212.10440",
    when="You have harmful text and no clean text that stands for all that may come.",
    when_not="Labels of both classes are there from the genres that you will meet: train a "
    "classifier. The harmful model also finds easy what only has the genre of the harmful text.",
    not_covered="Other languages than English; whole web pages; the lists of addresses by which "
    "the paper found its training text; dialect groups, which the data do not name.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=AUC, method="harmful LM", baseline="clean LM", margin=0.1, kind="learned",
          equal="tokens", primary=True),
    Claim(metric=AUC, method="difference", baseline="harmful LM", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="difference", baseline="clean LM", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="harmful LM", baseline="classifier", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="difference", baseline="classifier", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="harmful LM", baseline="word list", margin=0.0, kind="learned"),
)  # fmt: skip
SEEDS = 10
ORDER = 6


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, words: int = 12, training: int = 1500,
    test: int = 400, harmful: str = "hate,offensive", bad_words: str = "",
) -> Prepared:  # fmt: skip
    """Pieces of `words` words: `training` of each group, `test` of each genre, twice that harmful.

    Of your own data `harmful` names the labels that are harmful; each other label is a genre.
    """
    return _perplexed_texts.prepare(
        scale, data, seed, words=words, training=training, test=test, harmful=harmful,
        bad_words=bad_words,
    )  # fmt: skip


def _model(texts: list[str], labels: list[bool] | None = None) -> NGramScorer:
    return NGramScorer(unit="characters", order=ORDER).fit(texts, labels)


def harmful_model(inputs: Inputs, genre: str) -> Score:
    scorer = _model(inputs.harmful_train)
    return lambda texts: -np.log10(scorer.perplexity(texts))


def clean_model(inputs: Inputs, genre: str) -> Score:
    scorer = _model(inputs.train[genre])
    return lambda texts: np.log10(scorer.perplexity(texts))


def difference(inputs: Inputs, genre: str) -> Score:
    scorer = _model(*_both(inputs, genre))
    return lambda texts: -scorer.score(texts)


def classifier(inputs: Inputs, genre: str) -> Score:
    return Linear().fit(*_both(inputs, genre)).score


def word_list(inputs: Inputs, genre: str) -> Score:
    terms = [f" {term} " for term in inputs.bad_words]
    return lambda texts: np.array([float(sum(t in f" {x} " for t in terms)) for x in texts])


def _both(inputs: Inputs, genre: str) -> tuple[list[str], list[bool]]:
    texts = inputs.harmful_train + inputs.train[genre]
    return texts, [n < len(inputs.harmful_train) for n in range(len(texts))]


ARMS = {
    "harmful LM": arm(harmful_model, 1, each=False),
    "clean LM": arm(clean_model, 1, each=True),
    "difference": arm(difference, 2, each=True),
    "classifier": arm(classifier, 2, each=True),
    "word list": arm(word_list, 0, each=False),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the scorer and of the texts."""
    yield from scorer_invariants(_model, inputs)
    yield from text_invariants(inputs)
