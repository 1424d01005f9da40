"""Problems of arithmetic with known answers, as text to learn from and to be asked; made here.

Sums and differences of whole numbers, each in several wordings. A tenth of the problems is held
out: two numbers, a sign and a wording. So a line cannot be remembered, but what two numbers make
may have been seen in other words, or the other way round.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments

WORDINGS = ("{a} {sign} {b} = ", "What is {a} {sign} {b}? ", "Q: {a} {sign} {b} A: ")
HELD_OUT = 10


class Problem(NamedTuple):
    prompt: str
    answer: str


def problems(largest: int, held_out: bool) -> list[Problem]:
    """All problems with numbers from 0 to `largest`, those held out or the others."""
    made = []
    for a in range(largest + 1):
        for b in range(largest + 1):
            for sign, answer in (("+", a + b), ("-", a - b)):
                for wording in WORDINGS if answer >= 0 else ():
                    prompt = wording.format(a=a, sign=sign, b=b)
                    if (int(digest("problem", prompt), 16) % HELD_OUT == 0) == held_out:
                        made.append(Problem(prompt, str(answer)))
    return made


def text(some: Sequence[Problem], seed: int, count: int) -> list[str]:
    """Documents of 20 solved problems, `count` problems in all, drawn again and again."""
    chance = random.Random(f"arithmetic {seed}")
    lines = [f"{p.prompt}{p.answer}\n" for p in (chance.choice(some) for _ in range(count))]
    return ["".join(lines[start : start + 20]) for start in range(0, count, 20)]


def right(model: Any, tokenizer: Any, asked: Sequence[Problem], end: int) -> np.ndarray:
    """1 for each problem whose answer is what the model thinks likeliest, token by token, else 0.

    Three solved problems stand before each, as an example of the form. The line end after the
    answer must be likeliest too.
    """
    import torch

    from tilth.tokens import bpe

    shots = "".join(f"{p.prompt}{p.answer}\n" for p in SHOTS)
    found = np.zeros(len(asked))
    sizes: dict[tuple[int, int], list[tuple[int, list[int]]]] = {}
    starts = bpe.encode(tokenizer, [shots + p.prompt.rstrip() for p in asked])
    wholes = bpe.encode(tokenizer, [f"{shots}{p.prompt}{p.answer}\n" for p in asked])
    for number, (start, whole) in enumerate(zip(starts, wholes)):
        # A blank may belong to the first token of the answer: it is asked for too.
        known = next((i for i, (x, y) in enumerate(zip(start, whole)) if x != y), len(start))
        sizes.setdefault((known, len(whole)), []).append((number, whole))
    with torch.inference_mode():
        for (known, _), group in sizes.items():
            rows = torch.tensor([[end, *whole] for _, whole in group])
            guess = model(input_ids=rows[:, :-1]).logits[:, known:].argmax(-1)
            same = (guess == rows[:, known + 1 :]).all(dim=1)
            for (number, _), ok in zip(group, same.tolist()):
                found[number] = float(ok)
    return found


SHOTS = (Problem("1 + 1 = ", "2"), Problem("What is 3 - 1? ", "2"), Problem("Q: 2 + 1 A: ", "3"))


def documents(texts: Sequence[str], tokenizer: Any, name: str) -> TokenDocuments:
    return TokenDocuments.of([f"{name} {n}" for n in range(len(texts))], texts, tokenizer)
