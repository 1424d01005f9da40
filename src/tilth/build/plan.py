"""The plan: every setting of a build, with its default, checked before any work starts.

A plan file is TOML with these sections; what it leaves out has the default shown here. An unknown
key, or a value of the wrong kind, stops the run and names the nearest right one. What is written
to a run folder as `plan.resolved.toml` is complete and alone governs a restart.
"""

from __future__ import annotations

import inspect
import math
import tomllib
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from tilth.errors import PlanError, UsageError, nearest

SOURCES = ("files", "installation")
# Settings of `documents` that choose among files; the Python installation has no use for them.
FILE_SETTINGS = ("include", "exclude", "text_column", "group_by")
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
    "evaluate.bytes": (1, math.inf),
    "evaluate.queries": (1, math.inf),
    "evaluate.seed": (0, math.inf),
}
# Above 0, up to the number.
POSITIVE: dict[str, float] = {
    "split.share": 0.5,
    "train.tokens_per_parameter": math.inf,
    "train.epochs": math.inf,
    "train.learning_rate": math.inf,
}
LARGEST_MODEL = 10**12
# TOML's integers have 64 bits.
LARGEST_INTEGER = 2**63 - 1
_KINDS = {
    dict: "a section",
    tuple: "a list",
    str: "text",
    bool: "true or false",
}


@dataclass(frozen=True)
class Documents:
    """Which files are read. Globs in `include` and `exclude` are below the input root.

    `source` is filled in by the first build: `files` or `installation`.
    """

    source: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    text_column: str = ""
    group_by: str = ""
    block_bytes: int = 4_000_000
    installation_bytes: int = 40_000_000


@dataclass(frozen=True)
class Rule:
    """Named conditions over measured columns, in order; see `tilth corpus stats` for columns."""

    conditions: dict[str, str] = field(
        default_factory=lambda: {
            "has words": "words >= 10",
            "mostly letters": "alphabetic_share >= 0.4",
            "lines repeat little": "duplicate_line_bytes_share <= 0.5",
        }
    )
    keep_by: str = "bytes"


@dataclass(frozen=True)
class Split:
    """Share of the bytes that is held out, by whole groups."""

    share: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Tokens:
    """Byte-level BPE, trained on at most `sample_bytes` of the training documents."""

    vocabulary: int = 4096
    sample_bytes: int = 10_000_000


@dataclass(frozen=True)
class Ngram:
    """The modified Kneser-Ney model that the decoder is compared with."""

    order: int = 5


@dataclass(frozen=True)
class Model:
    """A decoder from scratch; `size` is about its number of parameters (`0.5m`, `2m`)."""

    size: str = "0.5m"
    context: int = 256


@dataclass(frozen=True)
class Train:
    """`tokens` = 0: `tokens_per_parameter` for each parameter, at most `epochs` of the data."""

    tokens: int = 0
    tokens_per_parameter: float = 2.0
    epochs: float = 4.0
    # Small steps suit short budgets: at 1 M tokens 2.11 bits per byte, 2.34 with 4096 and 3e-3.
    batch_tokens: int = 1024
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    seed: int = 0
    threads: int = 2


@dataclass(frozen=True)
class Index:
    """The lexical index: BM25 with these parameters."""

    k1: float = 1.2
    b: float = 0.75


@dataclass(frozen=True)
class Evaluate:
    """Held-out bytes that are scored, and how many known-item queries are made."""

    bytes: int = 1_000_000
    queries: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """All settings of `tilth build`. `transforms` and `signals` map names to their options."""

    documents: Documents = Documents()
    transforms: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"repair": {}, "headers": {}}
    )
    signals: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"length": {}, "symbols": {}, "repetition": {}, "language": {}}
    )
    rule: Rule = field(default_factory=Rule)
    split: Split = Split()
    tokens: Tokens = Tokens()
    ngram: Ngram = Ngram()
    model: Model = Model()
    train: Train = Train()
    index: Index = Index()
    evaluate: Evaluate = Evaluate()

    def to_toml(self) -> str:
        import tomli_w

        return tomli_w.dumps(_plain(asdict(self)))

    def with_settings(self, settings: typing.Iterable[str]) -> Plan:
        """The plan with `section.key=value` applied (`--set`); values as in TOML, or plain text."""
        mapping = _plain(asdict(self))
        for setting in settings:
            path, equals, value = setting.partition("=")
            if not equals:
                raise PlanError(f"{setting!r} is not name=value", hint="--set train.tokens=100000")
            *parents, key = path.split(".")
            place = mapping
            for parent in parents:
                if not isinstance(place.get(parent, {}), dict):
                    raise PlanError(f"{path!r}: {parent!r} has no parts", where="--set")
                place = place.setdefault(parent, {})
            place[key] = _value(value)
        return from_mapping(mapping, "--set")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def load(path: str | Path) -> Plan:
    """A plan file. Raises PlanError for what is not TOML and for every wrong key or value."""
    try:
        mapping = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise PlanError("there is no such plan", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"not valid TOML: {error}", where=str(path)) from None
    return from_mapping(mapping, str(path))


