"""From many notes of a patient to one risk: adapt the encoder, encode sections, take the maximum.

Mao, Xu, Rasmussen, Li, Adekkanattu, Pacheco, Bonakdarpour, Vassar, Jiang, Wang, Pathak and Luo
(2022). An encoder goes on with masked language modelling on clinical notes; each section up to the
index day is encoded; the maximum over sections goes through a small network. Real health records
cannot be had: here sections are real (visits, cases), patients are drawn, so the best possible AUC
is known (0.8). Compared with the encoder as it was, with the mean in place of the maximum, with the
beginning of the notes only, and with word counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.evaluation.tasks import evaluate
from tilth.models.decoder import count_parameters
from tilth.signals.calibration import area_under_curve
from tilth.systems import _ad_bert_arms as arms_of
from tilth.systems import _ad_bert_patients as patients_of
from tilth.systems._ad_bert_arms import OPTIONS, SHAPES, Inputs, tuned

CARD = Card(
    slug="ad-bert",
    title="AD-BERT: Using Pre-trained contextualized embeddings to Predict the Progression from "
    "Mild Cognitive Impairment to Alzheimer's Disease",
    year=2022,
    family="pretrain",
    claim="An encoder that went on learning from clinical notes, with the maximum over a patient's "
    "sections, predicts who progresses better than the beginning of the notes does.",
    part="kind bag of fine_tune (tilth.evaluation.tasks)",
    modules=(
        "tilth.models.heads", "tilth.objectives.bag", "tilth.objectives.tasks",
        "tilth.objectives.tasks_rows", "tilth.evaluation.tasks", "tilth.systems._ad_bert_arms",
        "tilth.systems._ad_bert_patients",
    ),
    data_kind="bag",
    model_kind="masked",
    simulated="patients: which sections belong together, their dates and outcome; the sections are "
    "real",
    when="A label belongs to many texts together and one of them may decide.",
    when_not="Words alone tell: count them first. Shares of texts decide: take the mean.",
    not_covered="Real patients; batches of a fixed share of cases; calibration to the rate of a "
    "clinic; a threshold for F1; many sections. The encoder is pre-trained once and adapted for "
    "each seed. Each arm takes the better of two rates, on patients of their own.",
)  # fmt: skip

AUC = "AUC"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=AUC, method="AD-BERT", baseline="beginning only", margin=0.05, kind="learned",
          primary=True),
    Claim(metric=AUC, method="AD-BERT", baseline="not adapted", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="AD-BERT", baseline="mean of sections", margin=0.0, kind="learned"),
    Claim(metric=AUC, method="AD-BERT", baseline="word counts", margin=0.0, kind="learned"),
)  # fmt: skip
SEEDS = 5


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, patients: int = 160, test: int = 300,
    adapt_tokens: int = 500_000, epochs: float = 4.0, segment: int = 48, pieces: int = 10,
    rates: str = "5e-4,2e-3",
) -> Prepared:  # fmt: skip
    """`patients` to learn from and `test` others; the encoder goes on for `adapt_tokens` first.

    Of your own sets of texts (kind bag, two labels) a split train and one more, else a third is
    kept for the test. `rates`: learning rates from which each arm takes the better.
    """
    options = {**OPTIONS, "epochs": epochs, "segment": segment, "pieces": pieces}
    tried = tuple(float(rate) for rate in rates.split(","))
    if scale == "smoke":
        return arms_of.smoke(seed)
    if data is not None:
        return arms_of.own(data, model, seed, adapt_tokens, options, tried)
    return arms_of.clinical(model, seed, patients, test, adapt_tokens, options, tried)


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    def measure(inputs: Inputs, seed: int) -> Measured:
        made = tuned(name, inputs.bases, inputs.tokenizer, inputs.options, inputs.train,
                      inputs.rates[name], seed)  # fmt: skip
        test = patients_of.joined(inputs.test) if SHAPES[name][2] else inputs.test
        found = evaluate(made, test).metrics
        read = inputs.read + (inputs.adapted_tokens if SHAPES[name][0] == "adapted" else 0)
        # What a base of one's own has read is not known: no ratio is stated then.
        parameters = count_parameters(made.model) if inputs.read else 0
        return Measured({AUC: found["AUC"], "accuracy": found["accuracy"],
                         "learning rate": inputs.rates[name]},
                        tokens=made.history.plan["tokens"] + read, parameters=parameters,
                        products={"model": made})  # fmt: skip

    return measure


def word_counts(inputs: Inputs, seed: int) -> Measured:
    """TF-IDF and logistic regression on all of a patient's sections together."""
    metrics = {AUC: arms_of.counts_area(inputs.train, inputs.test)}
    if inputs.truth:
        labels = [label == patients_of.YES for label in inputs.test.table["label"].to_pylist()]
        metrics["AUC of the truth"] = area_under_curve(np.array(inputs.truth, float), labels)
    return Measured(metrics)


ARMS = {**{name: arm(name) for name in SHAPES}, "word counts": word_counts}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """A set has no order and no multiplicity; nothing of the test was seen; no later notes."""
    made = measured["AD-BERT"].products["model"]
    some = replace(inputs.test, table=inputs.test.table.slice(0, 20))
    as_is = np.array(made.logits(some))
    for name, change in (("turned round", lambda t: t[::-1]), ("with one twice", _twice)):
        rows = [{**row, "texts": change(row["texts"])} for row in some.table.to_pylist()]
        other = replace(some, table=type(some.table).from_pylist(rows, some.table.schema))
        room = made.objective.pieces >= max(len(row["texts"]) for row in rows)
        near = np.allclose(as_is, made.logits(other), atol=1e-4)
        yield Invariant(f"a set {name} has the same logits", near or not room)
    yield Invariant("no section of a test patient was seen in training", inputs.apart)
    yield Invariant("no section is later than the index day", inputs.dated)
    yield from arms_of.left_the_floor(inputs)


def _twice(texts: list[str]) -> list[str]:
    return [*texts, texts[0]]
