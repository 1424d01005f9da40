"""Was a text in the training data of a model? Min-K% Prob and the scores that it is compared with.

Shi et al. (2024): a text that was seen has few tokens that surprise the model, so the mean of its
k % least likely tokens is higher. Beside it: the mean log-likelihood (Yeom et al., 2018), the
ratios to zlib, to the lower-cased text and to a reference model (Carlini et al., 2021), and
Min-K%++ (Zhang et al., 2024), which standardises each token by the model's own distribution. For
all a higher score says "seen".

Use them to audit a model of your own, or one whose training data nobody names, beside texts that it
cannot have seen: `p_values` says how rare a score is among those. Compare texts of one length and
one source only: a difference in date, genre or length separates better than membership does, and
then the scores measure that. `blind_area` says how well a bag of words, which never asks the model,
tells the two sides apart: where it is far from 0.5 the other numbers mean little.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tilth.errors import DataError, UsageError
from tilth.signals.calibration import area_under_curve
from tilth.tokens.documents import TokenDocuments
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

SHARE = 0.2
FALSE_POSITIVES = 0.05


class TokenScores(NamedTuple):
    """Of one text: log p of each token, in nats, and log p standardised by the distribution that
    the model had at its place (mean and deviation of log p under it). float64."""

    log_probabilities: np.ndarray
    standardised: np.ndarray


def token_scores(
    model: PreTrainedModel,
    data: TokenDocuments,
    *,
    begin: bool = False,
    batch: int = 16,
    progress: Progress = silent,
) -> list[TokenScores]:
    """Every token of each document given those before it; one forward pass.

    The first token has nothing before it and is not scored, unless `begin` puts the end token in
    front, as for a model that was trained on documents joined by it. `batch` changes only the
    speed. Raises DataError for documents without a token to score or longer than the context.
    """
    import torch

    context = getattr(model.config, "max_position_embeddings", None)
    extra = int(begin)
    for name, length in zip(data.ids, data.lengths.tolist()):
        if length + extra < 2:
            raise DataError("has no token that another one precedes", where=name)
        if context is not None and length + extra - 1 > context:
            raise DataError(
                f"has {length:,} tokens, the model's context is {context:,}", where=name,
                hint="cut all texts to one length",
            )  # fmt: skip
    if data.vocabulary > model.config.vocab_size:
        raise DataError("the tokens come from a larger vocabulary than the model's")
    order = np.argsort(data.lengths, kind="stable").tolist()
    found: list[TokenScores] = [TokenScores(np.zeros(0), np.zeros(0))] * len(order)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch):
                part = order[start : start + batch]
                for number, scores in zip(part, _scores(model, data, part, begin)):
                    found[number] = scores
                progress("score", min(start + batch, len(order)), len(order))
    finally:
        model.train(was_training)
    return found


def _scores(
    model: PreTrainedModel, data: TokenDocuments, part: Sequence[int], begin: bool
) -> list[TokenScores]:
    import torch

    front = [data.end] if begin else []
    rows = [np.concatenate([front, data.document(n)]).astype(np.int64) for n in part]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), data.end, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.from_numpy(row)
        mask[place, : len(row)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    logits = model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=False).logits
    log_p = logits.float().log_softmax(-1)
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    # Where p is 0 in float32 log p is finite, so nothing is 0 times infinity.
    spread = (p * (log_p - mean[..., None]).square()).sum(-1).clamp_min(1e-12).sqrt()
    taken = log_p.gather(-1, ids[:, 1:, None])[..., 0]
    standard = ((taken - mean) / spread).double().cpu().numpy()
    values = taken.double().cpu().numpy()
    return [
        TokenScores(values[n, : len(row) - 1], standard[n, : len(row) - 1])
        for n, row in enumerate(rows)
    ]


def min_k(values: np.ndarray, share: float = SHARE) -> float:
    """The mean of the `share` lowest values, at least one; all of them give the mean."""
    if not 0 < share <= 1:
        raise UsageError(f"share lies above 0 and up to 1, not {share}")
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        raise DataError("no token has a score")
    if share == 1:
        return float(values.mean())
    lowest = max(1, int(share * len(values)))
    return float(np.partition(values, lowest - 1)[:lowest].mean())


def membership_scores(
    model: PreTrainedModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    reference: PreTrainedModel | None = None,
    reference_tokenizer: Tokenizer | None = None,
    share: float = SHARE,
    begin: bool = False,
    batch: int = 16,
    progress: Progress = silent,
) -> dict[str, np.ndarray]:
    """Score -> one number a text, float64; higher says "seen".

    `min-k`, `min-k++`, `loss` (mean log p), `zlib` (log p over the bytes that zlib needs),
    `lowercase` (loss of the lower-cased text over its own), and with a `reference` model, which
    may have a tokenizer of its own, `reference` (nats a byte that it needs more).
    """
    scored = token_scores(
        model, _documents(texts, tokenizer), begin=begin, batch=batch, progress=progress
    )
    logs = [one.log_probabilities for one in scored]
    means = np.array([one.mean() for one in logs])
    lowered = _documents([text.lower() for text in texts], tokenizer)
    lower = token_scores(model, lowered, begin=begin, batch=batch)
    found = {
        "min-k": np.array([min_k(one, share) for one in logs]),
        "min-k++": np.array([min_k(one.standardised, share) for one in scored]),
        "loss": means,
        "zlib": means / np.array([len(zlib.compress(text.encode("utf-8"))) for text in texts]),
        "lowercase": np.array([one.log_probabilities.mean() for one in lower]) / means,
    }
    if reference is not None:
        other = _documents(texts, reference_tokenizer or tokenizer)
        sums = token_scores(reference, other, begin=begin, batch=batch)
        sizes = np.array([max(1, len(text.encode("utf-8"))) for text in texts])
        theirs = np.array([one.log_probabilities.sum() for one in sums])
        found["reference"] = (np.array([one.sum() for one in logs]) - theirs) / sizes
    return found


def _documents(texts: Sequence[str], tokenizer: Tokenizer) -> TokenDocuments:
    return TokenDocuments.of([f"text {n}" for n in range(len(texts))], texts, tokenizer)


class Separation(NamedTuple):
    """How well scores tell members from others. `tpr`: share of members found where 5 % of the
    others are taken for members; `accuracy`: the best mean of both shares at any threshold."""

    auc: float
    tpr: float
    accuracy: float


def separation(
    members: Sequence[float], others: Sequence[float], false_positives: float = FALSE_POSITIVES
) -> Separation:
    """Depends on the order of the scores only: no monotone change of them changes it."""
    scores = np.concatenate([np.asarray(members, float), np.asarray(others, float)])
    seen = np.arange(len(scores)) < len(members)
    if not len(members) or not len(others):
        raise DataError("membership needs texts of both sides")
    cuts = np.unique(scores)
    found = 1 - np.searchsorted(np.sort(scores[seen]), cuts) / len(members)
    wrong = 1 - np.searchsorted(np.sort(scores[~seen]), cuts) / len(others)
    allowed = found[wrong <= false_positives + 1e-12]
    return Separation(
        area_under_curve(scores, seen),
        float(allowed.max()) if len(allowed) else 0.0,
        float(max(0.5, ((found + 1 - wrong) / 2).max())),
    )


def p_values(scores: Sequence[float], unseen: Sequence[float]) -> np.ndarray:
    """How rare a score is among texts that the model cannot have seen: (1 + those that reach it) /
    (1 + all of them). Below 0.05 for 5 % of unseen texts of the same kind, whatever the score."""
    ordered = np.sort(np.asarray(unseen, float))
    reached = len(ordered) - np.searchsorted(ordered, np.asarray(scores, float), side="left")
    return (1 + reached) / (1 + len(ordered))


def blind_scores(members: Sequence[str], others: Sequence[str], seed: int = 0) -> np.ndarray:
    """Scores of a bag of words, members first, each text by a classifier that did not see it.

    Logistic regression on word and pair counts, five folds. It never asks the model under audit.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    texts = [*members, *others]
    labels = np.arange(len(texts)) < len(members)
    if min(len(members), len(others)) < 5:
        raise DataError("five texts of each side are the least")
    made = make_pipeline(
        CountVectorizer(ngram_range=(1, 2), binary=True, token_pattern=r"\S+"),
        LogisticRegression(C=1.0, max_iter=1000),
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(made, texts, labels, cv=folds, method="decision_function")


def blind_area(members: Sequence[str], others: Sequence[str], seed: int = 0) -> float:
    """AUC of `blind_scores`: 0.5 where the two sides are of one kind."""
    scores = blind_scores(members, others, seed)
    return area_under_curve(scores, np.arange(len(scores)) < len(members))


def areas(scores: Mapping[str, np.ndarray], members: int) -> dict[str, Separation]:
    """`separation` for each score of `membership_scores`, of which the first are members."""
    return {name: separation(some[:members], some[members:]) for name, some in scores.items()}
