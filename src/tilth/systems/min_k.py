"""Min-K% Prob: was a text in the training data of a language model?

Shi, Ajith, Xia, Huang, Liu, Blevins, Chen and Zettlemoyer (2024). Score a text by the mean of its
least likely tokens under the model: a text that was seen has fewer outliers. Their test set is of
texts written before and after a date. Here the model is trained in the run, on a random half of
texts from the same books, so that who is a member is exact and nothing else tells the sides apart;
and beside it a bag of words, which never asks the model, says how far two sides that differ in date
can be told apart without any membership.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.evaluation.membership import blind_area, separation
from tilth.systems import _min_k_own
from tilth.systems import _min_k_texts as texts_of
from tilth.systems._min_k_texts import EARLY, LAST, SHORT, Inputs, Plan

CARD = Card(
    slug="min-k",
    title="Detecting Pretraining Data from Large Language Models",
    year=2024,
    family="data",
    claim="The mean log-probability of a text's least likely fifth of tokens tells texts that a "
    "model was trained on from others better than its whole likelihood does.",
    part="tilth evaluate membership MODEL TEXTS",
    modules=(
        "tilth.evaluation.membership", "tilth.signals.calibration", "tilth.systems._min_k_own",
        "tilth.systems._min_k_texts",
    ),
    data_kind="classify",
    model_kind="causal",
    arxiv="2310.16789",
    when="You audit a model for texts that it must not have seen, and have texts of the same kind "
    "that it cannot have seen.",
    when_not="The two sides differ in date, genre or length: then any score tells them apart, and "
    "a bag of words does so without the model. One pass over much data leaves almost no trace.",
    not_covered="Endpoints that give log-probabilities of prompts; excerpts of whole books; the "
    "paraphrased half of WikiMIA; models above a million parameters. All scores look at one model "
    "a seed, trained at one rate: none of them has a rate of its own.",
)  # fmt: skip

BLIND = "AUC of a bag of words"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=LAST, method="Min-K%", baseline="loss", margin=0.01, kind="learned",
          primary=True),
    Claim(metric=LAST, method="Min-K%", baseline="zlib", margin=0.0, kind="learned"),
    Claim(metric=LAST, method="Min-K%", baseline="lower case", margin=0.0, kind="learned"),
    Claim(metric=LAST, method="Min-K%", baseline="reference", margin=0.0, kind="learned"),
    Claim(metric=EARLY, method="Min-K%", baseline="loss", margin=-0.01, kind="learned"),
    Claim(metric=SHORT, method="Min-K%", baseline="loss", margin=-0.01, kind="learned"),
    Claim(metric=BLIND, method="two kinds of text", baseline="one kind of text", margin=0.1,
          kind="learned"),
)  # fmt: skip
SEEDS = 5


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, texts: int = 1200, words: int = 40,
    epochs: int = 8, size: str = "250k", seen: str = "seen",
) -> Prepared:  # fmt: skip
    """Train on `texts` texts of `words` words, `epochs` times, and score them beside as many.

    Of your own data two labels say what your model has seen (`seen`) and what it cannot have; each
    seed takes another fifth. Without a model of yours one is trained on half of the texts.
    """
    plan = Plan(texts=texts, words=words, epochs=epochs, size=size)
    if scale == "smoke":
        return Prepared(texts_of.smoke(seed))
    if model is not None:
        return _min_k_own.own_model(data, model, words, seen, seed)
    if data is not None:
        return _min_k_own.own_data(data, plan, seen, seed)
    both, tokenizer, reference, kinds, sources = texts_of.novels(plan)
    members, others = texts_of.halves(both, seed)
    inputs = texts_of.measured(members, others, tokenizer, reference, kinds, plan, seed)
    return Prepared(inputs, data=sources)


def scored(name: str) -> Callable[[Inputs, int], Measured]:
    """The arm that judges by one score; all arms look at the same model."""

    def arm(inputs: Inputs, seed: int) -> Measured:
        count = len(inputs.members)
        # What was not measured is no number: without a second model there is no reference, and of
        # a model of yours nobody kept an early state. Claims on it are undecided.
        found = {
            metric: separation(*np.split(scores[name], [count])) if name in scores else None
            for metric, scores in inputs.scores.items()
        }
        metrics: dict[str, Any] = {
            metric: one.auc if one else float("nan") for metric, one in found.items()
        }
        metrics["found at 5 % false"] = found[LAST].tpr if found[LAST] else float("nan")
        for share, values in inputs.at_shares.items() if name == "min-k" else ():
            metrics[f"AUC at k = {share:.0%}"] = separation(*np.split(values, [count])).auc
        return Measured(
            metrics, tokens=inputs.tokens, flops=inputs.flops, parameters=inputs.parameters
        )

    return arm


def blind(inputs: Inputs, seed: int) -> Measured:
    """A bag of words on two sides of one kind: a random half of the members against the rest."""
    one, other = texts_of.halves([*inputs.members, *inputs.others], seed + 1)
    return Measured({BLIND: blind_area(one, other, seed)})


def blind_kinds(inputs: Inputs, seed: int) -> Measured:
    """The same on texts of two dates; of your own data on the sides as you gave them."""
    return Measured({BLIND: blind_area(*inputs.kinds, seed)})


ARMS = {
    "Min-K%": scored("min-k"), "loss": scored("loss"), "zlib": scored("zlib"),
    "lower case": scored("lowercase"), "reference": scored("reference"),
    "Min-K%++": scored("min-k++"), "one kind of text": blind, "two kinds of text": blind_kinds,
}  # fmt: skip


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the scores, and that a model that saw neither side finds nothing."""
    for name, holds in inputs.checks.items():
        yield Invariant(name, holds)
    count = len(inputs.members)
    sides = np.split(inputs.scores[LAST]["min-k"], [count])
    changed = separation(*(np.exp(side) for side in sides)) == separation(*sides)
    yield Invariant("AUC does not change with a monotone change of the score", changed)
    apart = not set(inputs.members) & set(inputs.others)
    yield Invariant("no text is on both sides", apart)
    if inputs.unseen is not None:
        error = ((count + len(inputs.others) + 1) / (12 * count * len(inputs.others))) ** 0.5
        area = separation(*np.split(inputs.unseen, [count])).auc
        near = abs(area - 0.5) < 3 * error
        yield Invariant("a model that saw neither side is within 3 standard errors of 0.5", near)
