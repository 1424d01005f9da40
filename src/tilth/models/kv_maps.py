"""One model's keys and values as another's: linear maps, and how keys and values are seen and set.

    with recorded(auxiliary) as seen:
        auxiliary(input_ids=ids)
    with replaced(base, maps(seen)):
        logits = base(input_ids=ids).logits     # attends to what the maps made

Keys are those before rotary, after the norm of heads where a model has one: as `serving.cache`
takes them out. For Llama and all whose attention has `k_proj` and `v_proj`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tilth.errors import DamagedError, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Of each layer: keys and values, (rows, tokens, key heads x head).
States = list[tuple[torch.Tensor, torch.Tensor]]


def layer_map(base: int, auxiliary: int) -> list[int]:
    """Which auxiliary layer each base layer takes; the early ones are taken once more often, as
    in CoreNet (28 of 16: 0, 0, 1, 1, ..., 11, 11, 12, 13, 14, 15)."""
    if not 1 <= auxiliary <= base:
        raise UsageError(f"an auxiliary model of {auxiliary} layers for a base of {base}")
    each, more = divmod(base, auxiliary)
    return [layer for layer in range(auxiliary) for _ in range(each + (layer < more))]


class KVMaps(torch.nn.Module):
    """For each base layer a linear map, with bias, of keys and one of values.

    `layers`: the auxiliary layer of each base layer. Widths are key heads times head. Begins as
    the identity where widths are equal, else with small random weights.
    """

    def __init__(self, layers: Sequence[int], auxiliary: int, base: int) -> None:
        super().__init__()
        self.layers, self.sizes = list(layers), (auxiliary, base)
        self.keys, self.values = (
            torch.nn.ModuleList(torch.nn.Linear(auxiliary, base) for _ in layers) for _ in range(2)
        )
        with torch.no_grad():
            for linear in (*self.keys, *self.values):
                linear.bias.zero_()
                if auxiliary == base:
                    linear.weight.copy_(torch.eye(base))

    @classmethod
    def between(
        cls, auxiliary: PreTrainedModel, base: PreTrainedModel, layers: Sequence[int] | None = None
    ) -> KVMaps:
        """Maps that fit two models. `layers`: as `layer_map` by default."""
        ours, theirs = _attentions(auxiliary), _attentions(base)
        layers = layer_map(len(theirs), len(ours)) if layers is None else list(layers)
        if len(layers) != len(theirs) or any(not 0 <= one < len(ours) for one in layers):
            raise UsageError(f"layers {layers} of {len(ours)} for a base of {len(theirs)}")
        return cls(layers, *(part[0].k_proj.out_features for part in (ours, theirs)))

    def forward(self, states: States) -> States:
        """Those of the auxiliary model to those of the base."""
        return [
            (key(states[layer][0]), value(states[layer][1]))
            for layer, key, value in zip(self.layers, self.keys, self.values)
        ]

    def save(self, path: str | Path) -> None:
        """One safetensors file."""
        from safetensors.torch import save

        from tilth.store.write import write_bytes

        held = {name: one.contiguous() for name, one in self.state_dict().items()}
        metadata = {"layers": json.dumps(self.layers)}
        write_bytes(Path(path), save(held, metadata=metadata))

    @classmethod
    def load(cls, path: str | Path) -> KVMaps:
        """Raises DamagedError for a file that holds no maps."""
        from safetensors import safe_open

        from tilth.models.safetensors_header import check_header

        names = list(check_header(path))
        with safe_open(str(path), "pt") as file:
            held = {name: file.get_tensor(name) for name in names}
            try:
                layers = [int(one) for one in json.loads((file.metadata() or {})["layers"])]
                base, auxiliary = held["keys.0.weight"].shape
                made = cls(layers, auxiliary, base)
                made.load_state_dict(held)
            except (KeyError, ValueError, TypeError, RuntimeError) as error:
                raise DamagedError(f"holds no maps of keys and values: {error}"[:200],
                                   where=str(path)) from None  # fmt: skip
        return made


def _attentions(model: PreTrainedModel) -> list[Any]:
    layers = getattr(getattr(model, "model", None), "layers", [])
    found = [getattr(layer, "self_attn", None) for layer in layers]
    if not found or any(not hasattr(one, "k_proj") or not hasattr(one, "v_proj") for one in found):
        raise UsageError(f"{type(model).__name__} has no keys and values that can be set")
    return found


def _parts(attention: Any) -> tuple[Any, Any]:
    """What gives the keys before rotary, and the values."""
    return getattr(attention, "k_norm", None) or attention.k_proj, attention.v_proj


@contextlib.contextmanager
def recorded(model: PreTrainedModel) -> Iterator[States]:
    """While this is open a run of the model leaves its keys and values, layer by layer."""
    parts = [_parts(one) for one in _attentions(model)]
    found: list[Any] = [[None, None] for _ in parts]

    def keep(layer: int, side: int) -> Any:
        def hook(module: Any, inputs: Any, output: torch.Tensor) -> None:
            found[layer][side] = output.flatten(2)

        return hook

    with _hooks(parts, keep):
        yield found


@contextlib.contextmanager
def replaced(model: PreTrainedModel, states: States) -> Iterator[None]:
    """While this is open a run of the model attends to these keys and values."""
    parts = [_parts(one) for one in _attentions(model)]

    def put(layer: int, side: int) -> Any:
        def hook(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return states[layer][side].reshape(output.shape)

        return hook

    with _hooks(parts, put):
        yield


@contextlib.contextmanager
def _hooks(parts: Sequence[tuple[Any, Any]], make: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for layer, pair in enumerate(parts):
            for side, module in enumerate(pair):
                stack.callback(module.register_forward_hook(make(layer, side)).remove)
        yield
