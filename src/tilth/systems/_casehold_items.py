"""Texts and tasks of the system `casehold`: items made from summaries of opinions.

An item is the first half of a summary and five second halves: its own and the four nearest ones of
other cases by TF-IDF. The encoders learn from other cases than those of the items.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tilth.data.sets import find_set
from tilth.data.task import Task, schema
from tilth.errors import DataError
from tilth.store.digest import digest
from tilth.systems._encoder_study import ASIDE, TaskPair, normal, part, seen, task_of, unseen

CHOICES = 5
CONTEXT, HOLDING = 20, 16  # words of an item
TESTS = 300
TASKS = ("sentiment", "terms", "holdings")


@dataclass(frozen=True)
class Texts:
    """What encoders learn from, and texts of the same kinds that none learned from."""

    general: Sequence[str]
    law: Sequence[str]
    held_general: Sequence[str]
    held_law: Sequence[str]


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


def pair(task: Task, name: str, train: int, seed: int) -> TaskPair:
    """At most `TESTS` rows of one half, the same for every seed; of the other half a sample by the
    seed, and what is set aside to choose rates with. No group and no text crosses."""
    has = {"train", "test"} <= set(task.splits())
    both = task if has else task.with_splits({"train": 1.0, "test": 1.0})
    pool, held = both.split("train"), both.split("test")
    held = held.take(range(min(TESTS, held.table.num_rows)))
    pool = part(pool, np.flatnonzero(~seen(pool.texts(), held.texts())).tolist())
    fixed = sorted(range(pool.table.num_rows), key=lambda n: digest("casehold aside", n))
    aside, left = fixed[::ASIDE], [n for place, n in enumerate(fixed) if place % ASIDE]
    order = sorted(left, key=lambda n: digest("casehold", seed, n))
    return TaskPair(name, part(pool, order[:train]), held, part(pool, aside[:train]))


@functools.lru_cache(maxsize=1)
def opinions() -> tuple[Texts, dict[str, Task], tuple]:
    """(texts, tasks none of whose texts is among those to learn from, sources); once a process."""
    cases, contracts, reviews = map(task_of, ("legal_scotus", "legal_terms", "glue_sst2"))
    novels, pages = find_set("books_en"), find_set("wiki_plain")
    alone = {normal(text): text for text in cases.table["text"].to_pylist()}
    texts = sorted(alone.values(), key=digest)
    learned, asked = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    parted = contracts.with_splits({"learn": 0.6, "ask": 0.4})
    terms = [t[:30_000] for t in parted.split("learn").table["text"].to_pylist()]
    law = [*terms, *learned * 3]
    books = [document.text for document in novels.documents()]
    general = [text[100_000:140_000] for text in books]
    general += [document.text[:20_000] for document in pages.documents()]
    tasks = {
        "sentiment": reviews,
        "terms": passages(parted.split("ask"), 32, 8),
        "holdings": items(asked, CONTEXT, HOLDING),
    }
    tasks = {name: unseen(task, [*terms, *learned, *general]) for name, task in tasks.items()}
    used = (cases, contracts, reviews, novels, pages)
    sources = tuple(source for one in used for source in one.sources)
    held_law = [*tasks["terms"].texts(), *asked]
    held = Texts(general, law, [text[200_000:220_000] for text in books][:20], held_law)
    return held, tasks, sources