def from_mapping(mapping: dict[str, Any], where: str) -> Plan:
    """A plan from nested mappings, every key and value checked, methods constructed once."""
    plan = _build(Plan, mapping, where, "")
    check(plan, where)
    return plan


def _build(kind: Any, mapping: Any, where: str, path: str) -> Any:
    if not isinstance(mapping, dict):
        raise PlanError(f"{path!r} must be a section", where=where)
    known = {entry.name: entry for entry in fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {}
    for key, value in mapping.items():
        name = f"{path}.{key}" if path else key
        if key not in known:
            raise PlanError(f"unknown key {name!r}", where=where, hint=nearest(key, known))
        if is_dataclass(hints[key]):
            values[key] = _build(hints[key], value, where, name)
        else:
            values[key] = _checked(value, hints[key], where, name)
    return replace(kind(), **values)


def _checked(value: Any, hint: Any, where: str, name: str) -> Any:
    base = typing.get_origin(hint) or hint
    if base is Any:
        return value
    if base is tuple and isinstance(value, list):
        value = tuple(value)
    wanted = (int, float) if base is float else base
    if not isinstance(value, wanted) or (base is not bool and isinstance(value, bool)):
        kind = _KINDS.get(base, base.__name__)
        raise PlanError(
            f"{name!r} must be {kind}, not {type(value).__name__} {_short(value)}", where=where
        )
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise PlanError(f"{name!r} must be a number of at most 64 bits", where=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise PlanError(f"{name!r} must be a finite number, not {value}", where=where)
    parts = typing.get_args(hint)
    if base is dict and parts:
        return {k: _checked(part, parts[1], where, f"{name}.{k}") for k, part in value.items()}
    if base is tuple and parts:
        return tuple(
            _checked(part, parts[0], where, f"{name}[{i}]") for i, part in enumerate(value)
        )
    return float(value) if base is float else value


def _short(value: Any) -> str:
    # The type is tested first: the digits of a very large number cannot be printed.
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def check(plan: Plan, where: str) -> None:
    """What can be known before reading a document: names, options and ranges."""
    _check_numbers(plan, where)
    _check_names(plan, where)
    _check_methods_and_rule(plan, where)
    check_source(plan, where)


def check_source(plan: Plan, where: str) -> None:
    """Settings that have no effect for the source of the documents are refused, not ignored.

    To be called again where the source is decided after the plan is read.
    """
    if plan.documents.source != "installation":
        return
    for key in FILE_SETTINGS:
        if getattr(plan.documents, key):
            raise PlanError(
                f"'documents.{key}' has no effect for the Python installation",
                where=where,
                hint="leave it out, or give a folder of documents",
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
    from tilth.lookup import load as find
    from tilth.models.decoder import parse_size
    from tilth.training import SCHEDULES

    _named("train.schedule", where, lambda: find("schedule", SCHEDULES, plan.train.schedule))
    # Infinite sizes end as OverflowError, which `_named` turns into one line.
    size = _named("model.size", where, lambda: parse_size(plan.model.size))
    if not 1 <= size <= LARGEST_MODEL:
        raise PlanError("'model.size' must lie from 1 to 1000b", where=where)
    source = plan.documents.source
    if source and source not in SOURCES:
        hint = nearest(source, SOURCES)
        raise PlanError(f"'documents.source' cannot be {source!r}", where=where, hint=hint)


def _check_methods_and_rule(plan: Plan, where: str) -> None:
    from tilth.corpus.rules import DUPLICATE, parse
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.signals import SIGNALS

    for name, options in plan.transforms.items():
        _method("transform", TRANSFORMS, name, options, where)
    columns = {"id", "source", "position", "format", "group", "origin", "cluster"}
    for name, options in plan.signals.items():
        columns.update(_method("signal", SIGNALS, name, options, where).columns)
    for name, expression in plan.rule.conditions.items():
        if name == DUPLICATE:
            raise PlanError(
                f"'rule.conditions.{DUPLICATE}': the rule adds a condition of this name itself",
                where=where,
                hint="give it any other name",
            )
        parse(expression, columns, name)
    parse(plan.rule.keep_by, columns, "keep_by")


def _method(
    kind: str, table: dict[str, str], name: str, options: dict[str, Any], where: str
) -> Any:
    """The method, made once; an option has the type of its default in the constructor."""
    from tilth.lookup import construct
    from tilth.lookup import load as find

    path = f"{kind}s.{name}"
    maker = _named(path, where, lambda: find(kind, table, name))
    parameters = inspect.signature(maker).parameters
    for option, value in options.items():
        default = parameters[option].default if option in parameters else None
        if isinstance(default, (bool, int, float, str, tuple)):
            _checked(value, type(default), where, f"{path}.{option}")

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
