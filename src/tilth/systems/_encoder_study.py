"""What systems that compare ways to pre-train a small encoder share: train it, fine-tune, score.

The encoder is a ModernBert with the settings `encoders.NEAR`: at these budgets a Bert with learned
positions learns how often tokens are, and no context, so that arms would compare noise. Each system
checks that its encoders left that floor (`times_the_most_frequent`); where one did not, nothing is
decided. Texts that are tested are in no corpus (`unseen`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilth.data.sets import open_set
from tilth.data.task import Task
from tilth.errors import DataError
from tilth.evaluation.card import Invariant
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune
from tilth.models.encoders import NEAR, build_shape
from tilth.objectives.batch import Objective
from tilth.signals.contamination import shared_ngrams
from tilth.store.digest import digest
from tilth.systems._rates import TUNING_SEED, Chosen
from tilth.tokens import bpe
from tilth.tokens.documents import TokenDocuments
from tilth.training.loop import History, fit

SPECIAL = (bpe.PAD, bpe.MASK)
PAD, MASK = 1, 2
# An encoder that names fewer hidden tokens than so many times the most frequent token's share has
# learned how often tokens are.
LEAST = 3.0
RUN = 13  # words in a row that two texts must not share
ASIDE = 4  # every so many-th group is for choosing rates
_chosen = Chosen()


@dataclass(frozen=True)
class TaskPair:
    """A labelled task, drawn and split: `train` and `test` share no text and no group, and what is
    `aside`, to choose rates with, none with both."""

    name: str
    train: Task
    test: Task
    aside: Task


@dataclass(frozen=True)
class Tuning:
    """How every arm is fine-tuned; each arm takes the best of `rates` for itself."""

    epochs: float = 6.0
    batch: int = 16
    rates: tuple[float, ...] = (3e-3,)
    length: int = 64


def task_of(name: str) -> Task:
    """The named set, which must be a task."""
    found = open_set(name)
    assert isinstance(found, Task)
    return found


def encoder(
    width: int, layers: int, tokenizer: Any, length: int, seed: int, kind: str = "modernbert"
) -> Any:
    """An encoder with random weights, for rows of `length`."""
    return build_shape(
        width, layers, vocabulary=tokenizer.get_vocab_size(), context=length, kind=kind, pad=PAD,
        seed=seed, settings=NEAR,
    )  # fmt: skip


def pretrain(
    model: Any, objective: Objective, data: Any, *, tokens: int, batch_tokens: int, rate: float,
    seed: int,
) -> History:  # fmt: skip
    """Train in place: cosine, the learning rate of the arm, order and dropout by the seed."""
    return fit(
        model, objective, data, tokens=tokens, batch_tokens=batch_tokens, learning_rate=rate,
        micro_batch_tokens=2048, seed=seed,
    )  # fmt: skip


def times_the_most_frequent(model: Any, held: TokenDocuments, length: int) -> float:
    """How many times as many hidden tokens of held-out text a model names as one who always names
    the most frequent token: about 1 on the floor."""
    from tilth.zoo.gate import above_the_most_frequent

    found = above_the_most_frequent(model, held, length=length, mask=MASK, least_ratio=1.0, seed=0)
    return found["model"] / found["bound"]


def left_the_floor(name: str, times: float, least: float) -> Invariant:
    """That an encoder learned more than how often tokens are. `least`: 0 where nothing is asked."""
    return Invariant(f"{name}: the encoder left the floor", bool(times >= least))


def tuned(
    model: Any, tokenizer: Any, pair: TaskPair, tuning: Tuning, seed: int, key: str
) -> TaskModel:
    """A copy, fine-tuned on the training rows.

    `key`: what the arm is called; its rate is chosen once a process, for the first seed's model, on
    rows that no seed trains on or tests.
    """
    few, held = (pair.aside.take(range(n, pair.aside.table.num_rows, 2)) for n in (0, 1))
    rate = chosen(
        (key, pair.name, pair.aside.digest, tuning), tuning.rates,
        lambda rate: evaluate(_tuned(model, tokenizer, few, tuning, rate, TUNING_SEED), held).value,
    )  # fmt: skip
    return _tuned(model, tokenizer, pair.train, tuning, rate, seed)


def chosen(place: tuple, rates: Sequence[float], measure: Callable[[float], float]) -> float:
    """The rate with the highest `measure`, once a process for each `place`."""
    return _chosen.rate(place, rates, lambda rate: -measure(rate))


def tuned_value(
    model: Any, tokenizer: Any, pair: TaskPair, tuning: Tuning, seed: int, key: str
) -> tuple[float, int]:
    """(the task's own metric on the test rows of what is `tuned`, tokens it took)."""
    made = tuned(model, tokenizer, pair, tuning, seed, key)
    return evaluate(made, pair.test).value, made.history.plan["tokens"]


def _tuned(
    model: Any, tokenizer: Any, train: Task, tuning: Tuning, rate: float, seed: int
) -> TaskModel:
    return fine_tune(
        model, train, tokenizer=tokenizer, epochs=tuning.epochs, batch=tuning.batch,
        learning_rate=rate, length=tuning.length, seed=seed,
    )  # fmt: skip


def seen(texts: Sequence[str], others: Iterable[str]) -> np.ndarray:
    """Which of `texts` are among `others`, letters and white space alike, or share `RUN` words in a
    row with one of them; one boolean a text."""
    others = list(others)
    known = {normal(text) for text in others}
    equal = np.array([normal(text) in known for text in texts], bool)
    return equal | shared_ngrams(texts, others, RUN)


def normal(text: str) -> str:
    """Letters and digits alone, lower case: two texts that differ in blanks and signs are one."""
    return "".join(filter(str.isalnum, text.casefold()))


def unseen(task: Task, texts: Sequence[str]) -> Task:
    """The rows of a task whose text is not `seen` in `texts`."""
    return part(task, np.flatnonzero(~seen(task.texts(), texts)).tolist())


def nothing_tested(pairs: Iterable[TaskPair], texts: Sequence[str]) -> Invariant:
    """That no tested text is in a corpus, nor in what a tokenizer or a list of words learned."""
    tested = [text for pair in pairs for text in pair.test.texts()]
    return Invariant("no tested text is in the corpus", not seen(tested, texts).any())


def drawn(task: Task, name: str, train: int, test: int, seed: int) -> TaskPair:
    """Rows by a digest of (seed, group), test rows first; no group is in both, and no text.

    At most so many of each, and at least a third of the groups for tests where there are few. Every
    fourth group, the same for all seeds, is set aside to choose rates with, at most `train` rows of
    it. Raises DataError for too few.
    """
    rows = task.table.num_rows
    if rows < 8:
        raise DataError(f"{rows} rows are too few to learn from and to test on", where=task.name)
    groups, texts = task.table["group"].to_pylist(), [normal(text) for text in task.texts()]
    ranked = sorted(set(groups), key=lambda group: digest("aside", group))
    apart = set(ranked[::ASIDE])
    aside = [n for n in range(rows) if groups[n] in apart]
    held = {texts[n] for n in aside}
    left = [n for n in range(rows) if groups[n] not in apart and texts[n] not in held]
    order = sorted(left, key=lambda n: (digest("drawn", seed, groups[n]), n))
    edge = min(test, len(order) // 3)
    while 0 < edge < len(order) and groups[order[edge - 1]] == groups[order[edge]]:
        edge += 1
    tested = {texts[n] for n in order[:edge]}
    rest = [n for n in order[edge:] if texts[n] not in tested]
    kept = np.random.default_rng([seed, 3]).permutation(rest)[:train].tolist()
    few = np.random.default_rng(3).permutation(aside)[:train].tolist()
    return TaskPair(name, part(task, kept), part(task, order[:edge]), part(task, few))


def by_blocks(task: Task, size: int = 40) -> Task:
    """The task with blocks of `size` neighbouring rows as groups, where nothing says which rows
    come from one document."""
    import pyarrow as pa

    names = [f"block {n // size}" for n in range(task.table.num_rows)]
    place = task.table.column_names.index("group")
    table = task.table.set_column(place, "group", pa.array(names, pa.large_string()))
    return replace(task, table=table)


def halves(task: Task, what: str) -> tuple[Task, Task]:
    """(about half of the rows for a corpus, the rest for tasks), by group."""
    parted = task.with_splits({f"{what} corpus": 1.0, f"{what} task": 1.0})
    return parted.split(f"{what} corpus"), parted.split(f"{what} task")


def short(task: Task, most: int) -> Task:
    """The sentences of a tag task that have at most so many characters: longer ones would be cut
    to fit a row, and entities behind the cut could not be found by any arm."""
    tokens = task.table["tokens"].to_pylist()
    return part(task, [n for n, some in enumerate(tokens) if len(" ".join(some)) <= most])


def part(task: Task, numbers: Sequence[int]) -> Task:
    """Some rows of a task, in the order of the task."""
    return task.take(sorted(numbers))


def tokens_of(texts: Sequence[str], tokenizer: Any, name: str = "") -> TokenDocuments:
    """Texts as documents; `name` keeps the ids of several corpora apart."""
    return TokenDocuments.of([f"{name}{n}" for n in range(len(texts))], list(texts), tokenizer)


def made_tasks(seed: int, words: Sequence[str], rows: int = 64) -> tuple[Task, Task]:
    """A tag and a classify task with known answers, for runs at scale smoke."""
    import pyarrow as pa

    from tilth.data.task import schema

    chance = np.random.default_rng(seed)
    tagged, classified = [], []
    for number in range(rows):
        tokens = list(map(str, chance.choice(words, 6)))
        own = {"id": str(number), "group": str(number), "split": ""}
        tags = ["B-X" if word == words[0] else "O" for word in tokens]
        tagged.append({**own, "tokens": tokens, "tags": tags})
        label = "yes" if words[1] in tokens else "no"
        classified.append({**own, "text": " ".join(tokens), "label": label})
    return (
        Task("tag", "made tags", pa.Table.from_pylist(tagged, schema("tag"))),
        Task("classify", "made labels", pa.Table.from_pylist(classified, schema("classify"))),
    )
