"""When does pre-training on a domain help? Law, and the choice of a case's holding.

Zheng, Guha, Anderson, Henderson and Ho (2021). Encoders that learned equally long, from general
text twice, from general text and then law, or from law alone with its own vocabulary, are tuned on
tasks of rising closeness to law. Here the holding of a case is the second half of a summary of a
Supreme Court opinion, among the four nearest of other cases; beside it contract passages and film
reviews. Domain specificity is what the general encoder needs more than the legal one on texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tilth.data.task import Task
from tilth.evaluation.card import Card, Claim, Invariant, Measured, Prepared
from tilth.systems import _casehold_items as items_of
from tilth.systems._casehold_arms import (
    ALONE,
    GAIN,
    NONE,
    SPECIFIC,
    THEN,
    TIMES,
    TWICE,
    Inputs,
    Plan,
    arm,
    measured,
    task_arm,
    word_overlap,
)  # fmt: skip
from tilth.systems._casehold_items import TASKS, Texts
from tilth.systems._encoder_study import Tuning, left_the_floor, nothing_tested

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
        "tilth.models.encoders", "tilth.models.heads", "tilth.objectives.masked",
        "tilth.objectives.tasks", "tilth.objectives.tasks_rows", "tilth.evaluation.specificity",
        "tilth.evaluation.tasks", "tilth.systems._casehold_arms", "tilth.systems._casehold_items",
        "tilth.systems._encoder_study",
    ),
    arxiv="2104.08671",
    when="You wonder whether to pre-train on your field: measure the specificity of your task "
    "first, with a small general and a small domain encoder.",
    when_not="The task's texts are not of the field, or labels are plenty.",
    not_covered="The data set of the paper, built from decisions that are not here; overruling; a "
    "BiLSTM baseline; Bert: at this size and budget, with learned positions, it learned no "
    "context, so the encoders are ModernBerts (rotary positions, every other layer local) with "
    "30 % of the tokens hidden and no sentence task. One rate of pre-training for all; that of "
    "fine-tuning is chosen for each encoder and task from two, on rows set aside, with the first "
    "seed's encoder.",
)  # fmt: skip

HOLDINGS = "accuracy of holdings"
# Margins and the primary claim were set before the first run at scale small.
CLAIMS = (
    Claim(metric=HOLDINGS, method=THEN, baseline=TWICE, margin=0.03,
          kind="learned", equal="tokens", primary=True),
    Claim(metric=HOLDINGS, method=ALONE, baseline=TWICE, margin=0.03,
          kind="learned", equal="tokens"),
    Claim(metric=HOLDINGS, method=THEN, baseline="word overlap", margin=0.0,
          kind="learned"),
    Claim(metric=HOLDINGS, method=TWICE, baseline=NONE, margin=0.0, kind="learned"),
    Claim(metric=GAIN, method="task holdings", baseline="task sentiment", margin=0.0,
          kind="learned"),
    Claim(metric=SPECIFIC, method="task holdings", baseline="task sentiment", margin=0.1,
          kind="learned", unit="nats a token"),
    Claim(metric=SPECIFIC, method="task terms", baseline="task sentiment", margin=0.1,
          kind="learned", unit="nats a token"),
)  # fmt: skip


def prepare(
    scale: str, data: Any, model: str | None, seed: int, *, tokens: int = 300_032,
    train: int = 200, epochs: float = 3.0,
) -> Prepared:  # fmt: skip
    """Each encoder learns from 2 x `tokens`, and is tuned on `train` examples of each task."""
    if scale == "smoke":
        texts, tasks = _smoke()
        plan = Plan(tokens=10 * 128, vocabulary=320, width=32, layers=1, batch_tokens=128, least=0)
        return Prepared(measured(texts, tasks, plan, Tuning(6, 8, (1e-3,), 64), 20, seed))
    texts, tasks, sources = items_of.opinions()
    plan, tuning = Plan(tokens=tokens), Tuning(epochs, 8, (1e-3, 3e-3), 96)
    return Prepared(measured(texts, tasks, plan, tuning, train, seed), sources)


def _smoke() -> tuple[Texts, dict[str, Task]]:
    import pyarrow as pa

    from tilth.data.task import schema
    from tilth.zoo.micro import docstrings

    texts = [" ".join(text.split()[:24]) for _, text in docstrings()]
    texts = [text for text in texts if len(text.split()) == 24][:60]
    rows = [{"id": str(n), "text": text, "label": "ny"[n % 2], "group": str(n), "split": ""}
            for n, text in enumerate(texts)]  # fmt: skip
    classes = Task("classify", "made", pa.Table.from_pylist(rows, schema("classify")))
    tasks = {"sentiment": classes, "terms": classes, "holdings": items_of.items(texts, 10, 8)}
    # Of other words than the tasks, so that nothing tested is learned.
    turned = [text[::-1] for _, text in docstrings()[60:110]]
    return Texts(turned[:20], turned[20:40], turned[40:], turned[40:]), tasks


ARMS = {
    **{name: arm(name) for name in (TWICE, THEN, ALONE, NONE)},
    "word overlap": word_overlap,
    **{f"task {name}": task_arm(name) for name in TASKS},
}


def invariants(inputs: Inputs, measured: Mapping[str, Measured]) -> Iterable[Invariant]:
    """Items are sound, nothing was seen before, and the order of choices does not matter."""
    for name, found in measured.items():
        if TIMES in found.metrics:
            yield left_the_floor(name, found.metrics[TIMES], inputs.least)
    yield nothing_tested(inputs.pairs.values(), [*inputs.texts.general, *inputs.texts.law])
    rows = inputs.holdings.table.to_pylist()
    different = all(len(set(row["choices"])) == items_of.CHOICES for row in rows)
    yield Invariant("five different choices an item", different)
    some = inputs.holdings.take(range(min(12, len(rows))))
    turned = [{**row, "choices": row["choices"][::-1]} for row in some.table.to_pylist()]
    other = replace(some, table=type(some.table).from_pylist(turned, some.table.schema))
    pairs = zip(inputs.tuned.logits(some), inputs.tuned.logits(other))
    same = all(np.allclose(one, two[::-1], atol=1e-5) for one, two in pairs)
    yield Invariant("scores do not depend on the order of choices", same)
