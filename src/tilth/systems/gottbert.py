"""One language or two for the same tokens: a German encoder against a German and English one.

Scheible, Frei, Thomczyk, He, Tippmann, Knaus, Jaravine, Kramer and Boeker (2024), "GottBERT".
RoBERTa from nothing: byte-level BPE, dynamic masks, full sentences, no sentence task. Here a small
one on German novels, news and court sentences is compared with one whose tokens are half German and
half English (vocabularies of equal size, each learned on its own texts), and with no pre-training
at all, on German topics and entities. A linear model on words stands beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.models.encoders import build_shape
from tilth.objectives.batch import Draws
from tilth.objectives.masked import Masked
from tilth.systems import _gottbert_texts as given
from tilth.systems._encoder_study import Tuning, pretrain, tuned_value
from tilth.systems._gottbert_texts import MASK, PAD, Inputs, Language
from tilth.tokens.bpe import decode, encode

CARD = Card(
    slug="gottbert",
    title="GottBERT: a pure German Language Model",
    year=2024,
    family="pretrain",
    claim="For the same tokens, an encoder of German alone serves German tasks better than one "
    "of German and English.",
    part="objective masked with build_encoder(kind='roberta') on texts of one language",
    modules=(
        "tilth.models.encoders", "tilth.models.packed", "tilth.objectives.corruption",
        "tilth.objectives.masked", "tilth.tokens.bpe", "tilth.tokens.mixing",
        "tilth.systems._encoder_study", "tilth.systems._gottbert_texts",
    ),
    when="You have text of one language, tasks in it, and a budget of tokens that is fixed.",
    when_not="Your language has little text and a related one has much, or tasks mix languages.",
    not_covered="Web text and its filters; models of 125 million parameters; many languages at "
    "once; GermEval 2018, whose files were not at hand.",
)  # fmt: skip

MEAN = "mean of three German tasks"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=MEAN, method="German", baseline="German and English", margin=0.0, kind="learned",
          primary=True, equal="tokens"),
    *(
        Claim(metric=metric, method="German", baseline="German and English", margin=0.0,
              kind="learned")
        for metric in given.METRICS.values()
    ),
    Claim(metric=MEAN, method="German", baseline="not pre-trained", margin=0.0, kind="learned"),
    Claim(metric=MEAN, method="German and English", baseline="not pre-trained", margin=0.0,
          kind="learned"),
    Claim(metric=given.METRICS["topics"], method="German", baseline="words, linear", margin=0.0,
          kind="learned"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 320_000,
    vocabulary: int = 1000, width: int = 64, layers: int = 1, length: int = 128,
    batch_tokens: int = 512, rate: float = 3e-3, train: int = 400, test: int = 300,
    epochs: float = 12.0, tuning_rate: float = 3e-3,
) -> Prepared:  # fmt: skip
    """Pre-train each arm on `tokens`, fine-tune on `train` labelled rows, test on `test`."""
    shape = {"width": width, "layers": layers, "length": length, "tokens": tokens,
             "batch_tokens": batch_tokens, "rate": rate}  # fmt: skip
    tuning = Tuning(epochs, 16, tuning_rate, length)
    if scale == "smoke":
        shape |= {"width": 32, "length": 32, "tokens": 10 * 128, "batch_tokens": 128}
        return Prepared(given.smoke(seed, Tuning(5, 16, 5e-3, 16), shape))
    inputs, sources = given.real(seed, vocabulary, train, test, tuning, shape)
    return Prepared(inputs, data=sources)


def objective(inputs: Inputs) -> Masked:
    """Masked tokens of full sentences, drawn anew each epoch."""
    return Masked(length=inputs.length, mask=MASK, special=(PAD,))


def arm(language: str, trained: bool = True) -> Callable[[Inputs, int], Measured]:
    """Pre-train from nothing where asked for, then fine-tune for each task."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        found: Language = inputs.languages[language]
        model = build_shape(
            inputs.width, inputs.layers, vocabulary=found.tokenizer.get_vocab_size(),
            context=inputs.length, kind="roberta", pad=PAD, seed=seed,
        )  # fmt: skip
        spent, flops, metrics = 0, 0.0, {}
        if trained:
            history = pretrain(
                model, objective(inputs), found.corpus, tokens=inputs.tokens,
                batch_tokens=inputs.batch_tokens, rate=inputs.rate, seed=seed,
            )  # fmt: skip
            spent, flops = history.plan["tokens"], history.plan["flops"]
            metrics["tokens per parameter"] = history.plan["tokens_per_parameter"]
        values = {}
        for pair in inputs.tasks:
            value, more = tuned_value(model, found.tokenizer, pair, inputs.tuning, seed)
            values[given.METRICS[pair.name]] = value
            spent += more
        metrics |= {MEAN: float(np.mean(list(values.values()))), **values}
        return Measured(metrics, tokens=spent, flops=flops)

    return measure


def linear(inputs: Inputs, seed: int) -> Measured:
    """TF-IDF of words and a linear support vector machine, for topics alone."""
    return Measured({given.METRICS["topics"]: given.linear_accuracy(inputs.tasks[0])})


ARMS = {
    "German": arm("German"),
    "German and English": arm("German and English"),
    "not pre-trained": arm("German", trained=False),
    "words, linear": linear,
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Masks move with the epoch and not otherwise; bytes come back; half of the tokens are half."""
    german, both = (inputs.languages[name] for name in ("German", "German and English"))
    some = german.corpus.select(range(min(30, len(german.corpus))))
    first, same, other = (
        objective(inputs).prepare(some, Draws(seed, epoch))["ids"]
        for seed, epoch in ((0, 0), (0, 0), (0, 1))
    )
    yield Invariant("the same seed and epoch give the same masks", np.array_equal(first, same))
    yield Invariant("another epoch gives other masks", not np.array_equal(first, other))
    hard = "Grüße, 日本 \x00\u0301 ñ \U0001f33e\tẞ\r\n"
    back = [decode(one.tokenizer, encode(one.tokenizer, [hard])[0]) for one in (german, both)]
    yield Invariant("every text comes back from its tokens", back == [hard, hard])
    sizes = {one.tokenizer.get_vocab_size() for one in (german, both)}
    yield Invariant("both vocabularies have the same size", len(sizes) == 1)
    shares = [one["share"] for one in both.corpus.report().values()]
    yield Invariant("half of the tokens are German", all(abs(s - 0.5) < 0.02 for s in shares))
    model = build_shape(32, 1, vocabulary=300, context=inputs.length, kind="roberta", pad=PAD)
    table = model.get_parameter("roberta.embeddings.position_embeddings.weight")
    yield Invariant("positions begin behind the padding id", len(table) == inputs.length + PAD + 1)
