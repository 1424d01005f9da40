"""The Languini Kitchen: compare language models at equal compute, by throughput.

Stanic, Ashley, Serikov, Kirsch, Faccio, Schmidhuber, Hofmann and Schlag (2023). Each model trains
for the same classes of compute: how many tokens a class is depends on the model's own throughput,
measured once. Here a class is in processor seconds, a GPT of Llama's form is the baseline, and
beside it stand the quasi-LSTM, whose recurrence is solved in blocks, and a true LSTM.

Every row of tokens begins with an empty state in training (the paper carries it on from row to row;
rows here are drawn at random, as for the GPT, so that all three read the same). The score gives
every model windows of the same length. Some novels, whole, are kept for the test. Learning rates
were chosen for each model on novels that the test does not hold, before the first run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _languini_arms, _languini_checks, _languini_texts
from tilth.systems._languini_arms import GAIN, LARGEST, SPEED, Inputs, arm

CARD = Card(
    slug="languini",
    title="The Languini Kitchen: Enabling Language Modelling Research at Different Scales of "
    "Compute",
    year=2023,
    family="pretrain",
    claim="At equal compute a GPT predicts books better than a quasi-LSTM, which gains more from "
    "each doubling of compute and reads many more tokens a second than a true LSTM.",
    part="evaluation.compute_classes.compare(contenders, ...): docs/languini.md",
    modules=(
        "tilth.evaluation.compute_classes", "tilth.evaluation.scaling", "tilth.models.quasi_lstm",
        "tilth.models.recurrent", "tilth.models.recurrent_modules",
        "tilth.systems._languini_arms", "tilth.systems._languini_checks",
        "tilth.systems._languini_texts",
    ),
    data_kind="corpus",
    arxiv="2309.11197",
    when="You choose between architectures or sizes and what is scarce is time on a machine.",
    when_not="Tokens are what is scarce: then compare at equal tokens. Figures of one machine do "
    "not hold for another one.",
    not_covered="State that is carried on between rows in training; heads of the LSTM; untied "
    "embeddings; texts from other domains; accelerators; a learning rate for each class: of 0.003 "
    "to 0.04 the best was chosen for each model, the same for all classes, on novels that are not "
    "tested.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=LARGEST, method="GPT", baseline="quasi-LSTM", direction=-1, margin=0.02,
          kind="learned", primary=True),
    Claim(metric=LARGEST, method="GPT", baseline="LSTM", direction=-1, margin=0.02,
          kind="learned"),
    Claim(metric=GAIN, method="quasi-LSTM", baseline="GPT", margin=0.0, kind="learned"),
    Claim(metric=SPEED, method="quasi-LSTM", baseline="LSTM", margin=2.0, relative=True,
          kind="timed", paper=9.0),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "45k",
    vocabulary: int = 512, length: int = 128, classes: str = "3,6,12,24",
    characters: int = 60_000, test_characters: int = 8_000, rate: float = 1.0,
) -> Prepared:  # fmt: skip
    """`classes`: processor seconds, at least 3; `characters` are taken from each document.

    `rate` multiplies the learning rates, which were chosen for the default size.
    """
    texts = _languini_texts.prepare(scale, data, vocabulary, characters, test_characters)
    if scale == "smoke":
        size, vocabulary, length, classes = "30k", texts.train.vocabulary, 16, "0.01,0.02,0.04"
    inputs = _languini_arms.prepare(texts, size, vocabulary, length, classes, rate, scale)
    return Prepared(inputs, data=texts.sources)


ARMS = {name: arm(name) for name in ("GPT", "quasi-LSTM", "LSTM")}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the scan, of the state and of the score."""
    yield from _languini_checks.recurrence()
    yield from _languini_checks.score(inputs.texts)
    yield from _languini_checks.budgets(inputs, measured)
