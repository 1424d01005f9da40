"""Which corruption for a domain Bert: a sentence task or none, and what replaced words become.

Özgür et al. (2024), "LegalTurk Optimized BERT". A Bert is trained from nothing on legal text under
each of {next sentence, sentence order, none} x {tokens replaced uniformly, whole words replaced by
informative words of the texts (TF-IDF)}, for the same tokens, and fine-tuned for entities and for
classes. The first of them is Bert as it was published.

No Turkish legal text was at hand. The corpus here is English terms of service and summaries of
cases, with Turkish sentences of another kind; entities are those of Turkish sentences, classes the
kinds of English legal documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.encoders import build_shape
from tilth.objectives.batch import Draws
from tilth.objectives.masked import NO_TARGET
from tilth.systems import _legalturk_texts as given
from tilth.systems._encoder_study import Tuning, pretrain, tuned_value
from tilth.systems._legalturk_texts import MASK, PAD, Inputs, objective

CARD = Card(
    slug="legalturk",
    title="LegalTurk Optimized BERT for Multi-Label Text Classification and NER",
    year=2024,
    family="pretrain",
    claim="A legal Bert is better without the next-sentence task, and with informative words in "
    "place of uniform ones where a hidden word is replaced.",
    part="objectives masked and sentences: relation, unit, replacement",
    modules=(
        "tilth.objectives.corruption", "tilth.objectives.masked", "tilth.objectives.sentences",
        "tilth.tokens.packing", "tilth.tokens.words", "tilth.models.packed",
        "tilth.systems._encoder_study", "tilth.systems._legalturk_texts",
    ),
    arxiv="2407.00648",
    when="You train an encoder of your own domain from nothing and choose its objective.",
    when_not="An encoder of your domain exists: going on from it saves more than any choice here.",
    not_covered="Turkish law: no text of it was at hand. Selection of tokens by TF-IDF and "
    "hybrids of masking and replacing; several sizes of corpus; several labels at once.",
)  # fmt: skip

BOTH, ENTITIES, KINDS = "mean of entity F1 and micro F1", "entity F1", "micro F1 of kinds"
ORIGINAL, BEST = "NSP, uniform", "none, TF-IDF"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=BOTH, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned", primary=True,
          equal="tokens"),
    Claim(metric=ENTITIES, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned"),
    Claim(metric=KINDS, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned"),
    Claim(metric=BOTH, method="none, uniform", baseline=ORIGINAL, margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=BOTH, method="SOP, uniform", baseline=ORIGINAL, margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=BOTH, method=BEST, baseline="none, uniform", margin=0.0, kind="learned",
          equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 210_000,
    vocabulary: int = 600, width: int = 64, layers: int = 1, length: int = 128,
    batch_tokens: int = 512, rate: float = 3e-3, train: int = 400, test: int = 400,
    informative: int = 1000, epochs: float = 8.0, tuning_rate: float = 3e-3,
) -> Prepared:  # fmt: skip
    """Pre-train each arm on `tokens`, fine-tune on `train` labelled rows, test on `test`."""
    shape = {"width": width, "layers": layers, "length": length, "tokens": tokens,
             "batch_tokens": batch_tokens, "rate": rate}  # fmt: skip
    tuning = Tuning(epochs, 16, tuning_rate, length)
    if scale == "smoke":
        shape |= {"width": 32, "length": 32, "tokens": 10 * 128, "batch_tokens": 128}
        return Prepared(given.smoke(seed, Tuning(5, 16, 5e-3, 16), shape))
    inputs, sources = given.real(seed, vocabulary, informative, train, test, tuning, shape)
    return Prepared(inputs, data=sources)


def arm(relation: str, corruption: str) -> Callable[[Inputs, int], Measured]:
    """Pre-train from nothing, then fine-tune for each task."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        model = build_shape(
            inputs.width, inputs.layers, vocabulary=inputs.tokenizer.get_vocab_size(),
            context=inputs.length, pad=PAD, seed=seed,
        )  # fmt: skip
        made = objective(inputs, relation, corruption)
        history = pretrain(
            model, made, inputs.corpus, tokens=inputs.tokens, batch_tokens=inputs.batch_tokens,
            rate=inputs.rate, seed=seed,
        )  # fmt: skip
        values, spent = {}, history.plan["tokens"]
        for pair in inputs.tasks:
            values[pair.name], more = tuned_value(
                model, inputs.tokenizer, pair, inputs.tuning, seed
            )
            spent += more
        metrics = {
            BOTH: float(np.mean(list(values.values()))), ENTITIES: values["entities"],
            KINDS: values["kinds"],
            "tokens per parameter": history.plan["tokens_per_parameter"],
        }  # fmt: skip
        return Measured(metrics, tokens=spent, flops=history.plan["flops"])

    return measure


ARMS = {
    f"{relation}, {name}": arm(relation, corruption)
    for relation in given.RELATIONS
    for name, corruption in (("uniform", "uniform"), ("TF-IDF", "tfidf"))
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Shares, replacements, balance and purity of the rows, counted on the corpus itself."""
    some = inputs.corpus.select(range(min(150, len(inputs.corpus))))
    for corruption in ("uniform", "tfidf"):
        batch = objective(inputs, "none", corruption).prepare(some, Draws(1))
        chosen, ids = batch["targets"] != NO_TARGET, batch["ids"]
        usual = chosen & (ids != MASK)
        ordinary = batch["targets"][chosen]
        units = chosen.size / (1 if corruption == "uniform" else 4)
        share = abs(chosen.mean() - 0.15) < 3 * np.sqrt(0.15 * 0.85 / units) + 0.002
        yield Invariant(f"{corruption}: 15 % are chosen within 3 sigma", bool(share))
        yield Invariant(f"{corruption}: no special token is chosen or put in",
                        not np.isin(ordinary, [0, PAD, MASK]).any()
                        and not np.isin(ids[usual], [0, PAD]).any())  # fmt: skip
        replaced = objective(inputs, "none", corruption, split=(0, 1, 0)).prepare(some, Draws(1))
        there = replaced["targets"] != NO_TARGET
        # Another word may share a piece with the one that stood there; uniform tokens never do.
        equal = (replaced["ids"] == replaced["targets"])[there].mean()
        least = 0 if corruption == "uniform" else 0.2
        yield Invariant(f"{corruption}: what is replaced differs", bool(equal <= least))
        again = objective(inputs, "none", corruption).prepare(some, Draws(1))
        yield Invariant(f"{corruption}: the same draws give the same rows",
                        all(np.array_equal(again[n], batch[n]) for n in batch.arrays))  # fmt: skip
    for relation in ("NSP", "SOP"):
        labels = objective(inputs, relation, "uniform").prepare(some, Draws(1))["labels"]
        labels = labels[labels >= 0]
        even = abs(labels.mean() - 0.5) < 3 * 0.5 / np.sqrt(len(labels))
        yield Invariant(f"{relation}: half of the pairs are as they were", bool(even))
