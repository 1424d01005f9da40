"""The table of zoo models: what each is trained on, how, and what it must reach. Only literals.

Two zoos that never mix in one table: `shared` from named data sets, `python` from what every
machine has, the Python installation, where a model depends on the versions installed too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """One model. Budgets count tokens; `characters` is what each document gives at most.

    `kind`: `causal` (a Llama), or `masked`, with a share `rate` of masked tokens and the
    architecture `encoder`, one of `encoders.KINDS`, with the settings `encoders.NEAR` where `near`
    says so. `sources`: named sets, or `installation`. `tokenizer`: the sources that the tokenizer
    is learned from, so that several models share one. A causal model's gate is the 5-gram on the
    tokens that it saw; a masked one must name `least_ratio` times as many masked tokens as the most
    frequent token would. `spread`: how a causal model begins (`models.decoder.spread_out`).
    `teacher`: the zoo's causal model that this one is distilled from, on its probabilities alone.
    """

    zoo: str
    kind: str
    what: str
    sources: tuple[str, ...]
    tokenizer: tuple[str, ...]
    tokens: int
    size: str = "0.5m"
    vocabulary: int = 2048
    context: int = 128
    characters: int = 190_000
    batch_tokens: int = 2048
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    encoder: str = "modernbert"
    near: bool = True
    rate: float = 0.3
    least_ratio: float = 3.0
    spread: float | None = None
    teacher: str | None = None

    def to_value(self) -> dict[str, Any]:
        """What the digest of a model is made from; a JSON value."""
        value = {key: value for key, value in asdict(self).items() if key != "what"}
        for later in ("spread", "teacher"):
            if value[later] is None:
                del value[later]
        return value


ENGLISH = ("books_en", "wiki_plain")
PYTHON = ("installation",)
MEDICAL = ("screening_cohen", "bio_pubmedqa")

# Encoders of four layers, every other one local, so that half of them can be frozen or left out.
# Berts of this size, with learned positions, named as many masked tokens as one without context.
ZOO = {
    # Two epochs in small steps. With matrices that begin at 0.02 it missed its gate by a hair,
    # 1.975 bits per byte against the 5-gram's 1.974.
    "gpt-books": Recipe(
        "shared", "causal", "Llama on English novels", ("books_en",), ENGLISH, 4_000_000,
        characters=95_000, batch_tokens=1024, spread=0.3,
    ),
    "encoder-general": Recipe(
        "shared", "masked", "ModernBert on English novels and Wikipedia", ENGLISH, ENGLISH,
        3_000_000, size="0.27m", vocabulary=1024, batch_tokens=1024,
    ),
    "encoder-bio": Recipe(
        "shared", "masked", "ModernBert on titles and abstracts of medical articles", MEDICAL,
        MEDICAL, 3_000_000, size="0.34m", batch_tokens=1024,
    ),
    "gpt-python": Recipe(
        "python", "causal", "Llama on the text of the Python installation", PYTHON, PYTHON,
        4_000_000, characters=20_000, spread=0.3,
    ),
    # A target and its draft, for speculative decoding.
    "gpt-python-target": Recipe(
        "python", "causal", "Larger Llama on the text of the Python installation", PYTHON, PYTHON,
        4_500_000, size="3.2m", characters=20_000, learning_rate=3e-3, spread=0.3,
    ),
    "gpt-python-draft": Recipe(
        "python", "causal", "Llama distilled from gpt-python-target", PYTHON, PYTHON, 3_000_000,
        size="0.75m", characters=20_000, spread=0.3, teacher="gpt-python-target",
    ),
    "encoder-python": Recipe(
        "python", "masked", "ModernBert on the text of the Python installation", PYTHON, PYTHON,
        4_000_000, size="0.34m", characters=20_000, batch_tokens=1024,
    ),
}  # fmt: skip
