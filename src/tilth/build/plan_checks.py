"""What of a plan can be known before a document is read: names, options and ranges."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.build.plan import checked
from tilth.errors import PlanError, UsageError, nearest

if TYPE_CHECKING:
    from tilth.build.plan import Plan
    from tilth.corpus.rules import Rule

SOURCES = ("files", "installation")
# Settings of `documents` that choose among files; the Python installation has no use for them.
FILE_SETTINGS = ("include", "exclude", "text_column", "group_by", "html")
# From the first to the second number, both allowed.
RANGES: dict[str, tuple[float, float]] = {
    "documents.block_bytes": (1, math.inf),
    "documents.installation_bytes": (1, math.inf),
    "split.seed": (0, math.inf),
    "tokens.vocabulary": (260, 65_000),
    "tokens.sample_bytes": (1, math.inf),
    "ngram.order": (1, 8),
    "model.context": (16, 1_000_000),
    "train.tokens": (0, math.inf),
    "train.batch_tokens": (16, 10**9),
    "train.seed": (0, math.inf),
    "train.threads": (1, math.inf),
    "index.k1": (0, 1000),
    "index.b": (0, 1),
    "dense.passage": (100, 100_000),
    "dense.pairs": (0, math.inf),
    "dense.dimensions": (8, 4096),
    "dense.layers": (0, 64),
    "dense.seed": (0, math.inf),
    "evaluate.bytes": (1, math.inf),
    "evaluate.queries": (1, math.inf),
    "evaluate.curation_tokens": (0, math.inf),
    "evaluate.curation_seeds": (1, 100),
    "evaluate.seed": (0, math.inf),
}
# Above 0, up to the number.
POSITIVE: dict[str, float] = {
    "split.share": 0.5,
    "train.tokens_per_parameter": math.inf,
    "train.epochs": math.inf,
    "train.learning_rate": math.inf,
    "dense.epochs": math.inf,
}
# Settings of `dense` that say how an encoder is trained; one that is given has no use for them.
TRAINING_SETTINGS = ("epochs", "dimensions", "layers", "seed")
LARGEST_MODEL = 10**12
# The width of an attention head in models that tilth builds.
HEAD = 32


def check(plan: Plan, where: str) -> None:
    """What can be known before reading a document: names, options and ranges."""
    _check_numbers(plan, where)
    _check_names(plan, where)
    _check_methods_and_rule(plan, where)
    check_dense(plan, where)
    check_source(plan, where)


def check_source(plan: Plan, where: str) -> None:
    """Settings that have no effect for the source of the documents are refused, not ignored.

    To be called again where the source is decided after the plan is read.
    """
    if plan.documents.source != "installation":
        return
    for key in FILE_SETTINGS:
        if getattr(plan.documents, key) != getattr(type(plan.documents)(), key):
            raise PlanError(
                f"'documents.{key}' has no effect for the Python installation",
                where=where,
                hint="leave it out, or give a folder of documents",
            )


def check_dense(plan: Plan, where: str) -> None:
    """The dense index: its names, and settings that would have no effect."""
    from tilth.retrieval.fusion import METHODS

    dense, default = plan.dense, type(plan.dense)()
    if dense.fusion not in METHODS:
        hint = nearest(dense.fusion, METHODS)
        raise PlanError(f"'dense.fusion' cannot be {dense.fusion!r}", where=where, hint=hint)
    if dense.layers and dense.dimensions % HEAD:
        raise PlanError(
            f"'dense.dimensions' must be a multiple of {HEAD} with layers, not {dense.dimensions}",
            where=where,
        )
    if not dense.encoder:
        return
    if not Path(dense.encoder).is_dir():
        raise PlanError(f"'dense.encoder': there is no folder {dense.encoder!r}", where=where)
    for key in TRAINING_SETTINGS:
        if getattr(dense, key) != getattr(default, key):
            raise PlanError(
                f"'dense.{key}' has no effect where 'dense.encoder' is given",
                where=where,
                hint="leave one of them out",
            )


def _check_numbers(plan: Plan, where: str) -> None:
    for name, (low, high) in RANGES.items():
        value = _at(plan, name)
        if not low <= value <= high:
            allowed = f"lie from {low} to {high}" if high < math.inf else f"be at least {low}"
            raise PlanError(f"{name!r} must {allowed}, not {value}", where=where)
    for name, high in POSITIVE.items():
        value = _at(plan, name)
        if not 0 < value <= high:
            allowed = f"lie above 0, up to {high}" if high < math.inf else "be above 0"
            raise PlanError(f"{name!r} must {allowed}, not {value}", where=where)
    batch, context = plan.train.batch_tokens, plan.model.context
    if batch < context:
        raise PlanError(
            f"'train.batch_tokens' must be at least 'model.context' ({context}), not {batch}",
            where=where,
        )


def _at(plan: Plan, name: str) -> Any:
    section, key = name.split(".")
    return getattr(getattr(plan, section), key)


def _check_names(plan: Plan, where: str) -> None:
    from tilth.documents.inputs import HTML
    from tilth.lookup import load as find
    from tilth.models.decoder import parse_size
    from tilth.training import SCHEDULES

    _named("train.schedule", where, lambda: find("schedule", SCHEDULES, plan.train.schedule))
    # Infinite sizes end as OverflowError, which `_named` turns into one line.
    size = _named("model.size", where, lambda: parse_size(plan.model.size))
    if not 1 <= size <= LARGEST_MODEL:
        raise PlanError("'model.size' must lie from 1 to 1000b", where=where)
    if plan.documents.html not in HTML:
        hint = nearest(plan.documents.html, HTML)
        raise PlanError(
            f"'documents.html' cannot be {plan.documents.html!r}", where=where, hint=hint
        )
    source = plan.documents.source
    if source and source not in SOURCES:
        hint = nearest(source, SOURCES)
        raise PlanError(f"'documents.source' cannot be {source!r}", where=where, hint=hint)


def _check_methods_and_rule(plan: Plan, where: str) -> None:
    from tilth.corpus.duplicates import DUPLICATES
    from tilth.corpus.rules import DUPLICATE, parse
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.signals import SIGNALS

    for name, options in plan.transforms.items():
        method("transform", TRANSFORMS, name, options, where, f"transforms.{name}")
    wanted = plan.duplicates
    duplicates = method(
        "duplicates", DUPLICATES, wanted.method, wanted.options, where, "duplicates"
    )
    columns = {"id", "source", "position", "format", "group", "origin", *duplicates.columns}
    for name, options in plan.signals.items():
        path = f"signals.{name}"
        columns.update(method("signal", SIGNALS, name, options, where, path).columns)
    for name, expression in rule_of(plan, where).conditions.items():
        if name == DUPLICATE:
            raise PlanError(
                f"'rule.conditions.{DUPLICATE}': the rule adds a condition of this name itself",
                where=where,
                hint="give it any other name",
            )
        parse(expression, columns, name)
    parse(plan.rule.keep_by, columns, "keep_by")


def rule_of(plan: Plan, where: str = "plan") -> Rule:
    """The rule of a plan: the conditions of its named sets, then its own, which win."""
    from tilth.corpus.rules import Rule
    from tilth.signals.rule_sets import conditions_of

    conditions = _named("rule.sets", where, lambda: conditions_of(plan.rule.sets))
    return Rule({**conditions, **plan.rule.conditions}, plan.rule.keep_by)


def method(
    kind: str, table: dict[str, str], name: str, options: dict[str, Any], where: str, path: str = ""
) -> Any:
    """The method, made once; an option has the type of its default in the constructor.

    Raises PlanError, which names `path` (the name of the method, where it is not given).
    """
    path = path or name
    from tilth.lookup import construct
    from tilth.lookup import load as find

    maker = _named(path, where, lambda: find(kind, table, name))
    parameters = inspect.signature(maker).parameters
    for option, value in options.items():
        default = parameters[option].default if option in parameters else None
        if isinstance(default, (bool, int, float, str, tuple)):
            checked(value, type(default), where, f"{path}.{option}")

    def make() -> Any:
        made = construct(kind, table, name, options)
        made.parameters()
        return made

    return _named(path, where, make)


def _named(path: str, where: str, make: Callable[[], Any]) -> Any:
    """What `make` gives; its refusals become a PlanError that names the key."""
    try:
        return make()
    except UsageError as error:
        raise PlanError(f"{path!r}: {error.what}", where=where, hint=error.hint) from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        line = " ".join(str(error).split())
        raise PlanError(f"{path!r}: a value is of the wrong kind: {line}", where=where) from None
