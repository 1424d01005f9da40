"""The plan: every setting of a build, with its default, checked before any work starts.

A plan file is TOML with these sections; what it leaves out has the default shown here. An unknown
key, or a value of the wrong kind, stops the run and names the nearest right one. What is written
to a run folder as `plan.resolved.toml` is complete and alone governs a restart.
"""

from __future__ import annotations

import tomllib
import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from tilth.errors import PlanError, nearest


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    origin = typing.get_origin(hint)
    base = origin or hint
    if isinstance(base, types.UnionType) or base is Any:
        return value
    if base is tuple and isinstance(value, list):
        return tuple(value)
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, base) or (base is int and isinstance(value, bool)):
        raise PlanError(
            f"{name!r} must be {base.__name__}, not {type(value).__name__} {value!r}", where=where
        )
    return value


def check(plan: Plan, where: str) -> None:
    """What can be known before reading a document: names, options and ranges."""
    from tilth.corpus.transforms import TRANSFORMS
    from tilth.lookup import construct
    from tilth.signals import SIGNALS

    for name, options in plan.transforms.items():
        construct("transform", TRANSFORMS, name, options)
    columns = {"id", "source", "position", "format", "group", "origin", "cluster"}
    for name, options in plan.signals.items():
        columns.update(construct("signal", SIGNALS, name, options).columns)
    from tilth.corpus.rules import parse

    for name, expression in plan.rule.conditions.items():
        parse(expression, columns, name)
    parse(plan.rule.keep_by, columns, "keep_by")
    ranges = {
        "split.share": (plan.split.share, 0.0, 0.5),
        "tokens.vocabulary": (plan.tokens.vocabulary, 260, 65_000),
        "ngram.order": (plan.ngram.order, 1, 8),
        "model.context": (plan.model.context, 16, 1_000_000),
        "train.batch_tokens": (plan.train.batch_tokens, plan.model.context, 10**9),
    }
    for name, (value, low, high) in ranges.items():
        if not low <= value <= high:
            raise PlanError(f"{name!r} must lie from {low} to {high}, not {value}", where=where)
