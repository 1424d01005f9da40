"""What a user gives to `tilth run`: data, a model, settings; checked before any work.

The wrong kind is refused in one line that shows what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilth.data.labelled import columns_of
from tilth.data.sets import expected, open_data
from tilth.errors import UsageError, nearest
from tilth.evaluation.card import SCALES, Card
from tilth.store.write import read_json

# What the name of an architecture ends in, for each kind of model.
ARCHITECTURES = {
    "causal": ("ForCausalLM", "LMHeadModel"),
    "masked": ("ForMaskedLM", "ForPreTraining"),
    "seq2seq": ("ForConditionalGeneration",),
    "encoder": ("Model", "ForMaskedLM", "ForPreTraining"),
}


def choose_scale(scale: str, data: str, model: str) -> str:
    """The scale that was asked for; without one `own` where data or a model are given."""
    if scale and scale not in SCALES:
        raise UsageError(
            f"there is no scale {scale!r}; known: {', '.join(SCALES)}",
            where="--scale",
            hint=nearest(scale, SCALES),
        )
    if (data or model) and scale not in ("", "own"):
        raise UsageError(f"scale {scale} takes no data or model of yours", hint="type: --scale own")
    if scale == "own" and not (data or model):
        raise UsageError("scale own needs --data or --model", hint="see: tilth show SLUG")
    return scale or ("own" if data or model else "small")


def parse_settings(given: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """`name=value` settings, and apart from them `data.COLUMN=NAME` for the columns of --data."""
    settings: dict[str, str] = {}
    columns: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise UsageError(f"{one!r} is not name=value", where="--set", hint="--set seeds=10")
        kept, key = (columns, name[5:]) if name.startswith("data.") else (settings, name)
        if key in kept:
            raise UsageError(f"{name!r} is given twice", where="--set")
        kept[key] = value
    return settings, columns


def open_given_data(card: Card, given: str, columns: Mapping[str, str]) -> Any:
    """A `SetPath` or a Task of the kind that the system takes; None where nothing is given."""
    if not given:
        if columns:
            raise UsageError("columns need --data", where=f"--set data.{next(iter(columns))}")
        return None
    if card.data_kind == "none":
        raise UsageError(f"system {card.slug!r} takes no data", where="--data")
    known = columns_of(card.data_kind)
    for column in columns:
        if column not in known:
            raise UsageError(
                f"{card.data_kind} data has no column {column!r} to name",
                where=f"--set data.{column}",
                hint=nearest(column, known) if known else expected(card.data_kind),
            )
    return open_data(given, card.data_kind, columns)


def open_given_model(card: Card, given: str) -> str | None:
    """The model folder, where it is of the kind that the system takes; None where none is given."""
    if not given:
        return None
    if card.model_kind == "none":
        raise UsageError(f"system {card.slug!r} takes no model", where="--model")
    wanted = ARCHITECTURES.get(card.model_kind, ("",))
    shape = f"it takes a Hugging Face folder of a {card.model_kind} model"
    shape += f" (architecture {' or '.join('...' + end for end in wanted)})" if wanted[0] else ""
    path = Path(given) / "config.json"
    if not path.is_file():
        raise UsageError("holds no config.json", where=given, hint=shape)
    config = read_json(path)
    names = (config.get("architectures") if isinstance(config, dict) else None) or []
    if not any(str(name).endswith(wanted) for name in names):
        found = ", ".join(map(str, names)) or "no architecture"
        raise UsageError(f"is of another kind: {found}", where=given, hint=shape)
    return given
