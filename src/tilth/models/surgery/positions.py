"""Positions and windows: how far a model can look, changed after it was trained.

`positions` makes the table of learned positions longer or shorter: `copy` repeats the old rows (as
Longformer was made from RoBERTa; Beltagy et al., 2020), `interpolate` stretches them, `random`
draws the new ones; cutting keeps the first. Where rows are copied or drawn the old ones are
bit-equal, so texts that fit before have the same logits. For rotary positions only the stated limit
changes.

`rope_base` sets the base of rotary positions; a larger one (Xiong et al., 2023: "adjusted base
frequency", as in Qwen2.5's 10,000 -> 1,000,000) slows the rotation for longer contexts. The weights
stay bit-equal, the function changes until the model is trained on.

`window` sets how many places a layer looks at, for architectures that have windows: Mistral,
Qwen 2 and 3 (causal windows), Longformer and ModernBert (even, both sides together; of ModernBert
the layers that are local, or all where none is). Weights stay bit-equal.
"""

from __future__ import annotations

import copy
from typing import Any

from tilth.errors import DataError, UsageError
from tilth.models.axes import family_of, layouts
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.promise import Promise, Surgery

METHODS = ("copy", "interpolate", "random")


def _offset(checkpoint: Checkpoint) -> int:
    """Rows of the table before the first position: RoBERTa counts from its padding's id on."""
    if checkpoint.config.model_type in ("roberta", "longformer"):
        return int(checkpoint.config.pad_token_id) + 1
    return 0


def positions(
    checkpoint: Checkpoint, *, length: int, method: str = "copy", seed: int = 0
) -> Checkpoint:
    """The checkpoint for rows of `length` tokens."""
    import torch
    import torch.nn.functional as F

    if method not in METHODS:
        raise UsageError(f"there is no way {method!r}", hint="known: " + ", ".join(METHODS))
    if length < 2:
        raise UsageError(f"rows of {length} tokens are no rows")
    offset, table = _offset(checkpoint), _table(checkpoint)
    made = dict(checkpoint.tensors)
    if table is not None:
        old = made[table]
        head, rows = old[:offset], old[offset:]
        if length <= len(rows):
            new = rows[:length]
        elif method == "copy":
            new = rows.repeat(-(-length // len(rows)), 1)[:length]
        elif method == "interpolate":
            stretched = F.interpolate(
                rows.float().T[None], size=length, mode="linear", align_corners=True
            )
            new = stretched[0].T.to(old.dtype)
        else:
            more = torch.randn(
                (length - len(rows), old.shape[1]),
                generator=torch.Generator().manual_seed(seed),
            )
            new = torch.cat([rows, (more * rows.float().std()).to(old.dtype)])
        made[table] = torch.cat([head, new]).contiguous()
    return checkpoint.with_(made, max_position_embeddings=length + offset)


def _table(checkpoint: Checkpoint) -> str | None:
    """The name of the table of learned positions; None for rotary ones."""
    found = layouts(checkpoint)
    return next((name for name, layout in found.items() if layout.axes[0] == "position"), None)


def promise_positions(
    checkpoint: Checkpoint, *, length: int, method: str = "copy", seed: int = 0
) -> Promise:
    """All but the table is bit-equal, and so are its old rows unless they are stretched."""
    import numpy as np

    offset, table = _offset(checkpoint), _table(checkpoint)
    old = checkpoint.config.max_position_embeddings - offset
    kept = tuple(name for name in checkpoint.tensors if name != table)
    if table is None:
        return Promise(function=True, bit_equal=kept, identical=length == old)
    if method == "interpolate" and length > old:
        return Promise(bit_equal=kept, because="positions are stretched")
    rows = np.arange(min(length, old) + offset)
    return Promise(
        function=True, bit_equal=kept, rows={table: (rows, rows)},
        identical=length == old,
    )  # fmt: skip


def rope_base(checkpoint: Checkpoint, *, base: float) -> Checkpoint:
    """The checkpoint with another base of its rotary positions.

    Raises DataError for an architecture without them.
    """
    settings = getattr(checkpoint.config, "rope_parameters", None)
    if not isinstance(settings, dict) or "rope_theta" not in settings:
        raise DataError(f"a {checkpoint.architecture} has no rotary positions of one base")
    if base <= 1:
        raise UsageError(f"a base of {base} is no base", hint="such as 1000000")
    changed = {**copy.deepcopy(settings), "rope_theta": float(base)}
    return checkpoint.with_(rope_parameters=changed)


def promise_rope_base(checkpoint: Checkpoint, *, base: float) -> Promise:
    """Weights are bit-equal; the base that it has changes nothing."""
    settings = getattr(checkpoint.config, "rope_parameters", None) or {}
    same = float(base) == settings.get("rope_theta")
    return Promise(
        function=same, bit_equal=tuple(checkpoint.tensors), identical=same,
        because="" if same else "positions turn at another speed",
    )  # fmt: skip


def window(checkpoint: Checkpoint, *, size: int) -> Checkpoint:
    """The checkpoint whose layers look at `size` places.

    Raises DataError for an architecture without windows, UsageError for a size that is none.
    """
    family_of(checkpoint.config, checkpoint.architecture)
    kind, layers = checkpoint.config.model_type, checkpoint.config.num_hidden_layers
    least = {"longformer": 4, "modernbert": 2}.get(kind, 1)
    if size < least or (least > 1 and size % 2):
        even = f"a {checkpoint.architecture} has even ones, at least {least}" if least > 1 else ""
        raise UsageError(f"a window of {size} places is none", hint=even)
    if kind == "longformer":
        return checkpoint.with_(attention_window=[size] * layers)
    if kind == "mistral":
        return checkpoint.with_(sliding_window=size)
    if kind in ("qwen2", "qwen3"):
        return checkpoint.with_(
            sliding_window=size, use_sliding_window=True, max_window_layers=0,
            layer_types=["sliding_attention"] * layers,
        )  # fmt: skip
    if kind == "modernbert":
        return checkpoint.with_(local_attention=size, **_local(checkpoint))
    raise DataError(f"a {checkpoint.architecture} has no windows",
                    hint="known: longformer, mistral, modernbert, qwen2, qwen3")  # fmt: skip


def _local(checkpoint: Checkpoint) -> dict[str, Any]:
    """Settings that make all layers local where none is; they keep the base they turn with."""
    config = checkpoint.config
    if "sliding_attention" in config.layer_types:
        return {}
    turning = copy.deepcopy(config.rope_parameters)
    turning["sliding_attention"] = copy.deepcopy(turning["full_attention"])
    return {
        "layer_types": ["sliding_attention"] * config.num_hidden_layers,
        "rope_parameters": turning,
    }


def promise_window(checkpoint: Checkpoint, *, size: int) -> Promise:
    """Weights are bit-equal."""
    return Promise(bit_equal=tuple(checkpoint.tensors), because="layers look elsewhere")


POSITIONS = Surgery("positions", positions, promise_positions)
ROPE_BASE = Surgery("rope-base", rope_base, promise_rope_base)
WINDOW = Surgery("window", window, promise_window)
