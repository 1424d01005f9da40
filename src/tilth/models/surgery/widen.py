"""Widen: a larger model that starts where a trained smaller one is (bert2BERT, Chen et al., 2022).

Each new unit of an axis copies an old one. Whatever sums over the axis divides by the number of
copies, so that the sum stays. One map serves the whole residual stream: tables, every layer's in-
and outputs, norms and heads. Attention heads are copied whole, so rotary pairs stay together and
the size of a head is kept; a new query head goes with a copy of its own keys; gate and up share
the map of the inner width. The arithmetic is in float32.

FPI copies from the same layer. AKI takes what new units compute from the layer above instead, which
breaks the symmetry of copies (equal copies get equal gradients and never part) and the sameness of
the function. Norms follow FPI, and so does the last layer.

The function stays the same, within 1e-5, where norms see each unit equally often: the residual
width is kept or becomes a multiple under a balanced map, and so for Olmo 2, which norms all queries
at once, with heads. Otherwise there is a jump; `operate` measures it.

A tied head would sum each token's row with its copies: the factor goes into the gain of the norm
before it (`head="rescale"`, stays tied, exact), or the head becomes a tensor of its own ("untie").
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tilth.errors import UsageError
from tilth.models.axes import Layout, Shape, family_of, layouts, shape_of
from tilth.models.checkpoint import Checkpoint, tied_names, untie
from tilth.models.surgery.maps import Copies, duplicate, duplicate_heads
from tilth.models.surgery.promise import Promise, Surgery

if TYPE_CHECKING:
    import torch

METHODS = ("FPI", "AKI")
HEADS = ("rescale", "untie")


@dataclass(frozen=True)
class Plan:
    """Sizes before and after, the map of every axis that has one, the axes that norms run over."""

    old: Shape
    new: Shape
    maps: dict[str, Copies]
    normed: frozenset[str]

    @property
    def keeps_function(self) -> bool:
        """Whether every norm sees each unit equally often."""
        return all(self.maps[axis].uniform for axis in self.normed if axis in self.maps)

    @property
    def neutral(self) -> bool:
        return all(copies.neutral for copies in self.maps.values())


def widen(
    checkpoint: Checkpoint,
    *,
    width: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    ffn: int | None = None,
    method: str = "FPI",
    head: str = "rescale",
    balanced: bool = True,
    seed: int = 0,
) -> Checkpoint:
    """A wider checkpoint; what is not given grows with `width`, or stays where that is not given.

    Raises UsageError for sizes that shrink or do not divide, DataError for an architecture without
    a map of its axes.
    """
    if method not in METHODS or head not in HEADS:
        raise UsageError(f"method is one of {METHODS}, head one of {HEADS}")
    plan = _plan(checkpoint, width, heads, kv_heads, ffn, balanced, seed)
    if plan.neutral:
        return checkpoint.with_()
    if head == "untie":
        checkpoint = untie(checkpoint)
    family = family_of(checkpoint.config)
    tied = any(
        not name.endswith("bias") for name in tied_names(checkpoint.architecture, checkpoint.config)
    )
    found = layouts(checkpoint)
    made = {}
    for name, layout in found.items():
        tensor = _summed(checkpoint.tensors[name], layout, plan.maps)
        above = _above(name, layout, found)
        if method == "AKI" and above is not None:
            other = _summed(checkpoint.tensors[above], layout, plan.maps)
        else:
            other = None
        grown = _grown(tensor, other, layout, plan.maps)
        if tied and name.rpartition(".")[0] == family.last_norm and layout.axes[0] in plan.maps:
            grown = grown * _factors(plan.maps[layout.axes[0]])
        made[name] = grown.to(checkpoint.tensors[name].dtype).contiguous()
    return checkpoint.with_(made, **_settings(checkpoint, plan))


def _plan(
    checkpoint: Checkpoint, width: int | None, heads: int | None, kv_heads: int | None,
    ffn: int | None, balanced: bool, seed: int,
) -> Plan:  # fmt: skip
    old = shape_of(checkpoint.config)
    width = width or old.residual
    factor = width / old.residual
    heads = heads or round(old.heads * factor)
    if kv_heads is None:
        kv_heads = heads if old.kv_heads == old.heads else round(old.kv_heads * factor)
    ffn = ffn or round(old.ffn * factor)
    free = hasattr(checkpoint.config, "num_key_value_heads")
    if not free and heads * old.head_dim != width:
        raise UsageError(
            f"{heads} heads of {old.head_dim} numbers are not the width {width:,} that a "
            f"{checkpoint.architecture} needs",
            hint=f"a width that is a multiple of {old.head_dim}, and as many heads",
        )
    rng = np.random.Generator(np.random.PCG64(seed))
    residual = duplicate(old.residual, width, rng, balanced=balanced, what="residual units")
    query, group = duplicate_heads(old.heads, old.kv_heads, heads, kv_heads, rng, balanced=balanced)
    inner = duplicate(old.ffn, ffn, rng, balanced=balanced, what="inner units")
    one = query.each(old.head_dim)
    span = old.heads * old.head_dim
    maps = {
        "residual": residual,
        "heads": one,
        "kv_heads": group.each(old.head_dim),
        "qkv": one.then(one, span).then(one, 2 * span),
        "ffn": inner,
        "gated": inner.then(inner, old.ffn),
    }
    # A table as wide as the stream has its axis; a narrower one (Electra) stays as it is.
    new = replace(
        old, residual=width, heads=heads, kv_heads=kv_heads, ffn=ffn,
        embedding=width if old.embedding == old.residual else old.embedding,
    )  # fmt: skip
    normed = {"residual"}
    for name, layout in layouts(checkpoint).items():
        if name.endswith("norm.weight") and layout.layer is not None:
            normed |= set(layout.axes)
    return Plan(old, new, maps, frozenset(normed))


def _above(name: str, layout: Layout, found: dict[str, Layout]) -> str | None:
    """The same tensor one layer up: for matrices and their biases, not for norms."""
    if layout.layer is None or "norm" in name.lower() or ".ln_" in name:
        return None
    above = name.replace(f".{layout.layer}.", f".{layout.layer + 1}.", 1)
    return above if above in found else None


def _summed(tensor: torch.Tensor, layout: Layout, maps: dict[str, Copies]) -> torch.Tensor:
    """The input dimension widened: copies, each divided by how many there are."""
    tensor = tensor.float()
    if layout.sums_over is None or layout.axes[layout.sums_over] not in maps:
        return tensor
    copies = maps[layout.axes[layout.sums_over]]
    shape = [1] * tensor.dim()
    shape[layout.sums_over] = -1
    return tensor.index_select(layout.sums_over, copies.index()) * _factors(copies).view(shape)


def _grown(
    tensor: torch.Tensor, other: torch.Tensor | None, layout: Layout, maps: dict[str, Copies]
) -> torch.Tensor:
    """The output dimension widened; what is not a first copy comes from `other` where given."""
    import torch

    for dimension, axis in enumerate(layout.axes):
        if dimension == layout.sums_over or axis not in maps:
            continue
        copies = maps[axis]
        grown = tensor.index_select(dimension, copies.index())
        if other is not None:
            shape = [1] * tensor.dim()
            shape[dimension] = -1
            fresh = torch.from_numpy(copies.fresh).view(shape)
            grown = torch.where(fresh, other.index_select(dimension, copies.index()), grown)
        return grown
    return tensor


def _factors(copies: Copies) -> torch.Tensor:
    import torch

    return torch.from_numpy(copies.shares).float()


def _settings(checkpoint: Checkpoint, plan: Plan) -> dict[str, Any]:
    """The configuration's sizes, under the names that it has."""
    config, new = checkpoint.config, plan.new
    settings: dict[str, Any] = {
        "hidden_size": new.residual,
        "num_attention_heads": new.heads,
    }
    if hasattr(config, "num_key_value_heads"):
        settings["num_key_value_heads"] = new.kv_heads
        # Some state the size of a head, others only where it is not width / heads.
        if hasattr(config, "head_dim") or new.heads * new.head_dim != new.residual:
            settings["head_dim"] = new.head_dim
    if hasattr(config, "embedding_size"):
        settings["embedding_size"] = new.embedding
    inner = "intermediate_size" if hasattr(config, "intermediate_size") else "n_inner"
    settings[inner] = new.ffn
    return settings


def promise(checkpoint: Checkpoint, **parameters: Any) -> Promise:
    """Function where norms see units equally often; everything where no size changes."""
    given = {name: parameters.get(name) for name in ("width", "heads", "kv_heads", "ffn")}
    balanced, seed = parameters.get("balanced", True), parameters.get("seed", 0)
    plan = _plan(checkpoint, *given.values(), balanced, seed)
    if plan.neutral:
        return Promise(function=True, identical=True)
    if parameters.get("method", "FPI") == "AKI":
        return Promise(because="AKI takes new units from the layer above")
    if not plan.keeps_function:
        return Promise(because="norms see some units more often than others")
    return Promise(function=True)


SURGERY = Surgery("widen", widen, promise)
