"""Instructions with known answers for `finance-merge`: three things of a kind, in a form asked for.

Short, so that a model of a tenth of a million parameters can learn them. Whether an instruction is
followed is computed: three words in the form that was asked for; whether the answer is right too:
the words are different members of the kind. Some pairs of kind and form are held out: a model that
follows there has learned forms, not lines.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from tilth.evaluation.card import Ratio
from tilth.systems._greedy import conversations

KINDS = {
    "animals": "dog cat horse cow",
    "colours": "red green blue white",
    "metals": "iron gold silver copper",
    "trees": "oak ash elm pine",
    "fruits": "apple pear plum cherry",
    "tools": "hammer saw axe knife",
    "rooms": "kitchen parlour bedroom hall",
    "drinks": "tea coffee milk water",
    "months": "March April May June",
    "towns": "London Paris Rome Bath",
    "birds": "crow robin swan owl",
    "numbers": "one two three four",
    "clothes": "coat hat shoe glove",
    "dishes": "soup bread cheese pie",
    "trades": "baker smith tailor miller",
    "stuffs": "wool silk linen cotton",
    "limbs": "hand foot arm leg",
    "waters": "river lake sea pond",
    "days": "Monday Tuesday Wednesday Thursday",
    "kin": "mother father sister brother",
}
FORMS = {
    "separated by commas": ", ".join,
    "as a numbered list": lambda words: "\n".join(f"{n}. {w}" for n, w in enumerate(words, 1)),
    "with a dash before each": lambda words: "\n".join(f"- {w}" for w in words),
    "as JSON": json.dumps,
    "joined by arrows": " -> ".join,
}
WORDS = 3
# The places of kind and form, added up: the rest by this says which pairs are tested, which choose
# rates, and which are learned.
PARTS = 5
# Tokens of an answer at most; what is longer is wrong.
LONGEST = 40

Pair = tuple[str, str]


def prompt(kind: str, form: str) -> str:
    return f"Three {kind} {form}:"


def answer(kind: str, form: str, start: int) -> str:
    """Three members in a row, from place `start` on and round."""
    words = KINDS[kind].split()
    return " " + FORMS[form]([words[(start + n) % len(words)] for n in range(WORDS)])


def pairs() -> tuple[list[Pair], list[Pair], list[Pair]]:
    """(kind, form) to learn, to choose rates with and to test: each kind, each form is learned."""
    found: tuple[list[Pair], list[Pair], list[Pair]] = ([], [], [])
    for n, kind in enumerate(KINDS):
        for m, form in enumerate(FORMS):
            rest = (n + m) % PARTS
            found[2 if rest == 0 else 1 if rest == 1 else 0].append((kind, form))
    return found


def told(some: list[Pair], count: int, seed: int) -> list[tuple[str, str]]:
    """`count` prompts with answers, drawn from the pairs."""
    rng = random.Random(f"instructions {seed}")
    chosen = [rng.choice(some) for _ in range(count)]
    return [(prompt(*pair), answer(*pair, rng.randrange(4))) for pair in chosen]


def every(some: list[Pair]) -> list[tuple[str, str]]:
    """A prompt and an answer of each pair, the first members: what is scored."""
    return [(prompt(*pair), answer(*pair, 0)) for pair in some]


def answer_bits(model: Any, tokenizer: Any, asked: list[tuple[str, str]]) -> Ratio:
    """Bits that the model needs for each answer and its end, over the answer's bytes."""
    import torch

    documents = conversations(asked, tokenizer)
    model.eval()
    bits = []
    with torch.inference_mode():
        for row, learn in zip(documents.tokens, documents.extra["learn"]):
            ids = torch.from_numpy(row.astype(np.int64))[None]
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0].float()
            nats = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none").numpy()
            bits.append(float(nats[learn[1:]].sum()) / np.log(2))
    return Ratio(np.array(bits), np.array(documents.sizes, dtype=float))


def followed(form: str, text: str) -> bool:
    """Whether an answer is three words in the form, whatever the words."""
    words = _parse(form, text.strip())
    return len(words) == WORDS and all(word.isalpha() for word in words)


def right(kind: str, form: str, text: str) -> bool:
    """Whether an answer has the form and three different members of the kind."""
    members = set(KINDS[kind].split())
    words = set(_parse(form, text.strip()))
    return followed(form, text) and len(words) == WORDS and words <= members


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
