"""Tasks and encoders of the system `casehold`: items made from summaries of opinions.

An item is the first half of a summary and five second halves: its own and the four nearest ones of
other cases by TF-IDF. The encoders learn from other cases than those of the items.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from tilth.data.sets import find_set, open_set
from tilth.data.task import Task, schema
from tilth.errors import DataError
from tilth.evaluation.card import ModelSource
from tilth.models.encoders import build_encoder
from tilth.objectives.masked import Masked
from tilth.store.digest import digest
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit

CHOICES = 5
STEP = 1024
LEAST = 3.0
PAD_ID, MASK_ID = 1, 2
TASKS = ("sentiment", "terms", "holdings")


@dataclass(frozen=True)
class Plan:
    """Budgets in tokens: each encoder learns from twice `tokens`, in two halves of which the first
    is shared by two. `context` and `holding` are words of an item."""

    tokens: int = 500_000
    size: str = "250k"
    vocabulary: int = 1024
    context: int = 20
    holding: int = 16
    learning_rate: float = 2e-3


@dataclass(frozen=True)
class Encoder:
    model: Any
    tokenizer: Any
    tokens: int
    flops: float


def halves(text: str, context: int, holding: int) -> tuple[str, str] | None:
    """The words before the middle and those from it on; None for a text that is too short.

    Of the first half the end is kept: there the sentence breaks off.
    """
    words = text.split()
    middle = len(words) // 2
    if middle < holding or middle < context // 2:
        return None
    return " ".join(words[max(0, middle - context) : middle]), " ".join(
        words[middle : middle + holding]
    )


def items(texts: Sequence[str], context: int, holding: int) -> Task:
    """A `choose` task: for each text its own second half among the four nearest other ones.

    Every other text is for the test; choices come from the same side, so no holding of the test is
    ever seen as a wrong choice. Raises DataError where a side has too few different ones.
    """
    seen: set[str] = set()
    pairs = []
    for text in texts:
        pair = halves(text, context, holding)
        if pair is not None and pair[1] not in seen:
            seen.add(pair[1])
            pairs.append(pair)
    rows = [*_side(pairs[::2], "train"), *_side(pairs[1::2], "test")]
    return Task("choose", "holdings", pa.Table.from_pylist(rows, schema("choose")))


def _side(pairs: Sequence[tuple[str, str]], split: str) -> list[dict]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(pairs) < CHOICES:
        raise DataError(f"{len(pairs)} different texts give no item of {CHOICES} choices")
    ends = [end for _, end in pairs]
    vectors = TfidfVectorizer(sublinear_tf=True).fit_transform(ends)
    near = np.asarray((vectors @ vectors.T).todense())
    np.fill_diagonal(near, -1)
    rows = []
    for number, (start, end) in enumerate(pairs):
        nearest = np.argsort(-near[number], kind="stable")[: CHOICES - 1].tolist()
        place = int(digest("place", end)[:8], 16) % CHOICES
        choices = [ends[n] for n in nearest]
        choices.insert(place, end)
        own = f"{split} {number}"
        rows.append({"id": own, "text": start, "choices": choices, "answer": place, "group": own,
                     "split": split})  # fmt: skip
    return rows


def overlap(task: Task) -> list[float]:
    """1 or 0 an item: does the choice with the greatest TF-IDF cosine to the context win?"""
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = task.table.to_pylist()
    made = TfidfVectorizer(sublinear_tf=True)
    made.fit([row["text"] for row in rows] + [c for row in rows for c in row["choices"]])
    right = []
    for row in rows:
        scores = made.transform([row["text"]]) @ made.transform(row["choices"]).T
        right.append(float(int(scores.toarray()[0].argmax()) == row["answer"]))
    return right


def passages(task: Task, words: int, each: int) -> Task:
    """Pieces of `words` words of each text, at most `each`; the labels `terms` and `policy`."""
    rows = []
    for row in task.table.to_pylist():
        spoken = row["text"].split()
        label = "policy" if "Privacy" in row["label"] else "terms"
        for number in range(min(each, len(spoken) // words)):
            text = " ".join(spoken[number * words : (number + 1) * words])
            rows.append({**row, "id": f"{row['id']} {number}", "text": text, "label": label})
    return replace(task, name="terms", table=pa.Table.from_pylist(rows, schema("classify")))


def learn(
    texts: Sequence[str], tokenizer: Any, plan: Plan, tokens: int, start: Any = None
) -> Encoder:
    """An encoder from scratch, or gone on with, by masked language modelling."""
    import copy

    data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, tokenizer)
    model = copy.deepcopy(start.model) if start else build_encoder(
        plan.size, vocabulary=tokenizer.get_vocab_size(), context=96, pad=PAD_ID
    )  # fmt: skip
    objective = Masked(length=64, mask=MASK_ID, special=(PAD_ID,))
    history = fit(model, objective, data, tokens=tokens, batch_tokens=STEP, seed=0,
                  learning_rate=plan.learning_rate)  # fmt: skip
    before = (start.tokens, start.flops) if start else (0, 0.0)
    return Encoder(model, tokenizer, before[0] + history.plan["tokens"],
                   before[1] + history.plan["flops"])  # fmt: skip


def gate(one: Encoder, texts: Sequence[str]) -> bool:
    """Whether an encoder names `LEAST` times as many hidden tokens as the most frequent one would,
    on texts that it did not see: one that does not has learned how often tokens are, no more."""
    from tilth.zoo.gate import above_the_most_frequent

    data = TokenDocuments.of([str(n) for n in range(len(texts))], texts, one.tokenizer)
    found = above_the_most_frequent(
        one.model, data, length=64, mask=MASK_ID, least_ratio=LEAST, seed=0
    )
    return bool(found["passed"])


def encoders(general: Sequence[str], law: Sequence[str], plan: Plan) -> dict[str, Encoder]:
    """Equal tokens: general twice, general then law, law alone with a vocabulary of its own."""
    shared, own = (
        bpe.train(texts, plan.vocabulary, special=(bpe.PAD, bpe.MASK)) for texts in (general, law)
    )
    tokens = plan.tokens // STEP * STEP
    base = learn(general, shared, plan, tokens)
    return {
        "general twice": learn(general, shared, plan, tokens, base),
        "general, then law": learn(law, shared, plan, tokens, base),
        "law alone": learn(law, own, plan, 2 * tokens),
    }


@functools.lru_cache(maxsize=1)
def opinions(plan: Plan) -> tuple[dict[str, Encoder], dict[str, Task], Any, tuple, ModelSource]:
    """(encoders, tasks, texts that the law encoders saw, sources, the general encoder with its
    gate); once a process."""
    cases, contracts, reviews = (open_set(n) for n in ("legal_scotus", "legal_terms", "glue_sst2"))
    assert isinstance(cases, Task) and isinstance(contracts, Task) and isinstance(reviews, Task)
    novels, pages = find_set("books_en"), find_set("wiki_plain")
    texts = sorted(dict.fromkeys(cases.table["text"].to_pylist()), key=digest)
    learned, asked = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    parted = contracts.with_splits({"learn": 0.6, "ask": 0.4})
    terms = [t[:30_000] for t in parted.split("learn").table["text"].to_pylist()]
    law = [*terms, *learned * 3]
    general = [d.text[100_000:140_000] for d in novels.documents()]
    general += [d.text[:20_000] for d in pages.documents()]
    made = encoders(general, law, plan)
    held = [d.text[200_000:220_000] for d in novels.documents()][:20]
    key = digest(*[part for one in made.values() for part in (one.tokens, *_bytes(one.model))])
    model = ModelSource("general twice", key, gate(made["general twice"], held))
    tasks = {
        "sentiment": reviews,
        "terms": passages(parted.split("ask"), 32, 8),
        "holdings": items(asked, plan.context, plan.holding),
    }
    used = (cases, contracts, reviews, novels, pages)
    sources = tuple(source for one in used for source in one.sources)
    return made, tasks, law, sources, model


def _bytes(model: Any) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
