"""Instructions with known answers for `finance-merge`: three things of a kind, in a form asked for.

Whether an answer is right is computed: the form parses, and it holds three different members of the
kind. Some pairs of kind and form are held out: a model that is right there has learned the forms.
"""

from __future__ import annotations

import json
import random

KINDS = {
    "animals": "dog cat horse cow sheep goat pig duck",
    "colours": "red green blue white black brown grey yellow",
    "metals": "iron gold silver copper tin lead zinc steel",
    "trees": "oak ash elm pine fir beech birch willow",
    "fruits": "apple pear plum cherry grape lemon fig peach",
    "tools": "hammer saw axe knife spade rake plough nail",
    "rooms": "kitchen parlour bedroom hall study cellar attic library",
    "drinks": "tea coffee milk water wine beer cider cocoa",
    "months": "March April May June July August October November",
    "towns": "London Paris Rome Bath York Oxford Dublin Vienna",
}
FORMS = {
    "separated by commas": ", ".join,
    "as a numbered list": lambda words: "\n".join(f"{n}. {w}" for n, w in enumerate(words, 1)),
    "with a dash before each": lambda words: "\n".join(f"- {w}" for w in words),
    "as JSON": json.dumps,
    "joined by arrows": " -> ".join,
}
WORDS = 3
# A pair of kind and form is held out where their places add up to a multiple of this.
HELD_OUT = 5
LONGEST = 32


def prompt(kind: str, form: str) -> str:
    return f"Question: Name three {kind} {form}.\nAnswer:"


def answer(kind: str, form: str, rng: random.Random) -> str:
    return " " + FORMS[form](rng.sample(KINDS[kind].split(), WORDS))


def pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(kind, form) to learn and held out: each kind and each form is learned."""
    learned, held_out = [], []
    for n, kind in enumerate(KINDS):
        for m, form in enumerate(FORMS):
            (held_out if (n + m) % HELD_OUT == 0 else learned).append((kind, form))
    return learned, held_out


def conversations(count: int, seed: int) -> list[tuple[str, str]]:
    """Prompts with answers, drawn from what is to be learned."""
    rng = random.Random(f"instructions {seed}")
    learned, _ = pairs()
    chosen = [rng.choice(learned) for _ in range(count)]
    return [(prompt(*pair), answer(*pair, rng)) for pair in chosen]


def right(kind: str, form: str, text: str) -> bool:
    """Whether an answer has the form and three different members of the kind."""
    words = _parse(form, text.strip())
    members = set(KINDS[kind].split())
    return len(words) == WORDS == len(set(words)) and set(words) <= members


def _parse(form: str, text: str) -> list[str]:
    """The words of an answer; none where it has another form."""
    if form == "as JSON":
        try:
            found = json.loads(text)
        except ValueError:
            return []
        return found if isinstance(found, list) and all(isinstance(w, str) for w in found) else []
    marks = {"separated by commas": ", ", "joined by arrows": " -> "}
    words = text.split(marks.get(form, "\n"))
    if form in marks:
        return words
    wanted = [f"{n}. " if "numbered" in form else "- " for n in range(1, len(words) + 1)]
    if not all(word.startswith(mark) for word, mark in zip(words, wanted)):
        return []
    return [word.removeprefix(mark) for word, mark in zip(words, wanted)]
