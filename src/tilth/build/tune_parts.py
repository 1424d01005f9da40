"""What a tuning of `build.tune_model` is made of: tokenizer, model, objective, data, budget.

The kind of task says which head the model has and what is learned; the settings say whether a LoRA
or the whole model trains, which layers do, and how long. What the base cannot do (a length beyond
its context, a setting that it has no place for) is refused here, before anything is written.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build.memory import refuse_plan
from tilth.build.tune_settings import (
    EPOCHS,
    LEAST_STEPS,
    LENGTH,
    MICRO_BATCH_TOKENS,
    MOST_EPOCHS,
    rate_for,
)
from tilth.errors import DataError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from tilth.data.task import Task


@dataclass
class TuneParts:
    """All that a tuning takes. `kind`: of the task; `adapter`: only of a LoRA; `budget`: tokens and
    batches, as `training.loop.fit` takes them; `policy`: None where all trains at one rate."""

    kind: str
    base: Path
    model: PreTrainedModel
    tokenizer: Any
    objective: Any
    data: Any
    adapter: Any
    budget: dict[str, Any]
    policy: Any = None

    def estimate(self, precision: str) -> dict[str, Any]:
        """The plan of the tuning with its time, which is measured on this machine; LimitError where
        it does not fit in memory."""
        from tilth.training.plan import estimate, plan

        made_of = (self.model, self.objective, self.data)
        if self.policy is None:  # with one, fewer moments are kept than this would count
            refuse_plan(plan(*made_of, **self.budget), "a smaller --set batch or length")
        return estimate(*made_of, precision=precision, policy=self.policy, **self.budget)


def tune_parts(
    base: str | Path, train: Task, made: dict[str, Any], lora: bool, seed: int, given: set[str]
) -> TuneParts:  # fmt: skip
    """The parts for the examples to learn from. `made`: all settings, where a learning rate and
    epochs of 0 are replaced by those chosen; `given`: names of the settings that the user wrote.

    Raises TilthErrors where base, task and settings do not go together.
    """
    from tilth.models.folder import load_tokenizer
    from tilth.training.epochs import tokens_for_epochs

    tokenizer = load_tokenizer(base)
    model, objective, data = _task_parts(base, tokenizer, train, made, seed, given)
    if data.vocabulary > model.config.vocab_size:
        raise DataError(
            f"its tokenizer has {data.vocabulary:,} tokens, its model only "
            f"{model.config.vocab_size:,}",
            where=str(base), hint="this is not the tokenizer of this model",
        )  # fmt: skip
    adapter = None
    if lora:
        from tilth.models.lora import add_lora

        adapter = add_lora(
            model, rank=made["rank"], alpha=made["alpha"], dropout=made["lora_dropout"],
            whole=_heads(model, train.kind), seed=seed,
        )  # fmt: skip
    if made["learning_rate"] == 0:
        made["learning_rate"] = rate_for(getattr(model.config, "hidden_size", 768), lora)
    if made["epochs"] == 0:
        steps = max(1.0, train.table.num_rows / made["batch"])
        made["epochs"] = float(min(MOST_EPOCHS, max(EPOCHS, round(LEAST_STEPS / steps))))
    batch = made["batch"] * objective.length
    budget = {
        "tokens": tokens_for_epochs(objective, data, made["epochs"], batch, seed),
        "batch_tokens": batch, "micro_batch_tokens": min(batch, max(MICRO_BATCH_TOKENS,
                                                                    objective.length)),
    }  # fmt: skip
    return TuneParts(train.kind, Path(base), model, tokenizer, objective, data, adapter, budget,
                    _policy(model, made))  # fmt: skip


def _policy(model: PreTrainedModel, made: dict[str, Any]) -> Any:
    """What trains and how fast, where not all of it does at one rate."""
    from tilth.training.fine_tuning import freeze_lower
    from tilth.training.policy import Policy, layerwise

    rules = list(layerwise(model, made["decay"]).rules) if made["decay"] < 1 else []
    # The last rule that matches counts: what is frozen has no rate.
    rules += freeze_lower(model, made["freeze"]).rules if made["freeze"] else []
    return Policy(rules) if rules else None


def _task_parts(
    base: str | Path, tokenizer: Any, train: Task, made: dict[str, Any], seed: int, given: set[str]
) -> tuple[Any, Any, Any]:
    """(model, objective, data) for the kind of task."""
    from tilth.evaluation.tasks import HEADS, objective_for
    from tilth.lookup import load
    from tilth.models.folder import load_model
    from tilth.models.heads import dropout_settings, with_head
    from tilth.objectives import TASK_OBJECTIVES
    from tilth.objectives.tasks_rows import task_documents
    from tilth.training.plan import context_of

    if train.kind == "generate":
        from tilth.build.instructions import parts

        if "dropout" in given:
            raise UsageError("dropout has no effect on conversations", where="--set")
        return parts(base, train, made)
    body = load_model(base, "encoder", dtype="float32", seed=seed)
    context = context_of(body) or LENGTH
    if made["length"] > context:
        raise UsageError(f"length {made['length']:,}, but the model's context is {context:,}")
    options: dict[str, Any] = {"length": made["length"] or min(LENGTH, context)}
    known = inspect.signature(load("task", TASK_OBJECTIVES, train.kind)).parameters
    if "length" not in known:
        options["segment"] = options.pop("length")
    if train.kind == "bag":
        options |= {"width": body.config.hidden_size, "seed": seed}
    pad = body.config.pad_token_id
    objective = objective_for(train, tokenizer, folder=base, pad=pad, **options)
    dropout = dropout_settings(body.config, made["dropout"])
    if "dropout" in given and not dropout:
        raise UsageError(f"a {body.config.model_type} has none: dropout has no effect",
                         where="--set")  # fmt: skip
    model = with_head(
        body, HEADS[train.kind], objective.labels, pad=objective.parameters()["pad"], seed=seed,
        **dropout,
    )  # fmt: skip
    return model, objective, task_documents(train, tokenizer)


def _heads(model: PreTrainedModel, kind: str) -> list[str]:
    """Names of the modules that are new, and train whole beside a LoRA."""
    if kind == "generate":
        return []
    new = [name for name, part in model.named_children() if part is not model.base_model]
    poolers = [name for name, _ in model.named_modules() if name.endswith(".pooler")]
    parameters = dict(model.named_modules())
    return [name for name in [*new, *poolers] if list(parameters[name].parameters())]
