"""The plan: every setting of a build, with its default, checked before any work starts.

A plan file is TOML with these sections; what it leaves out has the default shown here. An unknown
key, or a value of the wrong kind, stops the run and names the nearest right one. What is written
to a run folder as `plan.resolved.toml` is complete and alone governs a restart.
"""

from __future__ import annotations

import math
import tomllib
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from tilth.errors import PlanError, nearest

# What is measured by default: all that needs no data of the user's.
MEASURED = "length symbols repetition web_rules language personal_data licence".split()
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

    `html`: of a page take all that a reader would see (`text`), or its main text (`article`).
    `source` is filled in by the first build: `files` or `installation`.
    """

    source: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    text_column: str = ""
    group_by: str = ""
    html: str = "text"
    block_bytes: int = 4_000_000
    installation_bytes: int = 40_000_000


@dataclass(frozen=True)
class Duplicates:
    """How duplicates are found; see `tilth corpus dedup --help` for methods and options."""

    method: str = "near"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """Named conditions over measured columns, in order; see `tilth corpus stats` for columns.

    `sets` names ready-made ones, such as `gopher_quality`; they come first.
    """

    sets: tuple[str, ...] = ()
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

    size: str = "0.4m"
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
class Dense:
    """The dense index: passages of about `passage` characters as vectors, fused with the lexical.

    `encoder` is the folder of a Hugging Face or sentence-transformers encoder. Empty: one is
    trained here on `pairs` pairs from the training documents (a sentence, and the passage without
    it), each document at most `epochs` times, with `dimensions` and `layers` (0: one vector a
    token, no attention). 0 pairs leave the dense index out. `fusion`: how the two are joined.
    """

    encoder: str = ""
    passage: int = 800
    pairs: int = 20_000
    epochs: float = 4.0
    dimensions: int = 256
    layers: int = 0
    seed: int = 0
    fusion: str = "reciprocal_rank"


@dataclass(frozen=True)
class Evaluate:
    """Held-out bytes that are scored, and how many known-item queries are made.

    `curation_tokens`: on how many tokens models learn that tell whether the rule helped, one pair
    a seed; all together learn on no more than the model does. 0 leaves it out.
    """

    bytes: int = 500_000
    queries: int = 200
    curation_tokens: int = 125_000
    curation_seeds: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """All settings of `tilth build`. `transforms` and `signals` map names to their options.

    A plan file adds its signals to those that are measured by default; its transforms, and the
    conditions of its rule, take the place of the default ones, since their order matters.
    """

    documents: Documents = Documents()
    transforms: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"repair": {}, "headers": {}}
    )
    signals: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {name: {} for name in MEASURED}
    )
    duplicates: Duplicates = field(default_factory=Duplicates)
    rule: Rule = field(default_factory=Rule)
    split: Split = Split()
    tokens: Tokens = Tokens()
    ngram: Ngram = Ngram()
    model: Model = Model()
    train: Train = Train()
    index: Index = Index()
    dense: Dense = Dense()
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
            place[key] = value_of(value)
        return from_mapping(mapping, "--set")


def value_of(text: str) -> Any:
    """A value as in TOML; what is not one is plain text."""
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
    from tilth.build.plan_checks import check

    plan = _build(Plan, mapping, where, "")
    plan = replace(plan, signals={**{name: {} for name in MEASURED}, **plan.signals})
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
            values[key] = checked(value, hints[key], where, name)
    return replace(kind(), **values)


def checked(value: Any, hint: Any, where: str, name: str) -> Any:
    """The value, if it is of the kind that the type hint asks for; else PlanError."""
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
        return {k: checked(part, parts[1], where, f"{name}.{k}") for k, part in value.items()}
    if base is tuple and parts:
        return tuple(checked(part, parts[0], where, f"{name}[{i}]") for i, part in enumerate(value))
    return float(value) if base is float else value


def _short(value: Any) -> str:
    # The type is tested first: the digits of a very large number cannot be printed.
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return "of more than 64 bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
