"""The safetensors files of a model folder: which they are, whether they fit, what is saved in them.

Pickled weights are never read. Shapes are compared by the headers of the files, before anything is
allocated; see `safetensors_header` for the check of a header itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DamagedError, DataError
from tilth.models.safetensors_header import check_header
from tilth.store.write import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "model.safetensors"


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, those that an index names among them."""
    names = {path.name for path in folder.glob("*.safetensors")}
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        names |= set(read_json(index).get("weight_map", {}).values())
    if not names:
        raise DataError(
            "holds no safetensors file; pickled weights are never read", where=str(folder)
        )
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise DamagedError(f"names {name!r} as weights", where=str(index))
        if not (folder / name).is_file():
            raise DamagedError("is missing", where=str(folder / name))
    return [folder / name for name in sorted(names)]


def declared_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by the headers of the files, which are checked."""
    declared: dict[str, tuple[int, ...]] = {}
    for path in weight_files(folder):
        declared |= {name: tuple(entry["shape"]) for name, entry in check_header(path).items()}
    return declared


def check_shapes(
    folder: Path, auto: Any, config: Any, declared: dict[str, tuple[int, ...]], new_head: bool
) -> None:
    """Compare what the files declare with what the configuration asks for; nothing is allocated.

    With `new_head` tensors outside of the base model may differ. Raises DamagedError, by name.
    """
    import torch

    with torch.device("meta"):
        empty = auto.from_config(config)
    prefix = empty.base_model_prefix + "."
    for name, tensor in empty.state_dict().items():
        theirs = declared.get(name, declared.get(name.removeprefix(prefix)))
        if theirs is None or theirs == tuple(tensor.shape):
            continue
        if not (new_head and not name.startswith(prefix)):
            raise mismatch(folder, name, theirs, tuple(tensor.shape))


def mismatch(folder: Path, name: str, theirs: Any, ours: Any) -> DamagedError:
    """The error for a tensor whose shape in the file is not that of the model."""
    return DamagedError(
        f"{name} is {_shape(theirs)} in the file, and {_shape(ours)} by config.json",
        where=str(folder),
    )


def _shape(sizes: Any) -> str:
    return " x ".join(f"{size:,}" for size in sizes) or "one number"


def refuse_lost(tensors: Mapping[str, Any], where: str | Path) -> None:
    """Raise DamagedError, by name, for a tensor that holds NaN or infinity: it gives no answer,
    and whatever is made from it is lost too."""
    import torch

    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DamagedError(f"{name} holds numbers that are none (NaN or infinite)",
                               where=str(where))  # fmt: skip


def own_tensors(model: PreTrainedModel) -> dict[str, Any]:
    """The state as files hold it: each tied tensor once, under the first of its names."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from transformers.core_model_loading import revert_weight_conversion

    tensors: dict[str, Any] = {}
    seen = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        tensors[name] = tensor.detach().cpu().contiguous()
    if get_checkpoint_conversion_mapping(model.config.model_type):
        # Architectures whose files have other names or shapes than their modules.
        tensors = {
            name: t.contiguous() for name, t in revert_weight_conversion(model, tensors).items()
        }
    return tensors
