"""Checkpoints of a training: all that it needs to go on as if it had never stopped.

A folder holds `step-00000200/` and so on, each with `weights.safetensors` (model, buffers, the
objective's own modules), `moments.safetensors` (the optimiser's, masks, torch's generators),
`training.json` (settings, cursor, points) and, last, `manifest.json`: without it a checkpoint is
unfinished and is not read. An older one goes only when the newer one is complete. Safetensors and
JSON, no pickle. What must agree to go on is in `settings`; what differs is named.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DamagedError, UsageError
from tilth.models.safetensors_header import check_header
from tilth.store.manifest import read_manifest, verify, write_manifest
from tilth.store.write import read_json, write_bytes, write_json
from tilth.training.policy import Trained

if TYPE_CHECKING:
    import torch

    from tilth.training.loop import State

PREFIX = "step-"
WEIGHTS, MOMENTS, TRAINING = "weights.safetensors", "moments.safetensors", "training.json"
SEPARATOR = "|"
GENERATORS = "generators"
# name of a parameter -> exp_avg, exp_avg_sq, step
Moments = dict[str, dict[str, "torch.Tensor"]]


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on the CPU; gathered from all processes where it is split (all must call)."""
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().cpu().contiguous()


def put(place: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into `place`, which may be split over processes."""
    import torch

    if place.shape != value.shape:
        raise DamagedError(f"a tensor is {tuple(value.shape)}, not {tuple(place.shape)}")
    if hasattr(place, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(place.device), place.device_mesh, place.placements)
    with torch.no_grad():
        place.copy_(value)


def weights_of(modules: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Parameters and buffers of modules by prefix, each tied tensor once."""
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        for name, tensor in module.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[prefix + name] = tensor
    return found


def moments_of(optimizer: torch.optim.Optimizer, trained: list[Trained]) -> Moments:
    """The optimiser's state, by the first name of each parameter; empty before the first move."""
    return {
        one.name: {key: whole(value) for key, value in optimizer.state[one.parameter].items()}
        for one in trained
        if one.parameter in optimizer.state
    }


def set_moments(
    optimizer: torch.optim.Optimizer, trained: list[Trained], moments: Mapping[str, Any]
) -> None:
    """Give the optimiser its moments. Raises UsageError where they are of other shapes."""
    import torch

    for one in trained:
        if one.name not in moments:
            continue
        state = optimizer.state[one.parameter] = {}
        for key, value in moments[one.name].items():
            if value.dim() == 0:
                state[key] = value.clone().to(one.parameter.device)
                continue
            if value.shape != one.parameter.shape:
                raise UsageError(
                    f"the moments are {tuple(value.shape)}, the weights "
                    f"{tuple(one.parameter.shape)}", where=one.name, hint="start them anew",
                )  # fmt: skip
            state[key] = torch.zeros_like(one.parameter.detach())
            put(state[key], value)


def mask_moments(optimizer: torch.optim.Optimizer, trained: list[Trained]) -> None:
    """Set moments of masked entries to 0: those of a dense stage would move the weights."""
    for one in trained:
        if one.mask is not None:
            for value in optimizer.state.get(one.parameter, {}).values():
                if value.shape == one.mask.shape:
                    value.masked_fill_(~one.mask, 0.0)


def save(
    folder: str | Path,
    *,
    settings: Mapping[str, Any],
    state: State,
    modules: Mapping[str, torch.nn.Module],
    optimizer: torch.optim.Optimizer,
    trained: list[Trained],
    generators: torch.Tensor,
    keep: int = 1,
    writes: bool = True,
) -> None:
    """A checkpoint of this moment; of older ones `keep` - 1 stay. All processes must call it.

    `generators`: states of torch's generators, one row a process. Only one process `writes`.
    """
    from safetensors.torch import save as to_bytes

    weights = {name: whole(tensor) for name, tensor in weights_of(modules).items()}
    moments = {
        f"{name}{SEPARATOR}{key}": value
        for name, entry in moments_of(optimizer, trained).items()
        for key, value in entry.items()
    }
    for one in trained:
        if one.mask is not None:
            moments[f"{one.name}{SEPARATOR}mask"] = one.mask.cpu()
    moments[GENERATORS] = generators
    if not writes:
        return
    target = Path(folder) / f"{PREFIX}{state.step:08d}"
    if target.exists():
        shutil.rmtree(target)
    write_bytes(target / WEIGHTS, to_bytes(weights, metadata={"format": "pt"}))
    write_bytes(target / MOMENTS, to_bytes(moments, metadata={"format": "pt"}))
    write_json(target / TRAINING, {"settings": settings, "state": asdict(state)})
    write_manifest(target, [WEIGHTS, MOMENTS, TRAINING], kind="checkpoint", step=state.step)
    for old in folders(folder)[: -max(1, keep)]:
        # First what makes it complete, so that a torn removal leaves nothing that looks whole.
        (old / "manifest.json").unlink(missing_ok=True)
        shutil.rmtree(old)


def folders(folder: str | Path) -> list[Path]:
    """The complete checkpoints of a training, the oldest first."""
    found = sorted(Path(folder).glob(f"{PREFIX}*"))
    return [path for path in found if read_manifest(path) is not None]


def latest(folder: str | Path) -> Path | None:
    """The last complete checkpoint, every byte of it verified; None where there is none."""
    found = folders(folder)
    if not found:
        return None
    verify(found[-1])
    return found[-1]


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
    """(what `training.json` says, tensors of the moments file, tensors of the weights)."""
    from safetensors.torch import load_file

    for name in (WEIGHTS, MOMENTS):
        check_header(folder / name)
    return (
        read_json(folder / TRAINING),
        load_file(folder / MOMENTS),
        load_file(folder / WEIGHTS),
    )


def check_settings(folder: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings; the line names the first that differs."""
    for name in sorted({*stored, *now}):
        if stored.get(name) != now.get(name):
            raise UsageError(
                f"the training here was begun with {name} = {stored.get(name)!r}, "
                f"now it is {now.get(name)!r}",
                where=str(folder),
                hint="another folder, or the same settings",
            )


def load_weights(
    modules: Mapping[str, torch.nn.Module], tensors: Mapping[str, torch.Tensor], where: Path
) -> None:
    """Copy stored tensors into modules. Raises DamagedError where names or shapes differ."""
    places = weights_of(modules)
    if missing := sorted(places.keys() ^ tensors.keys()):
        raise DamagedError(f"is of another model: {missing[0]}", where=str(where))
    for name, place in places.items():
        put(place, tensors[name])


def split_moments(tensors: Mapping[str, torch.Tensor]) -> tuple[Moments, dict[str, torch.Tensor]]:
    """(moments by parameter, masks by parameter) of a moments file."""
    moments: Moments = {}
    masks = {}
    for full, tensor in tensors.items():
        name, found, key = full.rpartition(SEPARATOR)
        if found and key == "mask":
            masks[name] = tensor
        elif found:
            moments.setdefault(name, {})[key] = tensor
    return moments, masks
