"""Texts and models of a user's own for `min-k`."""

from __future__ import annotations

from typing import Any

from tilth.data.sets import digest_path
from tilth.errors import DataError, UsageError
from tilth.evaluation.card import ModelSource, Prepared
from tilth.store.digest import digest
from tilth.systems import _min_k_texts as texts_of
from tilth.tokens import bpe

FOLDS = 5


def own_data(data: Any, plan: texts_of.Plan, seen: str, seed: int) -> Prepared:
    """A model is trained on half of the texts, whatever their labels say."""
    whole = list(data.table["text"].to_pylist())
    kinds = own_texts(data, plan.words, seen, seed)
    count = min(plan.texts, sum(len(text.split()) // plan.words for text in whole) // 3)
    both = texts_of.pieces(whole, 2 * count, plan.words, "both")
    tokenizer = bpe.train(whole, plan.vocabulary)
    members, others = texts_of.halves(both, seed)
    inputs = texts_of.measured(members, others, tokenizer, None, kinds, plan, seed)
    return Prepared(inputs, data=data.sources)


def own_model(data: Any, model: str, words: int, seen: str, seed: int) -> Prepared:
    """The model is there already; the labels say what it has seen."""
    from tilth.models.folder import load_model, load_tokenizer

    if data is None:
        raise UsageError("a model of yours needs --data with texts that it has seen and others")
    members, others = own_texts(data, words, seen, seed)
    loaded, tokenizer = load_model(model, dtype="float32"), load_tokenizer(model)
    inputs = texts_of.judged(loaded, tokenizer, members, others, None, None, (members, others))
    return Prepared(inputs, data.sources, (ModelSource(model, digest_path(model)),))


def own_texts(data: Any, words: int, seen: str, fold: int) -> tuple[list[str], list[str]]:
    """(seen, others) of a user's task, each cut to `words` words, every `FOLDS`th of them."""
    if seen not in data.labels or len(data.labels) != 2:
        raise UsageError(
            f"labels are {', '.join(data.labels)}; two are needed, one of them {seen!r}",
            hint="--set seen=LABEL",
        )
    if fold >= FOLDS:
        raise UsageError(f"texts of yours make {FOLDS} parts, one a seed", hint="--set seeds=5")
    sides: tuple[list[str], list[str]] = ([], [])
    for row in sorted(data.table.to_pylist(), key=lambda row: digest(row["text"])):
        spoken = row["text"].split()
        if len(spoken) >= words:
            sides[row["label"] != seen].append(" ".join(spoken[:words]))
    parts = tuple(side[fold::FOLDS] for side in sides)
    if min(map(len, parts)) < 5:
        raise DataError(
            f"{len(sides[0])} and {len(sides[1])} texts have {words} words; {5 * FOLDS} of each "
            "side are the least", hint="--set words=20",
        )  # fmt: skip
    return parts  # type: ignore[return-value]
