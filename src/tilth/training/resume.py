"""Going on from a checkpoint: what must agree, and how everything is put back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.objectives.batch import Objective
from tilth.store.digest import digest
from tilth.tokens.documents import TokenSource
from tilth.training import checkpoint as kept
from tilth.training.distributed import Alone
from tilth.training.history import State
from tilth.training.policy import Trained, names_of
from tilth.training.schedules import Schedule

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def resume(
    folder: Path,
    settings: dict[str, Any],
    modules: dict[str, Any],
    optimizer: torch.optim.Optimizer,
    trained: list[Trained],
    workers: Alone,
) -> tuple[State, str]:
    """Put everything back; returns the state and the precision that was chosen."""
    said, tensors, weights = kept.read(folder)
    stored = dict(said["settings"])
    precision = stored.pop("resolved")
    kept.check_settings(folder, stored, settings)
    kept.load_weights(modules, weights, folder)
    moments, masks = kept.split_moments(tensors)
    kept.set_moments(optimizer, trained, moments)
    for one in trained:
        if one.mask is not None:
            one.mask = masks[one.name].to(one.parameter.device)
    _set_generators(tensors[kept.GENERATORS][workers.rank])
    return State.of(said["state"]), precision


def generators(model: PreTrainedModel) -> torch.Tensor:
    """States of torch's generators, those of the processor first; uint8."""
    import torch

    states = [torch.get_rng_state()]
    if next(model.parameters()).device.type == "cuda":
        states.append(torch.cuda.get_rng_state())
    return torch.cat(states)


def _set_generators(states: torch.Tensor) -> None:
    import torch

    size = len(torch.get_rng_state())
    torch.set_rng_state(states[:size].clone())
    if len(states) > size:
        torch.cuda.set_rng_state(states[size:].clone())


def fingerprint(schedule: str | Schedule, factor: Schedule) -> str:
    """The name of a schedule, or a digest of its course."""
    if isinstance(schedule, str):
        return schedule
    return digest(*[repr(factor(number, 64.0, 0.0)) for number in range(65)])


def shapes(model: PreTrainedModel, objective: Objective) -> str:
    named = names_of(model, objective)
    shapes = [f"{names[0]} {tuple(parameter.shape)}" for parameter, names in named.items()]
    return digest(type(model).__name__, *shapes)


def teacher_digest(objective: Objective) -> str:
    """The weights of an objective's teacher or reference, which no checkpoint holds; or nothing."""
    held = [getattr(objective, name, None) for name in ("teacher", "reference")]
    # What was given to `distil`'s objectives: a folder's path is among their parameters.
    held.append(getattr(getattr(objective, "_teacher", None), "given", None))
    for model in held:
        if hasattr(model, "state_dict"):
            parts: list[str | bytes] = []
            for key, tensor in model.state_dict().items():
                parts += [key, tensor.detach().cpu().float().numpy().tobytes()]
            return digest(*parts)
    return ""


def data_digest(data: TokenSource) -> str:
    """Of every token, and of the columns beside them."""
    tokens = hashlib.blake2b(digest_size=16)
    for number in range(len(data)):
        tokens.update(data.document(number).astype("<u4", copy=False).tobytes())
    extra = getattr(data, "extra", None) or {}
    return digest(
        data.vocabulary, data.end, data.lengths.tobytes(), tokens.digest(),
        *[part for name in sorted(extra) for part in (name, repr(extra[name]))],
    )  # fmt: skip
