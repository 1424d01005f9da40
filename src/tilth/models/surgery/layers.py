"""Deepen and truncate: a stack of layers made from the layers of another.

`deepen` grows depth in three ways. `stack` repeats the whole block of layers and tops up with its
top ones (StackBERT, Gong et al., 2019; bert2BERT): the function changes. `interleave` repeats each
layer in place. `identity` copies layers in place but silences what the copies add to the stream
(LLaMA Pro, Wu et al., 2024): the function stays exactly, and the new layers learn from there. It
needs a stream that passes no norm between layers; Bert-like models norm it after each layer and are
refused.

`truncate` keeps some layers, by default the lowest (as in Well-Read Students' and DistilBERT's
initialisations): every tensor that stays is bit-equal.

ModernBert's first layer reads the normed embedding and has no norm before its attention. Where a
copy of it stands higher, it gets that norm's gain there; another layer is never put first, because
there is no place for its norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tilth.errors import UsageError
from tilth.models.axes import family_of, layer_of
from tilth.models.checkpoint import Checkpoint
from tilth.models.surgery.promise import Promise, Surgery

if TYPE_CHECKING:
    from torch import Tensor

DEEPER = ("stack", "interleave", "identity")
KEPT = ("bottom", "top", "spread")
# Settings with one entry a layer.
PER_LAYER = ("layer_types", "attention_window")


def deepen(checkpoint: Checkpoint, *, layers: int, method: str = "stack") -> Checkpoint:
    """A checkpoint of `layers` layers, made from the old ones by `method` (see the module)."""
    sources, copies = _deeper(checkpoint, layers, method)
    made = from_layers(checkpoint, sources)
    if method != "identity":
        return made
    tensors = dict(made.tensors)
    for name in silencers(made, copies):
        tensors[name] = tensors[name].new_zeros(tensors[name].shape)
    return made.with_(tensors)


def _deeper(checkpoint: Checkpoint, layers: int, method: str) -> tuple[list[int], list[int]]:
    """The old layer of each new one, and which new ones are copies that `identity` silences."""
    old = checkpoint.config.num_hidden_layers
    if method not in DEEPER:
        raise UsageError(
            f"there is no way {method!r} to deepen", hint="known: " + ", ".join(DEEPER)
        )
    if layers < old:
        raise UsageError(f"{layers} layers are fewer than the {old} there are", hint="truncate")
    if method == "identity" and not family_of(checkpoint.config).pre_norm and layers > old:
        raise UsageError(
            f"a {checkpoint.architecture} norms its stream after each layer: no layer can be added "
            "that changes nothing",
            hint="method stack or interleave",
        )
    if method == "stack":
        whole, top = divmod(layers, old)
        return [*list(range(old)) * whole, *range(old - top, old)], []
    sources, copies = [], []
    for layer in range(old):
        # Spread evenly: after layer n there are as many as n + 1 old layers ask for.
        count = layers * (layer + 1) // old - layers * layer // old
        copies += range(len(sources) + 1, len(sources) + count)
        sources += [layer] * count
    return sources, copies


def truncate(
    checkpoint: Checkpoint, *, layers: int | Sequence[int], keep: str = "bottom"
) -> Checkpoint:
    """A checkpoint with some of the layers: the numbers given, or so many of those at `keep`."""
    return from_layers(checkpoint, _fewer(checkpoint, layers, keep))


def _fewer(checkpoint: Checkpoint, layers: int | Sequence[int], keep: str) -> list[int]:
    old = checkpoint.config.num_hidden_layers
    if keep not in KEPT:
        raise UsageError(f"layers are kept at no place {keep!r}", hint="known: " + ", ".join(KEPT))
    if isinstance(layers, int):
        if not 1 <= layers <= old:
            raise UsageError(f"{layers} of {old} layers cannot be kept")
        places = {
            "bottom": range(layers),
            "top": range(old - layers, old),
            "spread": [(old - 1) * n // max(1, layers - 1) for n in range(layers)],
        }
        return list(places[keep])
    if not layers or any(not 0 <= n < old for n in layers):
        raise UsageError(f"layers {list(layers)} are not among the {old} that there are")
    return list(layers)


def from_layers(checkpoint: Checkpoint, sources: Sequence[int]) -> Checkpoint:
    """The stack in which layer n is a copy of layer `sources[n]`; all else is as it was.

    Raises UsageError where the first layer lacks a part that its source has (ModernBert).
    """
    config = checkpoint.config
    first_norm = family_of(config).first_norm
    if first_norm and sources[0]:
        raise UsageError(
            f"layer {sources[0]} cannot be the first of a {checkpoint.architecture}: the first one "
            f"has no {first_norm[0]}",
            hint="layers that begin with 0",
        )
    by_layer: dict[int, dict[str, Tensor]] = {}
    made: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        layer = layer_of(name, config)
        if layer is None:
            made[name] = tensor
        else:
            by_layer.setdefault(layer, {})[name] = tensor
    for number, source in enumerate(sources):
        for name, tensor in by_layer[source].items():
            made[renamed(name, source, number)] = tensor.clone()
        if first_norm and number and not source:
            made |= _norm_of_first(checkpoint, number)
    settings: dict[str, Any] = {"num_hidden_layers": len(sources)}
    for name in PER_LAYER:
        value = getattr(config, name, None)
        if isinstance(value, (list, tuple)) and len(value) == config.num_hidden_layers:
            settings[name] = [value[source] for source in sources]
    return checkpoint.with_(made, **settings)


def _norm_of_first(checkpoint: Checkpoint, number: int) -> dict[str, Tensor]:
    """For layer `number`, a copy of the first: the norm that stands before the first one."""
    family = family_of(checkpoint.config)
    own, outside = family.first_norm  # type: ignore[misc]
    made = {}
    for name, tensor in checkpoint.tensors.items():
        prefix, found, part = name.partition(f"{outside}.")
        if found and prefix in ("", f"{family.prefix}."):
            made[f"{prefix}{family.stack}.{number}.{own}.{part}"] = tensor.clone()
    return made


def renamed(name: str, old: int, new: int) -> str:
    """The name of a layer's tensor in another layer."""
    return name.replace(f".{old}.", f".{new}.", 1)


