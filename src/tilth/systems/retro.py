"""RETRO: pretraining with retrieval, against a GPT of equal size on equal tokens.

Wang, Ping, Xu, McAfee, Liu, Shoeybi, Dong, Kuchaiev, Li, Xiao, Anandkumar and Catanzaro (2023).
Novels and terms of service stand for their text; BM25 over chunks for their BERT vectors. What only
the database knows is asked of made facts: a code of seven words that belongs to a number, told in a
sheet that nobody was trained on. Codes of other numbers are told in the training text, where each
is worth looking up, so that a model can learn to look.

Beside RETRO stand: the GPT, which reads the same rows without neighbours; RETRO trained on and
reading the neighbours of other chunks, which is worth what more layers are worth; RETRO reading
none; and, for facts, the GPT with the best neighbour before the question. Authors
and services lie on one side; near copies of what is held out are neither trained on nor put in the
database. Neighbours share no whole chunk in a row with the text that asks; what they are worth with
those that do is measured beside. Equal tokens are not equal work: RETRO encodes two tokens of
neighbours for each of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _retro_checks, _retro_texts
from tilth.systems._rates import parse_rates
from tilth.systems._retro_arms import BITS, FACTS, arm
from tilth.systems._retro_texts import Inputs

CARD = Card(
    slug="retro",
    title="Shall We Pretrain Autoregressive Language Models with Retrieval? A Comprehensive Study",
    year=2023,
    family="pretrain",
    claim="A decoder that reads neighbours of its earlier chunks predicts text better than a GPT "
    "of its size after the same tokens, and answers what only the database knows.",
    part="models.retro.add_retrieval(model) and retrieval.chunks.ChunkDatabase: docs/retro.md",
    modules=(
        "tilth.models.chunked_attention", "tilth.models.retro", "tilth.models.retro_modules",
        "tilth.objectives.retrieved", "tilth.retrieval.bm25", "tilth.retrieval.chunks",
        "tilth.systems._rates", "tilth.systems._retro_arms", "tilth.systems._retro_checks",
        "tilth.systems._retro_sides", "tilth.systems._retro_texts",
    ),
    data_kind="corpus",
    arxiv="2304.06762",
    simulated="the facts: codes that belong to numbers, with known truth",
    when="Knowledge changes or is too much for the weights, and lies in a database.",
    when_not="What is found fits in the prompt of a model that is large enough to use it; texts "
    "that share nothing with each other.",
    not_covered="BERT vectors and approximate search; more than one neighbour; RETRO++; quality of "
    "long generated text, its repetition and toxicity; GPTs tuned on retrieved text. RETRO, GPT "
    "and RETRO with random neighbours each take the better of two learning rates, by bits per byte "
    "on documents that are neither trained on nor tested.",
)  # fmt: skip

# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=BITS, method="RETRO", baseline="GPT", direction=-1, margin=0.01, kind="learned",
          equal="tokens", primary=True),
    Claim(metric=BITS, method="RETRO", baseline="random neighbours", direction=-1, margin=0.0,
          kind="learned", equal="tokens"),
    Claim(metric=FACTS, method="RETRO", baseline="GPT", margin=0.3, kind="learned",
          equal="tokens"),
    Claim(metric=FACTS, method="RETRO", baseline="retrieval off", margin=0.3, kind="learned"),
    Claim(metric=FACTS, method="RETRO", baseline="GPT, evidence in the prompt", margin=0.0,
          kind="learned"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, size: str = "65k",
    vocabulary: int = 768, chunk: int = 8, length: int = 64, characters: int = 300_000,
    tokens: int = 270_336, batch_tokens: int = 128, rates: str = "0.0025,0.005",
    retrieval_layer: int = 1, encoder_layers: int = 1,
) -> Prepared:  # fmt: skip
    """`size` of the decoder without retrieval; `characters` of each kind of text to train on.

    Each kind of model takes the best of `rates`.
    """
    tried = parse_rates(rates)
    inputs, sources = _retro_texts.prepare(scale, data, vocabulary, chunk, length, characters)
    options = {
        "size": size, "tokens": tokens, "batch_tokens": batch_tokens, "rates": tried,
        "retrieval_layers": [retrieval_layer], "encoder_layers": encoder_layers,
    }  # fmt: skip
    if scale == "smoke":
        options |= {"size": "50k", "tokens": 1280, "encoder_layers": 1, "rates": tried[:1]}
    return Prepared(replace(inputs, options=options), data=sources)


ARMS = {
    "RETRO": arm("RETRO", "found"),
    "GPT": arm("GPT", "none"),
    "random neighbours": arm("random", "random"),
    "retrieval off": arm("RETRO", "none"),
    "GPT, evidence in the prompt": arm("GPT", "prompt"),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the model and of the texts."""
    yield from _retro_checks.model_invariants()
    yield from _retro_checks.text_invariants(inputs)
    yield from _retro_checks.arm_invariants(measured)
