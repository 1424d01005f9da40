"""A general encoder for another field: rows of new tokens from contexts, masks from easy to hard.

Pavlova and Makhlouf (2023), "BIOptimus". A Bert of general text gets a vocabulary of medical text.
The row of a token that it lacks is the mean of the hidden states of its old pieces in sentences
(`models.surgery.contextual`), in place of the mean of their static rows or of chance. Training goes
on in four phases: tokens, whole words, more words, words that are always masked. Here the base is
trained on novels and an encyclopaedia, the text is that of four sets of medical sentences, without
their labels, and the arms are fine-tuned for disease mentions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.objectives.batch import Draws
from tilth.objectives.masked import NO_TARGET
from tilth.systems import _bioptimus_arms as given
from tilth.systems._bioptimus_arms import AREA, END, F1, START, TIMES, Inputs, Shape, arm, phase
from tilth.systems._encoder_study import MASK, Tuning, left_the_floor, nothing_tested
from tilth.tokens.words import word_starts

CARD = Card(
    slug="bioptimus",
    title="BIOptimus: Pre-training an Optimal Biomedical Language Model with Curriculum Learning "
    "for Named Entity Recognition",
    year=2023,
    family="pretrain",
    claim="New tokens that begin as the mean of their contexts learn faster than those that begin "
    "as the mean of static pieces or at chance; masks from easy to hard do no harm.",
    part="models.surgery.vocabulary method='contextual'; a curriculum of objectives.masked",
    modules=(
        "tilth.models.encoders", "tilth.models.packed", "tilth.models.surgery.contextual",
        "tilth.models.surgery.vocabulary", "tilth.objectives.corruption",
        "tilth.objectives.masked", "tilth.systems._bioptimus_arms",
        "tilth.systems._encoder_study", "tilth.tokens.transfer", "tilth.tokens.words",
    ),
    when="You move an encoder to a field whose words its vocabulary cuts in many pieces.",
    when_not="The old vocabulary fits: then going on with it is simpler and loses nothing.",
    not_covered="PubMed, a Bert: at this size and budget, with learned positions, one learned no "
    "context, so the base is a ModernBert (rotary positions, every other layer local), the same "
    "for all seeds; the other sets of entities. The layer and the number of contexts are ours, as "
    "the paper's code does not show them. The model from nothing may still be on the floor after "
    "as many tokens: that is what it is compared for. One rate of training for all arms, that of "
    "the base; the rate of fine-tuning is chosen for each arm from two, on rows set aside.",
)  # fmt: skip

FULL, STATIC, CHANCE = "contextual", "static pieces", "random rows"
CONSTANT, SCRATCH = "contextual, no curriculum", "from nothing"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=AREA, method=FULL, baseline=STATIC, margin=0.0, kind="learned", direction=-1,
          unit="nats", primary=True, equal="tokens"),
    Claim(metric=START, method=FULL, baseline=STATIC, margin=0.0, kind="learned", direction=-1,
          unit="nats"),
    Claim(metric=START, method=STATIC, baseline=CHANCE, margin=0.0, kind="learned", direction=-1,
          unit="nats"),
    Claim(metric=AREA, method=STATIC, baseline=CHANCE, margin=0.0, kind="learned", direction=-1,
          unit="nats", equal="tokens"),
    Claim(metric=F1, method=FULL, baseline=CONSTANT, margin=-0.005, kind="learned",
          equal="tokens"),
    Claim(metric=F1, method=FULL, baseline=SCRATCH, margin=0.03, kind="learned", equal="tokens"),
    Claim(metric=END, method=FULL, baseline=SCRATCH, margin=0.0, kind="learned", direction=-1,
          unit="nats"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 499_712,
    base_tokens: int = 900_096, vocabulary: int = 700, width: int = 64, layers: int = 2,
    length: int = 128, batch_tokens: int = 1024, rate: float = 5e-3, contexts: int = 2000,
    train: int = 300, test: int = 300, epochs: float = 6.0,
) -> Prepared:  # fmt: skip
    """`tokens` of medical text for each arm, on a base of `base_tokens` of general text."""
    if scale == "smoke":
        return Prepared(given.smoke(seed))
    shape = Shape(width, layers, length, tokens, batch_tokens, rate, contexts)
    tuning = Tuning(epochs, 16, (1e-3, 3e-3), length)
    inputs, sources = given.real(seed, vocabulary, base_tokens, train, test, tuning, shape)
    return Prepared(inputs, data=sources)


ARMS = {
    FULL: arm("contextual"),
    STATIC: arm("pieces"),
    CHANCE: arm("random"),
    CONSTANT: arm("contextual", constant=True),
    SCRATCH: arm("scratch"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """What was learned and from what; shared rows are the base's; phases mask what they say."""
    import torch

    yield left_the_floor("general text", inputs.times, inputs.shape.least)
    for method in (FULL, STATIC, CHANCE, CONSTANT):
        yield left_the_floor(method, measured[method].metrics[TIMES], inputs.shape.least)
    yield nothing_tested([inputs.task], inputs.texts)
    shared = np.flatnonzero(inputs.moves.shared >= 0)
    old = inputs.base.get_input_embeddings().weight[inputs.moves.shared[shared]]
    name = "model.embeddings.tok_embeddings.weight"
    for method in (FULL, STATIC, CHANCE):
        rows = measured[method].products["first"].tensors[name][shared]
        yield Invariant(f"{method}: rows of shared tokens are bit-equal to the base's",
                        torch.equal(rows, old))  # fmt: skip
    fresh = [n for n in inputs.moves.fresh if n in inputs.rows]
    yield Invariant("new tokens are found in contexts", len(fresh) > 0)
    table = measured[FULL].products["first"].tensors[name]
    lengths = table.norm(dim=1)
    near = lengths[fresh].mean() / lengths[shared].mean()
    yield Invariant("new rows are about as long as old ones", bool(0.5 < near < 2))
    some = inputs.corpus.select(range(min(150, len(inputs.corpus))))
    for number, (title, options) in enumerate(given.CURRICULUM):
        batch = phase(inputs, number).prepare(some, Draws(2))
        chosen = batch["targets"] != NO_TARGET
        sigma = np.sqrt(options["rate"] / (chosen.size / (1 if number == 0 else 5)))
        yield Invariant(f"{title}: the share of masks is its rate within 3 sigma",
                        bool(abs(chosen.mean() - options["rate"]) < 3 * sigma + 0.01))  # fmt: skip
        if number == 3:
            yield Invariant("masks alone: every chosen token is masked",
                            bool((batch["ids"][chosen] == MASK).all()))  # fmt: skip
    whole = True
    for row in range(min(40, len(batch))):
        ids = np.where(chosen[row], batch["targets"][row], batch["ids"][row])
        starts = word_starts(inputs.words, ids) | (ids == 0)
        starts[1:] |= ids[:-1] == 0
        word = np.cumsum(starts)
        # A row may begin inside a word; its first word is left out.
        inner = word > 1
        whole &= all(len(set(chosen[row][word == w])) == 1 for w in np.unique(word[inner]))
    yield Invariant("no word is masked in part", whole)
