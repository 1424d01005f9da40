"""Another language for a trained model: new tokens, rows for them, training in stages.

Vo, Jung, Lee and Choi (2024). New tokens of the language are appended to the vocabulary. The rows
of a new token, in the embedding and in the head, are the mean of the rows of the old tokens that it
is made of. Then training in stages, each of which holds less in memory than all of it: the tables,
the odd layers, the even layers, changes of low rank. The base is trained here on English novels and
a little of the new language, in pieces, as the paper's base has seen some; the new language is
Korean (film reviews). Arms read equal tokens; between vocabularies only bits per byte compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _redwhale_texts
from tilth.systems._rates import parse_rates
from tilth.systems._redwhale_arms import AREA, END, MEMORY, START, Inputs, arm, checked

CARD = Card(
    slug="redwhale",
    title="RedWhale: An Adapted Korean LLM Through Efficient Continual Pretraining",
    year=2024,
    family="pretrain",
    claim="A trained model learns another language faster with tokens of that language, whose rows "
    "begin as the mean of the old tokens they are made of, in the embedding and in the head; "
    "training in stages needs less memory for nearly the same result.",
    part="tokens.transfer.extend and models.surgery.vocabulary: docs/surgery.md",
    modules=(
        "tilth.models.checkpoint", "tilth.models.lora", "tilth.models.surgery.vocabulary",
        "tilth.systems._continued_texts", "tilth.systems._rates", "tilth.systems._redwhale_arms",
        "tilth.systems._redwhale_texts", "tilth.tokens.transfer",
    ),
    data_kind="corpus",
    model_kind="causal",
    arxiv="2408.11294",
    when="A model's vocabulary cuts your language or domain into many small pieces, and you go on "
    "training it on that text.",
    when_not="You cannot train on much text: without training new tokens only harm. Where pieces "
    "are single bytes that the model has hardly seen, their mean says little.",
    not_covered="Selection of the corpus; tuning on instructions; Korean benchmarks; "
    "SentencePiece; the chance of another base, since all seeds go on from one. Each arm takes the "
    "best of three learning rates on text that no arm reads, by the mean on the way. With --model "
    "your model (byte-level BPE) is the base, with --data your text is the new language.",
)  # fmt: skip

# Margins (bits per byte, or a factor) and the primary claim were set before the first small run.
CLAIMS = (
    Claim(metric=AREA, method="pieces", baseline="random", direction=-1, margin=0.02,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=AREA, method="pieces", baseline="mean", direction=-1, margin=0.0, kind="learned",
          equal="tokens"),
    Claim(metric=AREA, method="pieces", baseline="pieces, embedding only", direction=-1,
          margin=0.0, kind="learned", equal="tokens"),
    Claim(metric=START, method="pieces", baseline="mean", direction=-1, margin=0.0,
          kind="learned"),
    Claim(metric=START, method="mean", baseline="random", direction=-1, margin=0.0,
          kind="learned"),
    Claim(metric=END, method="pieces", baseline="old vocabulary", direction=-1, margin=0.02,
          kind="learned", equal="tokens"),
    Claim(metric=END, method="staged", baseline="pieces", direction=-1, margin=-0.02,
          relative=True, kind="learned", equal="tokens"),
    Claim(metric=MEMORY, method="staged", baseline="pieces", direction=-1, margin=0.667,
          relative=True, kind="exact"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, more: int = 192,
    tokens: int = 344_064, base_tokens: int = 1_228_800, size: str = "56k",
    vocabulary: int = 512, length: int = 128, base_rate: float = 5e-3,
    rates: str = "0.0015,0.003,0.006", korean: float = 0.05, old: str = "",
    batch_tokens: int = 1024,
) -> Prepared:  # fmt: skip
    """`more` new tokens; `tokens` of each arm, `rates` from which each arm takes the best one.

    `korean`: share of the new language in the base. `old`: text of the old language, a path or a
    named set, default English novels.
    """
    tried, batch = parse_rates(rates), batch_tokens
    if scale == "smoke":
        more, tokens, length, batch, tried = 20, 12 * 256, 32, 256, tried[:1]
    texts = _redwhale_texts.prepared(
        scale, data, model, more=more, base_tokens=base_tokens, size=size,
        size_vocabulary=vocabulary, length=length, base_rate=base_rate, korean=korean, old=old,
    )  # fmt: skip
    inputs = Inputs(texts, tokens, length, batch, tried)
    return Prepared(inputs, data=texts.sources, models=texts.models)


ARMS = {
    "pieces": arm("pieces"),
    "pieces, embedding only": arm("pieces", head=False),
    "mean": arm("mean"),
    "random": arm("random"),
    "old vocabulary": arm(""),
    "staged": arm("pieces", staged=True),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the vocabulary and of the stages."""
    yield from checked(inputs, measured)
