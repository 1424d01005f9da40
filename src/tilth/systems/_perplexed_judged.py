"""How the arms of the system `perplexed` are judged, and what must hold of its scorer and texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tilth.evaluation.card import Invariant, Measured
from tilth.models.ngram_scorer import NGramScorer
from tilth.signals.calibration import area_under_curve
from tilth.signals.threshold import two_hills
from tilth.systems._perplexed_texts import SHARED, Inputs

AUC = "mean AUC over unseen genres"
ALLOWED = 0.05  # of the clean genre that is known, when rates of groups are counted

# Texts to numbers, more is more harmful.
Score = Callable[[list[str]], np.ndarray]


def arm(
    make: Callable[[Inputs, str], Score], models: int, each: bool
) -> Callable[[Inputs, int], Measured]:
    """The arm that scores by `make`; `models` are trained a scorer, anew for `each` clean genre.

    Each genre in turn is the known one. The area under the curve is that of harmful texts against
    each other genre, averaged over the known ones. `flagged`: shares of each group beyond the cut
    that flags 5 % of the known genre; of clean groups where they are unseen.
    """

    def measure(inputs: Inputs, seed: int) -> Measured:
        genres, kinds = list(inputs.test), np.array(inputs.kinds)
        areas: dict[str, list[float]] = {genre: [] for genre in genres}
        flagged: dict[str, list[float]] = {}
        score, hills = make(inputs, genres[0]), []
        for known in genres:
            score = make(inputs, known) if each and known != genres[0] else score
            harmful = score(inputs.harmful_test)
            clean = {genre: score(texts) for genre, texts in inputs.test.items()}
            cut = float(np.quantile(clean[known], 1 - ALLOWED))
            for kind in dict.fromkeys(inputs.kinds):
                flagged.setdefault(kind, []).append(float((harmful[kinds == kind] > cut).mean()))
            for genre in genres:
                if genre != known:
                    both = np.concatenate([harmful, clean[genre]])
                    labels = np.arange(len(both)) < len(harmful)
                    areas[genre].append(area_under_curve(both, labels))
                    flagged.setdefault(genre, []).append(float((clean[genre] > cut).mean()))
            found = two_hills(np.concatenate([harmful, *clean.values()]))
            hills.append(float(found.threshold is not None))
        rates = {f"flagged: {group}": float(np.mean(all_)) for group, all_ in flagged.items()}
        return Measured(
            {AUC: [float(np.mean(areas[genre])) for genre in genres], **rates,
             "two hills are seen": float(np.mean(hills))},
            tokens=models * inputs.budget,
        )  # fmt: skip

    return measure


def runs(texts: Iterable[str]) -> set[tuple[str, ...]]:
    """All `SHARED` words in a row of the texts."""
    spoken = [text.split() for text in texts]
    return {tuple(s[n : n + SHARED]) for s in spoken for n in range(len(s) - SHARED + 1)}


def scorer_invariants(
    make: Callable[[list[str]], NGramScorer], inputs: Inputs
) -> Iterable[Invariant]:
    """Perplexity against the model's own distributions, which another piece of code makes."""
    training = inputs.harmful_train
    scorer, texts = make(training), inputs.harmful_test[:5]
    encoded = scorer.encode(texts)
    offsets, equal, sums = encoded.offsets, True, True
    bits = scorer.total_bits(texts)
    for number in range(len(texts)):
        ids = encoded.tokens[offsets[number] : offsets[number + 1]].tolist()
        logarithm = -encoded.spelling[number] * np.log10(2)
        for place, event in enumerate([*ids, scorer.model.vocabulary]):
            shares = scorer.model.next_distribution(ids[:place])
            sums = sums and abs(float(shares.sum()) - 1) < 1e-5
            logarithm += np.log10(shares[event])
        equal = equal and abs(logarithm + bits[number] * np.log10(2)) < 1e-4
    yield Invariant("log10 probabilities equal those of the distributions within 1e-4", equal)
    yield Invariant("probabilities sum to 1", sums)
    other = make(training[::-1]).perplexity(inputs.harmful_test[::-1])[::-1]
    same = np.array_equal(scorer.perplexity(inputs.harmful_test), other)
    yield Invariant("perplexity does not depend on the order of documents", same)


def text_invariants(inputs: Inputs) -> Iterable[Invariant]:
    """Nothing but words tells test texts apart, and none of them was trained on."""
    texts = [*inputs.harmful_test, *(text for some in inputs.test.values() for text in some)]
    same = {len(text.split()) for text in texts} == {inputs.words}
    yield Invariant("all test texts have the same number of words", same)
    shared = runs(inputs.harmful_train) & runs(inputs.harmful_test)
    yield Invariant(f"training and test share no {SHARED} words in a row", not shared)