def silencers(checkpoint: Checkpoint, layers: Sequence[int]) -> list[str]:
    """The tensors of these layers that, at zero, let the layer add nothing to the stream."""
    parts = family_of(checkpoint.config).outputs
    return [
        name
        for name in checkpoint.tensors
        if layer_of(name, checkpoint.config) in layers
        and any(name.rpartition(".")[0].endswith(f".{part}") for part in parts)
    ]


def promise_deeper(checkpoint: Checkpoint, *, layers: int, method: str = "stack") -> Promise:
    """`identity` keeps the function; all keep what is outside the stack."""
    _deeper(checkpoint, layers, method)
    same = layers == checkpoint.config.num_hidden_layers
    outside = tuple(n for n in checkpoint.tensors if layer_of(n, checkpoint.config) is None)
    return Promise(
        function=same or method == "identity", bit_equal=outside, identical=same,
        because="" if same or method == "identity" else "repeated layers change the function",
    )  # fmt: skip


def promise_fewer(
    checkpoint: Checkpoint, *, layers: int | Sequence[int], keep: str = "bottom"
) -> Promise:
    """What stays in its place is bit-equal."""
    sources, config = _fewer(checkpoint, layers, keep), checkpoint.config
    same = sources == list(range(config.num_hidden_layers))
    stay = {None, *(n for n, source in enumerate(sources) if n == source)}
    kept = tuple(name for name in checkpoint.tensors if layer_of(name, config) in stay)
    return Promise(
        function=same, bit_equal=kept, identical=same,
        because="" if same else "layers are missing",
    )  # fmt: skip


DEEPEN = Surgery("deepen", deepen, promise_deeper)
TRUNCATE = Surgery("truncate", truncate, promise_fewer)
