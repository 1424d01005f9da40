"""Patients of the system `ad-bert`: real sections of clinical notes, drawn so that truth is known.

A patient is a set of dated sections and an index day. A section about memory and nerves stands
before that day with a chance of 0.7 in those who progress and 0.1 in the others; all other sections
are drawn alike. So the best possible AUC is 0.8. After the index day everybody who progresses has
such a section: whoever reads on knows the answer. Sections of training and of test patients come
from different halves of the notes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from tilth.data.sets import Source, open_set
from tilth.data.task import Task, schema
from tilth.store.digest import digest

YES, NO = "progresses", "stable"
PLANTED = {YES: 0.7, NO: 0.1}
BEST_AREA = 0.8  # 0.5 + (0.7 - 0.1) / 2
NERVES = re.compile(
    r"\b(memory|dement\w*|alzheimer\w*|cognit\w*|strokes?|seizures?|neuro\w*|confus\w*|"
    r"headaches?|migraines?|parkinson\w*|tremors?|brain|epilep\w*|dizz\w*|syncope)\b",
    re.IGNORECASE,
)
WORDS = 24
SETS = ("clinical_mts", "clinical_aci_bench", "clinical_medec", "clinical_iu_xray")


class Section(NamedTuple):
    """`day` counts from the index day: negative before it."""

    day: int
    text: str
    planted: bool = False


@dataclass(frozen=True)
class Patient:
    id: str
    label: str
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Pools:
    """Sections of one half of the notes: about nerves, and others."""

    nerves: list[str]
    others: list[str]

    def texts(self) -> list[str]:
        return [*self.nerves, *self.others]


def up_to_index(sections: Iterable[Section]) -> list[Section]:
    """What may be used to predict: nothing later than the index day."""
    return [section for section in sections if section.day <= 0]


def windows(text: str, words: int = WORDS) -> list[str]:
    """A note in sections of at most `words` words; rests of less than 8 are left out."""
    spoken = text.split()
    parts = [spoken[n : n + words] for n in range(0, len(spoken), words)]
    return [" ".join(part) for part in parts if len(part) >= 8]


def notes() -> tuple[dict[str, Pools], list[str], tuple[Source, ...]]:
    """Side (`train`, `test`) -> its pools; findings of chest X-rays, to learn from; sources."""
    found: dict[str, Pools] = {side: Pools([], []) for side in ("train", "test")}
    tasks = [open_set(name) for name in SETS]
    for task in tasks[:3]:
        assert isinstance(task, Task)
        texts = _notes_of(task)
        for text in dict.fromkeys(texts):
            side = "test" if int(digest("side", text)[:4], 16) % 2 else "train"
            for part in windows(text):
                pool = found[side]
                (pool.nerves if NERVES.search(part) else pool.others).append(part)
    # A text that stands in both halves would be seen before the test.
    seen = set(found["train"].texts())
    test = found["test"]
    found["test"] = Pools(*([t for t in dict.fromkeys(some) if t not in seen]
                            for some in (test.nerves, test.others)))  # fmt: skip
    findings = tasks[3].table["text"].to_pylist()  # type: ignore[union-attr]
    return found, findings, tuple(source for task in tasks for source in task.sources)


def _notes_of(task: Task) -> list[str]:
    """A visit's note is its answer; the dialogue is no note."""
    if task.kind == "generate":
        return [messages[-1]["content"] for messages in task.table["messages"].to_pylist()]
    return task.texts()


def simulate(pools: Pools, count: int, seed: int, name: str) -> list[Patient]:
    """`count` patients, half of whom progress, each with 3 to 6 sections before the index day."""
    chance = random.Random(digest("patients", seed, name))
    made = []
    for number in range(count):
        label = (NO, YES)[number % 2]
        texts = [(text, False) for text in chance.sample(pools.others, chance.randint(3, 6))]
        if chance.random() < PLANTED[label]:
            texts[chance.randrange(len(texts))] = (chance.choice(pools.nerves), True)
        sections = [Section(-chance.randint(0, 700), text, planted) for text, planted in texts]
        sections += [Section(chance.randint(1, 300), chance.choice(pools.others))]
        if label == YES:
            sections += [Section(chance.randint(1, 300), chance.choice(pools.nerves), True)]
        sections.sort(key=lambda section: section.day)
        made.append(Patient(f"{name}-{seed}-{number}", label, tuple(sections)))
    return made


def as_task(patients: Sequence[Patient], name: str) -> Task:
    """A `bag` task of what was known on the index day."""
    rows = [
        {"id": patient.id, "label": patient.label, "group": patient.id, "split": "",
         "texts": [section.text for section in up_to_index(patient.sections)]}
        for patient in patients
    ]  # fmt: skip
    return Task("bag", name, pa.Table.from_pylist(rows, schema("bag")))


def joined(task: Task) -> Task:
    """The same patients, each with one text: all sections one after the other."""
    from dataclasses import replace

    rows = task.table.to_pylist()
    for row in rows:
        row["texts"] = [" ".join(row["texts"])]
    return replace(task, table=pa.Table.from_pylist(rows, schema("bag")))


def planted(patients: Sequence[Patient]) -> list[Any]:
    """Whether a section was planted before the index day: the best that anybody can know."""
    return [any(s.planted for s in up_to_index(p.sections)) for p in patients]
