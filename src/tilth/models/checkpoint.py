"""A model as data: configuration, named tensors, name of the architecture. What surgery works on.

`Checkpoint.of` copies a model's tensors, each tied one once; `model()` builds the model again. The
pair is exact: the same logits, bit for bit. A checkpoint is not changed by what is made from it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilth.errors import DataError
from tilth.models.axes import family_of
from tilth.store.digest import canonical_json, digest
from tilth.store.write import read_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

# What the name of an architecture ends in -> the kind that `models.folder.load_model` takes.
KINDS = {
    "ForCausalLM": "causal", "LMHeadModel": "causal", "ForMaskedLM": "masked",
    "ForSequenceClassification": "classify", "ForTokenClassification": "tag",
    "ForMultipleChoice": "choose", "ForPreTraining": "discriminate", "Model": "encoder",
}  # fmt: skip
# Settings that say where a model came from, not what it is.
PROVENANCE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by the names of `transformers`, with the configuration that their sizes obey.

    `tensors` holds a tied tensor once, under the name that it is tied to. `architecture` is the
    name of the class, such as `LlamaForCausalLM`.
    """

    config: PretrainedConfig
    tensors: dict[str, Tensor]
    architecture: str

    @classmethod
    def of(cls, model: PreTrainedModel) -> Checkpoint:
        """A copy of a model. Raises DataError, by name, for one without a map of its axes."""
        family_of(model.config, type(model).__name__)
        tied = tied_names(type(model).__name__, model.config)
        tensors = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in model.state_dict().items()
            if name not in tied
        }
        config = copy.deepcopy(model.config)
        return cls(config, tensors, type(model).__name__)

    @classmethod
    def load(cls, folder: str | Path) -> Checkpoint:
        """The model in a Hugging Face folder, in the class and precision that it names.

        Raises DataError for an architecture without a map, and as `models.folder.load_model` does.
        """
        from tilth.models.folder import load_model

        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise DataError("holds no model: there is no config.json", where=str(folder))
        stated = read_json(folder / "config.json")
        names = (stated.get("architectures") if isinstance(stated, dict) else None) or []
        name = str(names[0]) if names else ""
        kind = next((kind for end, kind in KINDS.items() if name.endswith(end)), None)
        if kind is None:
            raise DataError(
                f"architecture {name or 'without a name'} is of no known kind", where=str(folder)
            )
        return cls.of(load_model(folder, kind))

    def model(self) -> PreTrainedModel:
        """The model, not in training mode; it shares no memory with the checkpoint.

        Raises DataError where a tensor is missing, left over or of another size.
        """
        import torch

        config = copy.deepcopy(self.config)
        kind = _model_class(self.architecture)
        with torch.random.fork_rng(devices=[]):
            model = kind(config)
        model = model.to(next(iter(self.tensors.values())).dtype)
        tied = tied_names(self.architecture, config)
        there = {name: t for name, t in model.state_dict().items() if name not in tied}
        for name in there.keys() | self.tensors.keys():
            if name not in there or name not in self.tensors:
                what = "lacks" if name in there else "has no place for"
                raise DataError(f"the checkpoint of a {self.architecture} {what} tensor {name!r}")
            if there[name].shape != self.tensors[name].shape:
                raise DataError(
                    f"tensor {name!r} has the size {tuple(self.tensors[name].shape)}, "
                    f"the configuration asks for {tuple(there[name].shape)}"
                )
        with torch.no_grad():
            for name, place in there.items():
                place.copy_(self.tensors[name])
        model.tie_weights()
        return model.eval()

    def save(self, folder: str | Path, tokenizer_folder: str | Path | None = None) -> None:
        """A Hugging Face folder, its manifest last."""
        from tilth.models.folder import save_model

        save_model(self.model(), folder, tokenizer_folder)

    def with_(
        self, tensors: Mapping[str, Tensor] | None = None, architecture: str = "", **settings: Any
    ) -> Checkpoint:
        """Another checkpoint: other tensors, and settings of the configuration changed."""
        config = copy.deepcopy(self.config)
        for name, value in settings.items():
            setattr(config, name, value)
        made = dict(self.tensors if tensors is None else tensors)
        return Checkpoint(config, made, architecture or self.architecture)

    @property
    def digest(self) -> str:
        """Of the architecture, its settings and every number; not of where it came from."""
        settings = {k: v for k, v in self.config.to_dict().items() if k not in PROVENANCE}
        parts: list[str | bytes] = [self.architecture, canonical_json(plain(settings))]
        for name in sorted(self.tensors):
            parts += [name, tensor_digest(self.tensors[name])]
        return digest(*parts)


def tensor_digest(tensor: Tensor) -> str:
    """Of type, shape and bytes."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return digest(str(tensor.dtype), str(tuple(tensor.shape)), flat.numpy().tobytes())


def tied_names(architecture: str, config: PretrainedConfig) -> dict[str, str]:
    """Tensors that are others under a second name: that name -> the name it is tied to."""
    if not getattr(config, "tie_word_embeddings", True):
        return {}
    return dict(getattr(_model_class(architecture), "_tied_weights_keys", None) or {})


def untie(checkpoint: Checkpoint) -> Checkpoint:
    """The same model with a head of its own. Logits stay bit for bit; tied no more, it is itself.

    For an architecture without a head nothing changes but the setting.
    """
    tied = tied_names(checkpoint.architecture, checkpoint.config)
    copies = {name: checkpoint.tensors[source].clone() for name, source in tied.items()}
    return checkpoint.with_({**checkpoint.tensors, **copies}, tie_word_embeddings=False)


def _model_class(architecture: str) -> Any:
    import transformers

    found = getattr(transformers, architecture, None)
    if found is None or not hasattr(found, "_tied_weights_keys"):
        raise DataError(f"transformers has no architecture {architecture!r}")
    return found


def plain(value: Any) -> Any:
    """A JSON value: what is none is written as text, keys too."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
