"""Two tasks of data to text for `spdf`: restaurants made by code, and WebNLG."""

from __future__ import annotations

import itertools
import random
from typing import Any

from tilth.store.digest import digest

# Invented, in the manner of E2E: a meaning, and a sentence that says it.
SLOTS = {
    "name": "The Ship,The Old Mill,The Golden Lion,The Harbour,Green Gables,The Red Door,"
    "The Bridge,The Garden,White House,The Anchor",
    "food": "French,Italian,Indian,Chinese,English,Spanish",
    "price": "cheap,moderate,expensive",
    "area": "by the river,in the city,near the station,at the park",
    "family": "welcome,not welcome",
}
SENTENCES = (
    "{name} serves {price} {food} food {area}. Children are {family}.",
    "There is a {price} place {area} called {name}. It serves {food} food, and children are "
    "{family}.",
    "{name} is {area}. Its {food} food is {price}, and children are {family} there.",
)
# Of all meanings, one in so many is held out.
HELD_OUT = 6
MOST_TRIPLES, LONGEST = 3, 260

Meaning = dict[str, str]


def meanings() -> tuple[list[Meaning], list[Meaning]]:
    """Meanings to learn and held out, each in the order of its digest."""
    values = [text.split(",") for text in SLOTS.values()]
    found = [dict(zip(SLOTS, chosen)) for chosen in itertools.product(*values)]
    found.sort(key=lambda one: digest(str(one)))
    held_out = len(found) // HELD_OUT
    return found[held_out:], found[:held_out]


def prompt(meaning: Meaning) -> str:
    return " ".join(f"{slot}[{value}]" for slot, value in meaning.items()) + "\n"


def restaurants(count: int, seed: int) -> list[tuple[str, str]]:
    """(prompt, sentence), drawn from the meanings to learn."""
    rng = random.Random(f"restaurants {seed}")
    learned, _ = meanings()
    chosen = [rng.choice(learned) for _ in range(count)]
    return [(prompt(one), rng.choice(SENTENCES).format(**one)) for one in chosen]


def slot_errors(meaning: Meaning, text: str) -> float:
    """The share of slots whose value the text does not say, or beside which it says another."""
    wrong = 0
    for slot, value in meaning.items():
        others = [other for other in SLOTS[slot].split(",") if other != value]
        said, rest = value in text, text.replace(value, "")
        # "not welcome" holds "welcome": what is said is taken out before others are looked for.
        if slot == "family":
            said = ("not welcome" in text) == (value == "not welcome") and "welcome" in text
            others = []
        wrong += not said or any(other in rest for other in others)
    return wrong / len(meaning)


def triples(task: Any, held_out: float = 0.15) -> tuple[list[tuple[str, str]], ...]:
    """(prompt, text) to learn, to choose rates with and to test: short ones, first text.

    The task is of kind generate; `held_out` is the share of the second and of the third. All items
    whose first line begins with the same subject lie on one side.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for row in task.table.to_pylist():
        said = {message["role"]: message["content"] for message in row["messages"]}
        question, answer = said["user"].strip(), said["assistant"].strip().split("\n")[0]
        if question.count("\n") < MOST_TRIPLES and len(question) + len(answer) <= LONGEST:
            subject = question.split(" | ")[0]
            found.setdefault(subject, []).append((question.replace("_", " ") + "\n", answer))
    subjects = sorted(found, key=digest)
    held: list[list[tuple[str, str]]] = [[], []]
    target = held_out * sum(map(len, found.values()))
    for part in held:
        while subjects and len(part) < target:
            part += found[subjects.pop(0)]
    test, tried = held
    return [pair for subject in subjects for pair in found[subject]], tried, test
