"""Texts of the system `min-k`, the model that saw half of them, and all their scores.

A text is a run of words from a random place of a book. Members are a random half, so that nothing
but membership tells the two sides apart; the reference model saw texts of other books, and the
tokenizer learned on further ones. So no token of a text is rare because its side was not seen.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tilth.data.sets import Source, find_set
from tilth.errors import DataError
from tilth.evaluation.membership import membership_scores, min_k, token_scores
from tilth.models.decoder import build
from tilth.objectives.causal import Causal
from tilth.store.digest import digest
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.epochs import tokens_for_epochs
from tilth.training.loop import fit

LAST, EARLY, SHORT = "AUC", "AUC after 2 epochs", "AUC of half the words"
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 1.0)


@dataclass(frozen=True)
class Inputs:
    """`scores`: metric -> score -> one number a text, members first. `kinds`: two lists of texts
    that differ in kind; `at_shares`: Min-K% at other shares of the tokens, of the full texts."""

    members: list[str]
    others: list[str]
    scores: Mapping[str, Mapping[str, np.ndarray]]
    at_shares: Mapping[float, np.ndarray]
    kinds: tuple[list[str], list[str]]
    unseen: np.ndarray | None
    checks: Mapping[str, bool]
    tokens: int = 0
    flops: float = 0.0
    parameters: int = 0


@dataclass(frozen=True)
class Plan:
    """`texts` of `words` words on each side; the model reads its side `epochs` times."""

    texts: int = 1200
    words: int = 40
    epochs: int = 8
    size: str = "250k"
    vocabulary: int = 1024
    learning_rate: float = 3e-3
    length: int = 64
    early: int = 2
    sources: tuple[Source, ...] = field(default=())


def pieces(texts: Sequence[str], count: int, words: int, name: str) -> list[str]:
    """`count` different runs of words from random places of the texts, each text in turn."""
    chance = random.Random(digest("min-k", name))
    split = [spoken for text in texts if len(spoken := text.split()) >= words]
    if not split:
        raise DataError(f"no text has {words} words", hint="--set words=20")
    found: dict[str, None] = {}
    for turn in range(20 * count):
        if len(found) == count:
            return list(found)
        spoken = split[turn % len(split)]
        start = chance.randrange(len(spoken) - words + 1) // words * words
        found[" ".join(spoken[start : start + words])] = None
    raise DataError(
        f"the texts give {len(found):,} different pieces of {words} words, {count:,} are asked for",
        hint=f"--set texts={len(found) // 3}",
    )


def train(texts: Sequence[str], tokenizer: Any, plan: Plan, seed: int, epochs: int) -> Any:
    """A model from scratch on the texts, (model, history, a copy after the early epochs)."""
    import copy

    data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
    # A run of dashes may take a token a character; positions cost no parameters.
    model = build(plan.size, vocabulary=data.vocabulary, context=1024, seed=seed)
    objective = Causal(length=plan.length)
    batch = max(256, min(2048, data.total_tokens // 16))
    early: list[Any] = []
    until = tokens_for_epochs(objective, data, plan.early, batch, seed)

    def keep(point: Any) -> None:
        if not early and point.tokens >= until:
            early.append(copy.deepcopy(model))

    history = fit(
        model, objective, data, tokens=tokens_for_epochs(objective, data, epochs, batch, seed),
        batch_tokens=batch, learning_rate=plan.learning_rate, seed=seed, on_step=keep,
    )  # fmt: skip
    return model, history, early[0] if early else model


def measured(
    members: list[str], others: list[str], tokenizer: Any, reference: Any, kinds: tuple,
    plan: Plan, seed: int,
) -> Inputs:  # fmt: skip
    """Train on the members and score both sides."""
    chance = np.random.default_rng([seed, 7])
    members = [members[n] for n in chance.permutation(len(members))]
    model, history, early = train(members, tokenizer, plan, seed, plan.epochs)
    made = judged(model, tokenizer, members, others, reference, tokenizer, kinds, early)
    spent = history.plan
    return replace(made, tokens=spent["tokens"], flops=float(spent["flops"]),
                   parameters=spent["trainable_parameters"])  # fmt: skip


def judged(
    model: Any, tokenizer: Any, members: list[str], others: list[str], reference: Any,
    reference_tokenizer: Any, kinds: tuple, early: Any = None,
) -> Inputs:  # fmt: skip
    """All scores of both sides by a model that is there already."""
    both = members + others
    second = {"reference": reference, "reference_tokenizer": reference_tokenizer}

    def scored(some: Any, texts: list[str]) -> dict[str, np.ndarray]:
        return membership_scores(some, tokenizer, texts, begin=True, **second)

    data = TokenDocuments.of([str(n) for n in range(len(both))], both, tokenizer)
    logs = [one.log_probabilities for one in token_scores(model, data, begin=True)]
    halves = [" ".join(text.split()[: len(text.split()) // 2]) for text in both]
    last = scored(model, both)
    unseen = None if reference is None else min_k_of(reference, both, reference_tokenizer)
    return Inputs(
        members, others,
        {LAST: last, EARLY: scored(early, both) if early is not None else {},
         SHORT: scored(model, halves)},
        {share: np.array([min_k(one, share) for one in logs]) for share in SHARES},
        kinds, unseen, _checks(model, data, logs, last["loss"]),
    )  # fmt: skip


def min_k_of(model: Any, texts: Sequence[str], tokenizer: Any) -> np.ndarray:
    """Min-K% of the texts by a model."""
    data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
    return np.array([min_k(s.log_probabilities) for s in token_scores(model, data, begin=True)])


def _checks(model: Any, data: TokenDocuments, logs: list, means: np.ndarray) -> dict[str, bool]:
    some = data.select(range(min(12, len(data))))
    alone = token_scores(model, some, begin=True, batch=1)
    curves = [[min_k(one, share) for share in SHARES] for one in logs]
    return {
        "all of the tokens give the mean log-likelihood": all(
            min_k(one, 1.0) == mean for one, mean in zip(logs, means)
        ),
        "scores do not depend on batch and padding within 1e-4": all(
            np.allclose(one.log_probabilities, other, atol=1e-4) for one, other in zip(alone, logs)
        ),
        "a larger share never gives a lower score": all(
            bool(np.all(np.diff(curve) >= -1e-9)) for curve in curves
        ),
    }


@functools.lru_cache(maxsize=2)
def novels(plan: Plan) -> tuple:
    """(texts of both sides, tokenizer, reference, texts of two kinds, sources); once a process."""
    place = find_set("books_en")
    documents = sorted(place.documents(), key=lambda d: digest(d.metadata["id"]))
    groups = documents[:40], documents[40:60], documents[60:]
    judged_, other, rest = ([d.text for d in some] for some in groups)
    tokenizer = bpe.train([text[:100_000] for text in rest], plan.vocabulary)
    both = pieces(judged_, 2 * plan.texts, plan.words, "both")
    apart = pieces(other, plan.texts, plan.words, "reference")
    reference = train(apart, tokenizer, plan, 1000, plan.early)[0]
    old, new = (
        pieces([d.text for d in groups[0] if (d.metadata["year"] < 1880) == before],
               plan.texts, plan.words, f"before {before}")
        for before in (True, False)
    )  # fmt: skip
    return both, tokenizer, reference, (old, new), place.sources


def halves(texts: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """A random half, and the other one."""
    order = np.random.default_rng([seed, 11]).permutation(len(texts)).tolist()
    middle = len(order) // 2
    return [texts[n] for n in order[:middle]], [texts[n] for n in order[middle:]]


def smoke(seed: int) -> Inputs:
    """Docstrings of some modules, and a model that did not see them as the reference."""
    from tilth.zoo import tiny
    from tilth.zoo.micro import docstrings

    small, tokenizer, _ = tiny("causal")
    both = pieces([text for _, text in docstrings()], 64, 6, "both")
    plan = Plan(texts=32, words=6, epochs=6, size="40k", length=16)
    members, others = halves(both, seed)
    kinds = ([text + " 1850" for text in members], others)
    return measured(members, others, tokenizer, small, kinds, plan, seed)
