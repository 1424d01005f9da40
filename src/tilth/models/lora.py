"""LoRA: learn a change of low rank beside frozen weights (Hu et al., 2022).

A wrapped layer gives W x + (alpha / rank) B A x: A (rank x in) is drawn, B (out x rank) starts at
zero, so a new adapter changes nothing. Only A and B train. Memory of gradients and moments falls
with the trained numbers; forward and backward cost slightly more than full training. Use it where
memory is short or many variants of one model are kept; full training learns more from much data.

The folder is PEFT's own form (adapter_config.json, adapter_model.safetensors), both ways. A
manifest beside them holds the digest of the base model, and another base is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from tilth.errors import DamagedError, DataError, UsageError
from tilth.models.axes import FAMILIES, layout_of
from tilth.models.checkpoint import tensor_digest
from tilth.models.safetensors_header import check_header
from tilth.store.digest import digest
from tilth.store.manifest import NAME, read_manifest, verify, write_manifest
from tilth.store.write import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
# Settings of PEFT that change the formula; what is not neutral is refused.
NEUTRAL: dict[str, Any] = {
    "use_dora": False, "bias": "none", "rank_pattern": {}, "alpha_pattern": {},
    "layer_replication": None, "lora_bias": False, "trainable_token_indices": None,
    "target_parameters": None, "alora_invocation_tokens": None,
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """What was wrapped: module names, and names of modules that train whole."""

    modules: tuple[str, ...]
    whole: tuple[str, ...]
    rank: int
    alpha: float
    dropout: float


class LoRALayer(torch.nn.Module):
    """A frozen linear layer (or GPT-2's Conv1D) with a change of low rank beside it."""

    def __init__(self, base: torch.nn.Module, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.transposed = not isinstance(base, torch.nn.Linear)
        shape = base.weight.shape if not self.transposed else base.weight.shape[::-1]
        kind = {"device": base.weight.device, "dtype": torch.float32}
        self.down = torch.nn.Parameter(torch.zeros(rank, shape[1], **kind))
        self.up = torch.nn.Parameter(torch.zeros(shape[0], rank, **kind))
        self.scale, self.dropout = scale, dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        given = self.base(x)
        x = F.dropout(x.to(self.down.dtype), self.dropout, self.training)
        change = F.linear(F.linear(x, self.down), self.up) * self.scale
        return (given + change).to(given.dtype)

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    def merged(self) -> torch.nn.Module:
        """The layer itself with the change added to its weight, in float32."""
        with torch.no_grad():
            change = self.scale * (self.up @ self.down)
            weight = self.base.weight
            weight.copy_(weight.float() + (change.T if self.transposed else change))
        return self.base


def add_lora(
    model: PreTrainedModel, *, targets: Sequence[str] = (), rank: int = 8, alpha: float = 16.0,
    dropout: float = 0.0, whole: Sequence[str] = (), seed: int = 0,
) -> Adapter:  # fmt: skip
    """Wrap layers of a model in place; all else is frozen.

    `targets`: patterns on module names such as `*.q_proj`; without any, every matrix of the layers,
    for architectures with a map of axes. `whole`: patterns of modules that train fully, such as the
    `classifier` that is new. Raises UsageError where nothing matches.
    """
    if rank < 1 or not 0 <= dropout < 1:
        raise UsageError(f"rank {rank} and dropout {dropout} do not make an adapter")
    if any(isinstance(module, LoRALayer) for module in model.modules()):
        raise UsageError("the model has an adapter already", hint="merge or remove it first")
    linear = {n: m for n, m in model.named_modules() if _is_linear(m)}
    if targets:
        chosen = [n for n in linear if any(fnmatchcase(n, pattern) for pattern in targets)]
    else:
        chosen = [n for n in linear if _in_layers(n, model)]
    if not chosen:
        raise UsageError(f"no linear layer is called {' or '.join(targets) or 'so'}",
                         hint="such as " + ", ".join(list(linear)[:3]))  # fmt: skip
    full = [
        name for name, module in model.named_modules()
        if any(fnmatchcase(name, pattern) for pattern in whole) and list(module.parameters())
    ]  # fmt: skip
    if missing := [p for p in whole if not any(fnmatchcase(n, p) for n in full)]:
        raise UsageError(f"no module is called {missing[0]}")
    if any(c == f or c.startswith(f + ".") for c in chosen for f in full):
        chosen = [c for c in chosen if not any(c == f or c.startswith(f + ".") for f in full)]
    adapter = Adapter(
        tuple(sorted(chosen)), tuple(sorted(full)), rank, float(alpha), float(dropout)
    )
    _wrap(model, adapter, alpha / rank)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in adapter.modules:
            down = model.get_submodule(name).down
            # Kaiming's uniform draw with a = sqrt(5), as in the reference implementation.
            drawn = torch.rand(down.shape, generator=generator) * 2 - 1
            down.copy_(drawn / math.sqrt(down.shape[1]))
    return adapter


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def _in_layers(name: str, model: PreTrainedModel) -> bool:
    if model.config.model_type not in FAMILIES:
        raise UsageError(
            f"which layers of a {type(model).__name__} are meant is not known",
            hint="targets such as *.q_proj",
        )
    try:
        layout = layout_of(f"{name}.weight", model.config)
    except DataError:
        return False
    return layout.layer is not None


def _wrap(model: PreTrainedModel, adapter: Adapter, scale: float) -> None:
    model.requires_grad_(False)
    for name in adapter.modules:
        parent, _, last = name.rpartition(".")
        layer = LoRALayer(model.get_submodule(name), adapter.rank, scale, adapter.dropout)
        layer.train(model.training)
        setattr(model.get_submodule(parent), last, layer)
    for name in adapter.whole:
        model.get_submodule(name).requires_grad_(True)


def merge_lora(model: PreTrainedModel) -> PreTrainedModel:
    """Add the change to the weights and unwrap, in place; the logits stay (to rounding)."""
    return _unwrap(model, lambda layer: layer.merged())


def remove_lora(model: PreTrainedModel) -> PreTrainedModel:
    """Unwrap in place without the change: the wrapped weights are the base's, bit for bit."""
    return _unwrap(model, lambda layer: layer.base)


def _unwrap(model: PreTrainedModel, give: Any) -> PreTrainedModel:
    found = [n for n, m in model.named_modules() if isinstance(m, LoRALayer)]
    if not found:
        raise UsageError("the model has no adapter")
    for name in found:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, give(model.get_submodule(name)))
    model.requires_grad_(True)
    return model


def base_digest(model: PreTrainedModel, whole: Iterable[str] = ()) -> str:
    """Of the frozen tensors, with or without an adapter around them."""
    full = tuple(f"{name}." for name in whole)
    parts = []
    for name, tensor in sorted(model.state_dict().items()):
        if not name.endswith((".down", ".up")) and not name.startswith(full):
            parts += [name.replace(".base.", "."), tensor_digest(tensor)]
    return digest(*parts)


def save_lora(
    model: PreTrainedModel, adapter: Adapter, folder: str | Path, *, base: str = ""
) -> None:
    """The adapter as a folder that PEFT loads; `base` names the model it belongs to."""
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    (folder / NAME).unlink(missing_ok=True)
    tensors = {}
    for name in adapter.modules:
        layer = model.get_submodule(name)
        tensors[f"{PREFIX}{name}.lora_A.weight"] = layer.down.detach().cpu().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = layer.up.detach().cpu().contiguous()
    for name in adapter.whole:
        for part, tensor in model.get_submodule(name).state_dict().items():
            tensors[f"{PREFIX}{name}.{part}"] = tensor.detach().cpu().contiguous().clone()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if type(model).__name__.endswith(_CAUSAL) else None,
        "base_model_name_or_path": base or model.config._name_or_path or None,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": sorted(adapter.modules),
        "modules_to_save": sorted(adapter.whole) or None,
        "fan_in_fan_out": any(model.get_submodule(n).transposed for n in adapter.modules),
        "bias": "none",
        "inference_mode": True,
    }
    write_json(folder / CONFIG, config)
    write_bytes(folder / WEIGHTS, to_bytes(tensors, metadata={"format": "pt"}))
    fixed = base_digest(model, adapter.whole)
    write_manifest(folder, (CONFIG, WEIGHTS), kind="lora", base=fixed)


