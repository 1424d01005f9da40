"""How often a model that was tuned to answer gives the very answer that data hold: exact match.

Of each conversation the last answer is asked for, greedily, with all that stands before it, in the
ids that training and serving use (`tokens.chat`). White space at both ends does not count,
everything else does: an answer that says the same in other words is wrong. Use it where answers are
short and have one form (a name, a number, a label); for free text it says little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.documents.document import Problem
from tilth.errors import DataError, TilthError, UsageError
from tilth.types import Progress, silent

if TYPE_CHECKING:
    from tilth.data.task import Task

TOKENS = 256  # of an answer
AT_ONCE = 16  # requests in one batch


@dataclass(frozen=True)
class Generated:
    """`metrics`: name -> value, exact match first. `answers`: of each row that was asked `id`,
    `expected`, `answer`, `right`, `cut` (at the most tokens). `problems`: rows left out."""

    metrics: dict[str, float]
    answers: list[dict[str, Any]]
    problems: list[Problem]


def exact_match(expected: Sequence[str], answers: Sequence[str]) -> float:
    """Share of answers that equal what is expected, white space at both ends aside."""
    if not expected:
        raise DataError("exact match of no answer is none")
    pairs = zip(expected, answers, strict=True)
    return sum(one.strip() == other.strip() for one, other in pairs) / len(expected)


def evaluate_generated(
    folder: str | Path, task: Task, *, tokens: int = TOKENS, progress: Progress = silent
) -> Generated:
    """Exact match of a causal model on the rows of a `generate` task.

    Beside it stands what the most frequent answer alone would reach. `tokens`: the most of an
    answer, less where the context ends before. Rows without an answer, that the folder's chat form
    cannot render, or whose question fills the context are left out and listed. Raises DataError
    where none is left, and as `serving.engine.Engine` does.
    """
    from tilth.serving.engine import Engine
    from tilth.serving.live import Completion
    from tilth.serving.sampler import Sampling
    from tilth.tokens.chat import Chat

    if task.kind != "generate":
        raise UsageError(f"the model answers; it does not do a {task.kind} task", where=task.name)
    if tokens < 1:
        raise UsageError(f"an answer has at least one token, not {tokens}")
    engine = Engine(folder, sequences=AT_ONCE)
    chat, problems = Chat.load(folder), []
    asked: dict[int, tuple[dict[str, Any], Completion]] = {}
    for number, row in enumerate(task.table.select(["id", "messages"]).to_pylist()):
        roles = [message["role"] for message in row["messages"]]
        if "assistant" not in roles:
            problems.append(Problem(row["id"], "no answer", "", number))
            continue
        last = len(roles) - 1 - roles[::-1].index("assistant")
        try:
            ids = chat.render(row["messages"][:last], answer=True).ids
            # The last token is given back and never read.
            room = engine.context - len(ids) + 1
            request = engine.submit(
                ids.tolist(), max(1, min(tokens, room)), Sampling(temperature=0.0)
            )
        except TilthError as error:
            problems.append(Problem(row["id"], "not asked", str(error), number))
            continue
        expected = row["messages"][last]["content"]
        asked[request] = {"id": row["id"], "expected": expected}, Completion()
    _run(engine, asked, progress)
    answers = []
    for row, completion in asked.values():
        if completion.reason == "failed":
            problems.append(Problem(row["id"], "failed", completion.detail))
            continue
        right = row["expected"].strip() == completion.text.strip()
        answers.append({**row, "answer": completion.text, "right": right,
                        "cut": completion.reason == "length"})  # fmt: skip
    if not answers:
        why = f": {problems[0].detail or problems[0].reason}" if problems else ""
        raise DataError(f"no row could be asked{why}", where=task.name)
    expected = [row["expected"] for row in answers]
    most = max(Counter(one.strip() for one in expected).values())
    metrics = {
        "exact match": exact_match(expected, [row["answer"] for row in answers]),
        "share of the most frequent answer": most / len(answers),
        "cut answers": float(sum(row["cut"] for row in answers)),
    }
    return Generated(metrics, answers, problems)


def _run(engine: Any, asked: dict[int, Any], progress: Progress) -> None:
    """Answer all that was submitted."""
    done = 0
    while engine.busy:
        for event in engine.step():
            asked[event.request][1].add(event)
            done += bool(event.reason)
        progress("answer", done, len(asked))
