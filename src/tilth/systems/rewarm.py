"""How to warm a model up again: schedules for going on with a trained model on new text.

Gupta, Thérien, Ibrahim, Richter, Anthony, Belilovsky, Rish and Lesort (2023). A model whose rate
has fallen to its end goes on with other text: the rate stays at the end's, or rises again to its
old height or twice it, and falls again. Measured on the new text at the end, and on the old text
all along. From Ibrahim et al. (2024): with a share of the old text among the new.

The base is trained here, on novels, with the paper's schedule down to a tenth of the rate, so that
its moments are there too. Arms start the moments anew, as one who has a folder of weights must, but
for one arm that keeps them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _rewarm_base
from tilth.systems._rewarm_arms import MINIMUM, NEW, OLD, PEAK, Inputs, arm, checked

CARD = Card(
    slug="rewarm",
    title="Continual Pre-Training of Large Language Models: How to (re)warm your model?",
    year=2023,
    family="pretrain",
    claim="A trained model learns new text better when its learning rate rises again than when it "
    "stays at its end, and better than a new model; how long it rises matters little, and how high "
    "it rises decides how much of the old text is forgotten.",
    part="tilth train TEXTS -o FOLDER --base MODEL --set warmup=0.01 --set minimum=0.1",
    modules=(
        "tilth.systems._continued_texts", "tilth.systems._rewarm_arms",
        "tilth.systems._rewarm_base", "tilth.training.replay", "tilth.training.schedules",
    ),
    data_kind="corpus",
    model_kind="causal",
    arxiv="2308.04014",
    when="You go on with a trained model on text of another kind, for some hundred steps or more.",
    when_not="There is very little new text: a constant low rate forgets less. Where old text is "
    "at hand, mix a few per cent of it in.",
    not_covered="Bases that stopped before their end; joint training on both texts; tasks; the "
    "course beyond one budget. With --model the moments are not known, and all arms start them "
    "anew; --set old=TEXTS names text of the kind that it was trained on, else novels are taken.",
)  # fmt: skip

# Margins, in bits per byte, and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=NEW, method="re-warmed", baseline="constant", direction=-1, margin=0.02,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=NEW, method="re-warmed", baseline="from scratch", direction=-1, margin=0.02,
          kind="learned", equal="tokens"),
    Claim(metric=NEW, method="no warm-up", baseline="re-warmed", direction=-1, margin=-0.02,
          kind="learned", equal="tokens"),
    Claim(metric=NEW, method="re-warmed", baseline="no warm-up", direction=-1, margin=-0.02,
          kind="learned", equal="tokens"),
    Claim(metric=PEAK, method="twice the rate", baseline="re-warmed", margin=0.02,
          kind="learned", equal="tokens"),
    Claim(metric=PEAK, method="re-warmed", baseline="constant", margin=0.02, kind="learned",
          equal="tokens"),
    Claim(metric=OLD, method="replay", baseline="re-warmed", direction=-1, margin=0.02,
          kind="learned", equal="tokens"),
    Claim(metric=NEW, method="replay", baseline="re-warmed", direction=-1, margin=-0.02,
          kind="learned", equal="tokens"),
    Claim(metric=NEW, method="moments kept", baseline="re-warmed", direction=-1, margin=-0.02,
          kind="learned", equal="tokens"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 335_872,
    base_tokens: int = 1_511_424, size: str = "165k", vocabulary: int = 1024, length: int = 128,
    batch_tokens: int = 2048, rate: float = 5e-3, replay: float = 0.05, old: str = "",
) -> Prepared:  # fmt: skip
    """`tokens` are those of each arm; `rate` is the highest rate of the base's own training.

    `data` is the new text (default Wikipedia), `old` the old one (default English novels).
    """
    texts, length, batch = _rewarm_base.prepare(
        scale, data, model, old, base_tokens=base_tokens, size=size, vocabulary=vocabulary,
        length=length, batch_tokens=batch_tokens, rate=rate,
    )  # fmt: skip
    if scale == "smoke":
        tokens = 12 * batch
    inputs = Inputs(texts, tokens, batch, length, rate, replay)
    return Prepared(inputs, data=texts.sources, models=texts.models)


ARMS = {
    "constant": arm(schedule="constant", rate=MINIMUM, warmup=0.0),
    "re-warmed": arm(),
    "no warm-up": arm(warmup=0.0),
    "twice the rate": arm(rate=2.0),
    "replay": arm(replay=True),
    "moments kept": arm(kept=True),
    "from scratch": arm(scratch=True),
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Exact properties of the schedule, of the replay and of the start."""
    yield from checked(inputs, measured)