_CAUSAL = ("ForCausalLM", "LMHeadModel")


def load_lora(model: PreTrainedModel, folder: str | Path) -> Adapter:
    """Wrap a model in place with the adapter in a folder, tilth's or PEFT's.

    Raises DataError for another base or a kind of adapter that is not plain LoRA, DamagedError
    where files do not agree.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise DataError(f"holds no adapter: {CONFIG} and {WEIGHTS}", where=str(folder))
    manifest = read_manifest(folder)
    if manifest is not None:
        verify(folder)
    check_header(folder / WEIGHTS)
    config, tensors = read_json(folder / CONFIG), load_file(folder / WEIGHTS)
    adapter, scale = _read(config, tensors, model, folder)
    if manifest is not None and manifest.get("base") != base_digest(model, adapter.whole):
        raise DataError("belongs to another base model", where=str(folder))
    _wrap(model, adapter, scale)
    with torch.no_grad():
        for name in adapter.modules:
            layer = model.get_submodule(name)
            for place, part in ((layer.down, "lora_A"), (layer.up, "lora_B")):
                _fill(place, tensors, f"{PREFIX}{name}.{part}.weight", folder)
        for name in adapter.whole:
            for part, place in model.get_submodule(name).state_dict().items():
                _fill(place, tensors, f"{PREFIX}{name}.{part}", folder)
    return adapter


def _fill(place: torch.Tensor, tensors: Mapping[str, Any], name: str, folder: Path) -> None:
    if name not in tensors or tensors[name].shape != place.shape:
        there = tuple(tensors[name].shape) if name in tensors else "missing"
        raise DamagedError(
            f"{name} is {there}, the model asks for {tuple(place.shape)}", where=str(folder)
        )
    place.copy_(tensors[name])


def _read(
    config: Any, tensors: Mapping[str, Any], model: PreTrainedModel, folder: Path
) -> tuple[Adapter, float]:
    """What an adapter's files say, as far as it is plain LoRA."""
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise DataError("is no LoRA adapter", where=str(folder / CONFIG))
    for name, neutral in NEUTRAL.items():
        if config.get(name, neutral) not in (neutral, None):
            raise DataError(f"asks for {name}={config[name]!r}, which is not plain LoRA",
                            where=str(folder / CONFIG))  # fmt: skip
    rank, alpha = config.get("r"), config.get("lora_alpha")
    dropout = config.get("lora_dropout") or 0.0
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise DamagedError("states no rank and alpha", where=str(folder / CONFIG))
    # What is saved again is plain LoRA: the alpha that gives the same scale.
    alpha = alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
    scale = alpha / rank
    named = re.compile(re.escape(PREFIX) + r"(.+)\.lora_A\.weight")
    modules = [found[1] for name in tensors if (found := named.fullmatch(name))]
    there = dict(model.named_modules())
    if missing := [n for n in modules if n not in there or not _is_linear(there[n])]:
        raise DataError(f"the model has no linear layer {missing[0]!r}", where=str(folder))
    if not modules:
        raise DamagedError("holds no LoRA tensors", where=str(folder / WEIGHTS))
    saved = {n.removeprefix(PREFIX).rpartition(".")[0] for n in tensors if ".lora_" not in n}
    asked = config.get("modules_to_save") or []
    # PEFT names the last part of a module; tilth writes all of it.
    whole = [
        name for name in there
        if any(name == one or name.endswith(f".{one}") for one in asked)
        and any(part == name or part.startswith(f"{name}.") for part in saved)
    ]  # fmt: skip
    adapter = Adapter(
        tuple(sorted(modules)), tuple(sorted(whole)), rank, float(alpha), float(dropout)
    )
    return adapter, scale
