"""Metrics of tasks: of predictions beside what is right. Small and plain; checked by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tilth.evaluation.entities import Counts, count, total


def accuracy(gold: Sequence, predicted: Sequence) -> float:
    """Share of examples that are right; NaN of none."""
    return float(np.mean([one == other for one, other in zip(gold, predicted, strict=True)]))


def label_counts(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> dict:
    """Counts of each label over sets of labels; a label that is nowhere is not there."""
    theirs = [set(labels) for labels in gold]
    ours = [set(labels) for labels in predicted]
    names = sorted(set().union(*theirs, *ours))
    return {
        name: Counts(
            sum(name in a and name in b for a, b in zip(theirs, ours, strict=True)),
            sum(name in labels for labels in ours),
            sum(name in labels for labels in theirs),
        )
        for name in names
    }


def micro_f1(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> float:
    """F1 of all decisions together; with one label an example it is the accuracy."""
    return total(label_counts(gold, predicted).values()).f1


def macro_f1(gold: Sequence[Iterable[str]], predicted: Sequence[Iterable[str]]) -> float:
    """Mean F1 of the labels that are right or predicted somewhere: rare labels weigh as much."""
    counts = label_counts(gold, predicted)
    return float(np.mean([one.f1 for one in counts.values()])) if counts else 0.0


def macro_entity_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Mean entity F1 of the types that are there or predicted."""
    from tilth.evaluation.entities import entities

    types = {one.type for tags in (*gold, *predicted) for one in entities(tags)}
    scores = [
        total(count(a, b, type_) for a, b in zip(gold, predicted, strict=True)).f1
        for type_ in sorted(types)
    ]
    return float(np.mean(scores)) if scores else 0.0


def pearson(one: Sequence[float], other: Sequence[float]) -> float:
    """Linear correlation; 0 where one of them is constant."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Correlation of ranks; those that are equal share the mean rank."""
    from scipy.stats import rankdata

    return pearson(rankdata(one), rankdata(other))
