"""A made-up task with known truth that needs two steps, and a small decoder that learns it.

Lines say where a person works and where a firm sits, one token for a pair of names; a question
names a person, its answer is the person's firm and that firm's town, in two steps. Every document
draws its facts anew, so that nothing can be remembered and all must be read. Tokens are names and
pairs of names; there is no tokenizer.

Lines of several tokens ("p works f ;") were tried first: within 1.6 M tokens no model of this size
learned to find the name before the name (loss at the level of what can be told without reading).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.evaluation.card import ModelSource
from tilth.models.decoder import build
from tilth.objectives.causal import Causal
from tilth.store.digest import digest
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import fit

END, STOP, ASK = range(3)
EACH = 8
PEOPLE, FIRMS, TOWNS = (range(8 + EACH * n, 8 + EACH * (n + 1)) for n in range(3))
# Where the pairs begin: (person, firm) and (firm, town).
WORKS, SITS = TOWNS.stop, TOWNS.stop + EACH**2
VOCABULARY = SITS + EACH**2
FACTS, QUESTIONS, LENGTH = 4, 12, 64
# A model that answers so many questions has learned the task.
GATE = 0.9
TOKENS = 800_000

Line = tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """What is true in one document: firm of each person, town of each firm; the lines in order."""

    firm: dict[int, int]
    town: dict[int, int]
    lines: list[Line]

    def asked(self, person: int) -> tuple[Line, Line]:
        """(question, its answer)."""
        firm = self.firm[person]
        return (ASK, person), (firm, self.town[firm])


def works(person: int, firm: int) -> Line:
    return WORKS + (person - PEOPLE.start) * EACH + firm - FIRMS.start, STOP


def sits(firm: int, town: int) -> Line:
    return SITS + (firm - FIRMS.start) * EACH + town - TOWNS.start, STOP


def changed(line: Line, chance: random.Random) -> Line:
    """The line with another second name, drawn."""
    first = SITS if line[0] >= SITS else WORKS
    return line[0] - (line[0] - first) % EACH + chance.randrange(EACH), STOP


def facts(chance: random.Random) -> Facts:
    """The people's lines, then the firms', each in an order of its own."""
    people, firms, towns = (chance.sample(some, FACTS) for some in (PEOPLE, FIRMS, TOWNS))
    firm, town = dict(zip(people, firms)), dict(zip(firms, towns))
    second = chance.sample(firms, FACTS)
    lines = [works(p, firm[p]) for p in people] + [sits(f, town[f]) for f in second]
    return Facts(firm, town, lines)


def document(chance: random.Random) -> list[int]:
    """One document to learn from: facts, then questions with their answers."""
    made = facts(chance)
    ids = [one for line in made.lines for one in line]
    for _ in range(QUESTIONS):
        question, answer = made.asked(chance.choice(list(made.firm)))
        ids += [*question, *answer, STOP]
    return ids[: LENGTH - 1]


def documents(seed: str, tokens: int) -> TokenDocuments:
    chance = random.Random(f"two hops {seed}")
    rows = [np.array(document(chance), np.uint32) for _ in range(-(-tokens // LENGTH))]
    names = [f"{seed} {number}" for number in range(len(rows))]
    return TokenDocuments(names, rows, VOCABULARY, END, [len(row) for row in rows])


def right(model: Any, seed: str, count: int = 256) -> float:
    """Share of questions whose whole answer is what the model thinks likeliest."""
    import torch

    chance = random.Random(f"asked {seed}")
    rows, answers = [], []
    for _ in range(count):
        made = facts(chance)
        question, answer = made.asked(chance.choice(list(made.firm)))
        rows.append([*flat(made.lines), *question, *answer])
        answers.append(answer)
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor(rows), use_cache=False).logits[:, -3:-1]
    return float((logits.argmax(-1).numpy() == np.array(answers)).all(axis=1).mean())


def learned(
    tokens: int, size: str = "200k", *, batch: int = 256, rate: float = 2e-3, seed: int = 0,
    on_step: Any = None,
) -> tuple[Any, float]:  # fmt: skip
    """(model, share of held-out questions it answers)."""
    # With 0.02 throughout no model of this width learned to read within a million tokens.
    model = build(size, vocabulary=VOCABULARY, context=4 * LENGTH, seed=seed, end=END, spread=1.0)
    fit(
        model, Causal(length=LENGTH), documents(f"train {seed}", tokens), tokens=tokens,
        batch_tokens=batch, learning_rate=rate, minimum=0.1, seed=seed, on_step=on_step,
    )  # fmt: skip
    return model.eval(), right(model, "held out")


@functools.lru_cache(maxsize=1)
def _once(tokens: int) -> tuple[Any, float]:
    return learned(tokens)


def base(smoke: bool, tokens: int) -> tuple[Any, ModelSource]:
    """The model that the systems start from, learned once a process, random at scale smoke; and
    what a result says of it: it is a base for claims only where it learned the task."""
    model, score = (
        (build("30k", vocabulary=VOCABULARY, context=128), 0.0) if smoke else _once(tokens)
    )
    parts = [p.detach().numpy().tobytes() for p in model.parameters()]
    return model, ModelSource("two steps of facts", digest(*parts), score >= GATE)


def judged(found: Any, answer: Line) -> tuple[float, float]:
    """(mean nats of the answer and its end, 1 where each token of the answer is likeliest).

    `found`: their log-probabilities, (tokens, vocabulary), one row for each and one for the end.
    """
    nats = -sum(float(found[n, one]) for n, one in enumerate((*answer, STOP)))
    right = all(int(found[n].argmax()) == one for n, one in enumerate(answer))
    return nats / (len(answer) + 1), float(right)


def flat(lines: Sequence[Line]) -> list[int]:
    """The tokens of lines, behind the token that begins a document."""
    return [END, *(one for line in lines for one in line)]
