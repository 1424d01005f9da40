"""Tuning on conversations: what `build.tune_model` needs beside the kinds of task with a head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import TilthError, UsageError

if TYPE_CHECKING:
    from tilth.data.task import Task

LENGTH = 256


def parts(base: str | Path, train: Task, made: dict[str, Any]) -> tuple[Any, Any, Any]:
    """(model, objective, data): a causal model, and conversations as serving will render them."""
    from tilth.models.folder import load_model
    from tilth.objectives.instruct import Instruct
    from tilth.training.plan import context_of

    model = load_model(base, "causal", dtype="float32")
    context = context_of(model) or LENGTH
    if made["length"] > context:
        raise UsageError(f"length {made['length']:,}, but the model's context is {context:,}")
    objective = Instruct(length=made["length"] or min(LENGTH, context))
    return model, objective, documents(base, train)


def usable(base: str | Path, task: Task) -> Task:
    """The conversations that the base's chat form can render; the others go to `problems`.

    Raises what the first one failed with where none can be.
    """
    from dataclasses import replace

    from tilth.documents.document import Problem
    from tilth.tokens.chat import Chat

    chat, kept, problems, first = Chat.load(base), [], [], None
    for number, row in enumerate(task.table.to_pylist()):
        try:
            chat.render(row["messages"])
            kept.append(number)
        except TilthError as error:
            first = first or error
            detail = ": ".join(part for part in (error.where, error.what) if part)
            problems.append(Problem(row["id"], "not rendered", detail, number))
    if first is not None and not kept:
        raise first
    return replace(task, table=task.table.take(kept), problems=(*task.problems, *problems))


def documents(base: str | Path, task: Task) -> Any:
    """The conversations of a task in the token ids of the base's chat form."""
    from tilth.tokens.chat import Chat

    messages = task.table["messages"].to_pylist()
    return Chat.load(base).documents(task.table["id"].to_pylist(), messages)


def measured(base: str | Path, model: Any, objective: Any, test: Task) -> dict[str, float]:
    """Nats an answer token on held-out conversations; nothing where none of them has a target."""
    from tilth.build.held_out import mean_loss

    found = mean_loss(model, objective, documents(base, test))
    return {} if found is None else {"nats an answer token": found}
