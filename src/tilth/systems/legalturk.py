"""Which corruption for a domain Bert: a sentence task or none, and what replaced words become.

Özgür et al. (2024), "LegalTurk Optimized BERT". An encoder is trained from nothing on legal text
with and without the task of next sentences, its replaced tokens drawn uniformly or from the
informative words of the texts (TF-IDF), for the same tokens, and fine-tuned for entities and for
classes. Next sentences with uniform tokens are Bert as it was published.

No Turkish legal text was at hand. The corpus here is English terms of service and summaries of
cases, with Turkish sentences of another kind; entities are those of Turkish sentences, classes the
kinds of English legal documents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Measured, Prepared
from tilth.models.decoder import count_parameters
from tilth.systems import _legalturk_texts as given
from tilth.systems._encoder_study import (
    Tuning,
    encoder,
    pretrain,
    times_the_most_frequent,
    tuned_value,
)  # fmt: skip
from tilth.systems._legalturk_texts import TIMES, Inputs, objective

CARD = Card(
    slug="legalturk",
    title="LegalTurk Optimized BERT for Multi-Label Text Classification and NER",
    year=2024,
    family="pretrain",
    claim="A legal Bert is better without the next-sentence task, and with informative words in "
    "place of uniform ones where a hidden word is replaced.",
    part="objectives masked and sentences: relation, unit, replacement",
    modules=(
        "tilth.models.encoders", "tilth.models.packed", "tilth.objectives.corruption",
        "tilth.objectives.masked", "tilth.objectives.sentences", "tilth.tokens.packing",
        "tilth.tokens.words", "tilth.systems._encoder_study", "tilth.systems._legalturk_texts",
    ),
    arxiv="2407.00648",
    when="You train an encoder of your own domain from nothing and choose its objective.",
    when_not="An encoder of your domain exists: going on from it saves more than any choice here.",
    not_covered="Turkish law: no text of it was at hand. The paper's architecture: a Bert of this "
    "size, with learned positions, learned no context in these tokens, so all arms are "
    "ModernBerts (rotary positions, every other layer local; no segment types, so a pair is told "
    "apart by the token between its pieces), and 30 % of the tokens are hidden, not 15 %. "
    "Informative words are those of one token: with whole words hidden the encoder did not leave "
    "the floor. Sentence order, TF-IDF beside a sentence task, selection of tokens by TF-IDF, "
    "hybrids of masking and replacing; several sizes of corpus; several labels at once. One rate "
    "of pre-training for all arms, found on masked tokens alone; that of fine-tuning is chosen for "
    "each arm and task from two, on rows set aside, with the first seed's encoder.",
)  # fmt: skip

BOTH, ENTITIES, KINDS = "mean of entity F1 and micro F1", "entity F1", "micro F1 of kinds"
ORIGINAL, BEST, NONE = "NSP, uniform", "none, TF-IDF", "not pre-trained"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=BOTH, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned", primary=True,
          equal="tokens"),
    Claim(metric=ENTITIES, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned"),
    Claim(metric=KINDS, method=BEST, baseline=ORIGINAL, margin=0.0, kind="learned"),
    Claim(metric=BOTH, method="none, uniform", baseline=ORIGINAL, margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=BOTH, method=BEST, baseline="none, uniform", margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=BOTH, method=ORIGINAL, baseline=NONE, margin=0.0, kind="learned"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 900_096,
    vocabulary: int = 500, width: int = 64, layers: int = 2, length: int = 128,
    batch_tokens: int = 1024, rate: float = 5e-3, train: int = 300, test: int = 300,
    informative: int = 150, epochs: float = 5.0,
) -> Prepared:  # fmt: skip
    """Pre-train each arm on `tokens`, fine-tune on `train` labelled rows, test on `test`."""
    shape = {"width": width, "layers": layers, "length": length, "tokens": tokens,
             "batch_tokens": batch_tokens, "rate": rate}  # fmt: skip
    if scale == "smoke":
        shape |= {"width": 32, "length": 32, "tokens": 10 * 128, "batch_tokens": 128}
        return Prepared(given.smoke(seed, Tuning(5, 16, (5e-3,), 16), shape))
    tuning = Tuning(epochs, 16, (1e-3, 3e-3), length)
    inputs, sources = given.real(seed, vocabulary, informative, train, test, tuning, shape)
    return Prepared(inputs, data=sources)


def arm(relation: str, corruption: str) -> Callable[[Inputs, int], Measured]:
    """Pre-train from nothing, unless `relation` is empty, then fine-tune for each task."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        model = encoder(inputs.width, inputs.layers, inputs.tokenizer, inputs.length, seed)
        spent, flops, metrics = 0, 0.0, {}
        if relation:
            history = pretrain(
                model, objective(inputs, relation, corruption), inputs.corpus,
                tokens=inputs.tokens, batch_tokens=inputs.batch_tokens, rate=inputs.rate, seed=seed,
            )  # fmt: skip
            spent, flops = history.plan["tokens"], history.plan["flops"]
            metrics[TIMES] = times_the_most_frequent(model, inputs.held, inputs.length)
        values = {}
        for pair in inputs.tasks:
            values[pair.name], more = tuned_value(
                model, inputs.tokenizer, pair, inputs.tuning, seed, f"{relation} {corruption}"
            )
            spent += more
        metrics |= {
            BOTH: float(np.mean(list(values.values()))), ENTITIES: values["entities"],
            KINDS: values["kinds"],
        }  # fmt: skip
        return Measured(metrics, tokens=spent, flops=flops, parameters=count_parameters(model))

    return measure


ARMS = {
    ORIGINAL: arm("NSP", "uniform"),
    "none, uniform": arm("none", "uniform"),
    BEST: arm("none", "tfidf"),
    NONE: arm("", ""),
}
invariants = given.checked
