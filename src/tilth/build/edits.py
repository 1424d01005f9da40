"""The surgeries of `tilth edit`: what each promises, what `--set` knows, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tilth.build.output import checked
from tilth.errors import UsageError, nearest


@dataclass(frozen=True)
class Edit:
    """`promise`: what is equal before and after, for people. `settings`: names with their defaults;
    0 and "" stand for "as it is" or "not given". `needs`: one of these must be given. `only`:
    setting -> (other setting, the values of it with which the setting has an effect)."""

    promise: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...]
    only: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)


EDITS = {
    "widen": Edit(
        "logits stay where norms see each unit equally often: FPI, and the width stays or becomes "
        "a multiple",
        {"width": 0, "heads": 0, "kv_heads": 0, "ffn": 0, "method": "FPI", "head": "rescale",
         "balanced": True, "seed": 0},
        ("width", "heads", "kv_heads", "ffn"),
    ),
    "deepen": Edit(
        "all outside the layers is bit-equal; with identity logits stay",
        {"layers": 0, "method": "stack"}, ("layers",),
    ),
    "truncate": Edit(
        "what stays in its place is bit-equal", {"layers": "", "keep": "bottom"}, ("layers",)
    ),
    "reinitialise": Edit(
        "all but the top layers and the pooler is bit-equal",
        {"layers": 0, "pooler": True, "seed": 0}, ("layers",),
    ),
    "vocabulary": Edit(
        "rows of shared tokens, and all that has no rows for tokens, are bit-equal; logits of "
        "shared tokens stay",
        {"tokenizer": "", "method": "pieces", "texts": "", "layer": -1, "most": 50, "head": True,
         "renormalise": True, "seed": 0},
        ("tokenizer",),
        {"texts": ("method", ("contextual",)), "layer": ("method", ("contextual",)),
         "most": ("method", ("contextual",)), "seed": ("method", ("random",)),
         "renormalise": ("method", ("pieces", "contextual"))},
    ),
    "positions": Edit(
        "all but the table of positions is bit-equal, and old positions and logits stay unless "
        "they are stretched",
        {"length": 0, "method": "copy", "seed": 0}, ("length",), {"seed": ("method", ("random",))},
    ),
    "rope-base": Edit("all weights are bit-equal", {"base": 0.0}, ("base",)),
    "window": Edit("all weights are bit-equal", {"size": 0}, ("size",)),
    "sparsify": Edit(
        "all but the layers' matrices is bit-equal",
        {"level": 0.0, "by": "magnitude", "rescale": False, "seed": 0}, ("level",),
        {"seed": ("by", ("random",))},
    ),
}  # fmt: skip
# What is no surgery of one model, or is known by another name.
ELSEWHERE = {
    "combine": "tilth merge", "merge": "tilth merge", "distil": "tilth compress distil",
    "sparse": "tilth edit sparsify", "windows": "tilth edit window",
    "rope": "tilth edit rope-base", "context": "tilth edit positions",
}  # fmt: skip


def parameters(surgery: str, settings: Sequence[str]) -> dict[str, Any]:
    """The settings of one surgery, all of them, checked as far as no model is needed for it."""
    if surgery not in EDITS:
        hint = f"type: {ELSEWHERE[surgery]}" if surgery in ELSEWHERE else nearest(surgery, EDITS)
        raise UsageError(f"there is no surgery {surgery!r} of one model", hint=hint)
    known = EDITS[surgery]
    named = [pair.partition("=")[0] for pair in settings]
    made = checked(known.settings, settings)
    for name in named:
        if named.count(name) > 1:
            raise UsageError(f"{name!r} is given twice", where="--set")
    if not any(made[name] for name in known.needs):
        needs = " or ".join(known.needs)
        raise UsageError(f"{surgery} needs {needs}", hint=f"--set {known.needs[0]}=..., "
                         f"known: {', '.join(known.settings)}")  # fmt: skip
    for name, value in made.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name} is a finite number, not {value}", where="--set")
        if name != "layer" and isinstance(value, (int, float)) and value < 0:
            raise UsageError(f"{name} is not below 0, it is {value:g}", where="--set")
    for name, (other, values) in known.only.items():
        if name in named and made[other] not in values:
            raise UsageError(f"{name} has no effect with {other}={made[other]}", where="--set",
                             hint=f"{other}={' or '.join(values)}")  # fmt: skip
    if made.get("most") == 0:
        raise UsageError("most is at least 1", where="--set")
    if surgery == "truncate":
        made["layers"] = _layers(made["layers"])
        if "keep" in named and not isinstance(made["layers"], int):
            raise UsageError("keep has no effect where layers are listed", where="--set")
    return made


def _layers(text: str) -> int | list[int]:
    """`3`, or `0,2,4` as the numbers of the layers that stay."""
    parts = text.strip("[] ").split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"layers are a number or numbers, not {text!r}", where="--set",
                         hint="layers=2, layers=0,2,4")  # fmt: skip
    numbers = [int(part) for part in parts]
    return numbers if len(numbers) > 1 or text.startswith("[") else numbers[0]
