"""When does pre-training on a domain help? Law, and the choice of a case's holding.

Zheng, Guha, Anderson, Henderson and Ho (2021). Encoders that learned equally long, from general
text twice, from general text and then law, or from law alone with its own vocabulary, are tuned on
tasks of rising closeness to law. Here the holding of a case is the second half of a summary of a
Supreme Court opinion, among the four nearest of other cases; beside it contract passages and film
reviews. Domain specificity is what the general encoder needs more than the legal one on texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilth.data.task import Task
from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.evaluation.specificity import specificity
from tilth.evaluation.tasks import TaskModel, evaluate, fine_tune
from tilth.store.digest import digest
from tilth.systems import _casehold_items as items_of
from tilth.systems._casehold_items import MASK_ID, PAD_ID, TASKS, Encoder, Plan
from tilth.tokens.documents import TokenDocuments

CARD = Card(
    slug="casehold",
    title="When Does Pretraining Help? Assessing Self-Supervised Learning for Law and the "
    "CaseHOLD Dataset",
    year=2021,
    family="pretrain",
    claim="Pre-training on law helps where a task is hard and speaks the language of law, as the "
    "choice of a holding does, and hardly elsewhere; how specific a task is can be measured first.",
    part="kind choose of fine_tune (tilth.evaluation.tasks), tilth.evaluation.specificity",
    modules=(
        "tilth.models.heads", "tilth.objectives.tasks", "tilth.objectives.tasks_rows",
        "tilth.evaluation.specificity", "tilth.evaluation.tasks", "tilth.systems._casehold_items",
    ),
    arxiv="2104.08671",
    when="You wonder whether to pre-train on your field: measure the specificity of your task "
    "first, with a small general and a small domain encoder.",
    when_not="The task's texts are not of the field, or labels are plenty.",
    not_covered="The data set of the paper, built from decisions that are not here; overruling; a "
    "BiLSTM baseline; encoders of full size. Pre-training is run once, tuning five times, at one "
    "rate for all encoders.",
)  # fmt: skip

# Of one pre-training of each encoder: seeds repeat the tuning only.
HOLDINGS, GAIN, SPECIFIC = (
    "accuracy of holdings, these encoders", "gain of law over general", "specificity",
)  # fmt: skip
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=HOLDINGS, method="general, then law", baseline="general twice", margin=0.03,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=HOLDINGS, method="law alone", baseline="general twice", margin=0.03,
          kind="learned", equal="tokens"),
    Claim(metric=HOLDINGS, method="general, then law", baseline="word overlap", margin=0.0,
          kind="learned"),
    Claim(metric=GAIN, method="task holdings", baseline="task sentiment", margin=0.0,
          kind="learned"),
    Claim(metric=SPECIFIC, method="task holdings", baseline="task sentiment", margin=0.1,
          kind="learned", unit="nats a token"),
    Claim(metric=SPECIFIC, method="task terms", baseline="task sentiment", margin=0.1,
          kind="learned", unit="nats a token"),
)  # fmt: skip
SEEDS = 5
ARM_NAMES = ("general twice", "general, then law", "law alone")


@dataclass(frozen=True)
class Inputs:
    """`right`: (encoder, task) -> 1 or 0 a test example; `losses`: task -> specificity a text."""

    encoders: Mapping[str, Encoder]
    holdings: Task
    right: Mapping[tuple[str, str], list[float]]
    specific: Mapping[str, np.ndarray]
    tuned: TaskModel
    learned: str


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 500_000,
    train: int = 200, epochs: float = 3.0, rate: float = 1e-3,
) -> Prepared:  # fmt: skip
    """Each encoder learns from 2 x `tokens`, and is tuned on `train` examples of each task."""
    if scale == "smoke":
        made, tasks, law, sources, options = _smoke()
        models: tuple = ()
    else:
        made, tasks, law, sources, general = items_of.opinions(Plan(tokens=tokens))
        models = (general,)
        options = {"train": train, "epochs": epochs, "learning_rate": rate}
    parts = {name: _parts(task, options["train"], seed) for name, task in tasks.items()}
    right, tuned = {}, {}
    for name in ARM_NAMES:
        for task, (few, held) in parts.items():
            tuned[name, task] = fine_tune(
                made[name].model, few, tokenizer=made[name].tokenizer, seed=seed, batch=8,
                length=64, epochs=options["epochs"], learning_rate=options["learning_rate"],
            )  # fmt: skip
            right[name, task] = evaluate(tuned[name, task], held).per_example
    specific = {
        task: specificity(
            made["general twice"].model, made["general, then law"].model,
            TokenDocuments.of([str(n) for n in range(held.table.num_rows)], held.texts(),
                              made["general twice"].tokenizer),
            mask=MASK_ID, special=(PAD_ID,), seed=seed,
        )
        for task, (_, held) in parts.items()
    }  # fmt: skip
    inputs = Inputs(made, parts["holdings"][1], right, specific,
                    tuned["general twice", "holdings"], "\n".join(law))  # fmt: skip
    return Prepared(inputs, sources, models)


def _parts(task: Task, train: int, seed: int) -> tuple[Task, Task]:
    """(a sample of the first half by the seed, at most 300 of the second): no group crosses."""
    from dataclasses import replace

    has = {"train", "test"} <= set(task.splits())
    both = task if has else task.with_splits({"train": 1.0, "test": 1.0})
    pool, held = both.split("train"), both.split("test")
    order = sorted(range(pool.table.num_rows), key=lambda n: digest("casehold", seed, n))
    return (replace(pool, table=pool.table.take(order[:train])),
            replace(held, table=held.table.slice(0, 300)))  # fmt: skip


def _smoke() -> tuple:
    from tilth.zoo import tiny
    from tilth.zoo.micro import docstrings

    model, tokenizer, _ = tiny("masked")
    made = {name: Encoder(model, tokenizer, 1, 1.0) for name in ARM_NAMES}
    texts = [" ".join(text.split()[:24]) for _, text in docstrings()]
    texts = [text for text in texts if len(text.split()) == 24][:60]
    rows = [{"id": str(n), "text": text, "label": "ny"[n % 2], "group": str(n), "split": ""}
            for n, text in enumerate(texts)]  # fmt: skip
    import pyarrow as pa

    from tilth.data.task import schema

    classes = Task("classify", "made", pa.Table.from_pylist(rows, schema("classify")))
    tasks = {"sentiment": classes, "terms": classes, "holdings": items_of.items(texts, 10, 8)}
    options = {"train": 20, "epochs": 4, "learning_rate": 1e-3}
    return made, tasks, [], (), options


def arm(name: str) -> Callable[[Inputs, int], Measured]:
    def measure(inputs: Inputs, seed: int) -> Measured:
        metrics = {
            f"accuracy of {task}, these encoders": inputs.right[name, task] for task in TASKS
        }
        one = inputs.encoders[name]
        return Measured(metrics, tokens=one.tokens, flops=one.flops)

    return measure


def task_arm(task: str) -> Callable[[Inputs, int], Measured]:
    """What law gives on one task, and how specific it is."""

    def measure(inputs: Inputs, seed: int) -> Measured:
        means = [float(np.mean(inputs.right[name, task])) for name in ARM_NAMES[:2]]
        return Measured({GAIN: means[1] - means[0], SPECIFIC: float(inputs.specific[task].mean())})

    return measure


def word_overlap(inputs: Inputs, seed: int) -> Measured:
    return Measured({HOLDINGS: items_of.overlap(inputs.holdings)})


ARMS = {
    **{name: arm(name) for name in ARM_NAMES},
    "word overlap": word_overlap,
    **{f"task {name}": task_arm(name) for name in TASKS},
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Items are sound, nothing was seen before, and the order of choices does not matter."""
    from dataclasses import replace

    rows = inputs.holdings.table.to_pylist()
    different = all(len(set(row["choices"])) == items_of.CHOICES for row in rows)
    yield Invariant("five different choices an item", different)
    held = [row["choices"][row["answer"]] for row in rows]
    yield Invariant(
        "no holding was seen in pre-training", not any(h in inputs.learned for h in held)
    )
    some = replace(inputs.holdings, table=inputs.holdings.table.slice(0, 12))
    turned = [{**row, "choices": row["choices"][::-1]} for row in some.table.to_pylist()]
    other = replace(some, table=type(some.table).from_pylist(turned, some.table.schema))
    pairs = zip(inputs.tuned.logits(some), inputs.tuned.logits(other))
    same = all(np.allclose(one, two[::-1], atol=1e-5) for one, two in pairs)
    yield Invariant("scores do not depend on the order of choices", same)
